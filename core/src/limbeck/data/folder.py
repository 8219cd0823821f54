"""Any folder of files as data. A plugin states which files there are and how one is decoded; this is the rest.

Files are decoded once: what came of them is kept on disk under the hash of their content. What cannot be used, and what
occurs twice, is left out and counted, or ends the run by name if so chosen; one warning lists what was done.
Whole files are held out, never a part of one.
"""

import copy
import hashlib
import json
import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from limbeck import disk_cache
from limbeck.data.options import FolderOptions
from limbeck.errors import LimbeckError
from limbeck.interfaces import Batch, Data
from limbeck.randomness import Rng

NAMED = 3  # files that a message names before it only counts
TWICE = "there twice"


class Unusable(LimbeckError):
    """A file that no row can be made of: `kind` is one of the `hints` of its data."""

    def __init__(self, kind: str, detail: str):
        self.kind = kind
        super().__init__(detail)


class FolderData(Data):
    """Rows of a folder's files, x0 (B, *event); `cond` is the place of a row's class among `classes`, (B,) int64, or
    None where files lie in no folders (or `labels: none`).

    A subclass states `suffixes`, `hints` and `group`, and writes `decode` and `follows_from`. `files` names the file of
    every row, `notes` holds which files were left out, which converted, and how many were no such files at all.

    Raises:
        LimbeckError: no such folder, nothing in it that can be used, nothing in the split, or files in no class.
    """

    suffixes: ClassVar[tuple[str, ...]]  # of the files that are read, in lower case
    hints: ClassVar[Mapping[str, str]]  # kind of an unusable file -> what to do about it
    group: ClassVar[str]  # subfolder of the disk cache

    def __init__(self, options: FolderOptions):
        self.options, self.name = options, options.split
        self.root = Path(options.path).expanduser()
        names, others = self._listed()
        self.notes: dict[str, Any] = {"left_out": {}, "converted": {}, "passed_over": others}
        decoded = self._decoded(names)
        self._report(len(names))
        self._rows = torch.cat(list(decoded.values()))
        self._files = [name for name, rows in decoded.items() for _ in range(len(rows))]
        self.classes, self._labels = self._classes(list(decoded))
        self._held_out = self.held_out(list(decoded))
        self._choose(options.split)

    @abstractmethod
    def decode(self, path: Path) -> tuple[Tensor, Sequence[str]]:
        """Rows (K, ...) of one file, and what was converted ("resampled from 44,100 Hz"). Raises Unusable."""

    @abstractmethod
    def follows_from(self) -> Mapping[str, Any]:
        """Everything that `decode` depends on beside the content of the file, as JSON values."""

    def held_out(self, names: Sequence[str]) -> set[str]:
        """The files that are held out: a tenth of every class, at least one where there are two, by the hash of their
        names."""
        chosen: set[str] = set()
        for members in _by_class(names).values():
            ranked = sorted(members, key=lambda name: hashlib.blake2b(name.encode(), digest_size=8).digest())
            chosen.update(ranked[: max(1, round(len(ranked) / 10))] if len(ranked) > 1 else ())
        return chosen

    def values(self, rows: Tensor) -> Tensor:
        """x0 (B, *event) float32 of decoded rows."""
        return rows.float()

    # --- the contract of data ---

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: Tensor) -> Batch:
        at = indices.cpu()
        cond = None if self.labels is None else self.labels[at]
        return Batch(x0=self.values(self.rows[at]), cond=cond).to(indices.device)

    def conditions(self, count: int, rng: Rng) -> Tensor | None:
        return None if self.labels is None else self.labels[rng.integers("conditions", len(self), (count,)).cpu()]

    def split(self, name: Literal["train", "held_out"]) -> Self:
        other = copy.copy(self)
        other.options = self.options.model_copy(update={"split": name})
        other._choose(name)
        return other

    # --- files ---

    def _listed(self) -> tuple[list[str], int]:
        """Relative paths of the files with a known suffix, sorted, and the number of others."""
        known = ", ".join(self.suffixes)
        if not self.root.is_dir():
            raise LimbeckError(f"data.path: no folder {self.options.path!r}. Give a folder with {known} files")
        found = [p for p in self.root.rglob("*") if p.is_file() and not p.name.startswith(".")]
        names = sorted(p.relative_to(self.root).as_posix() for p in found if p.suffix.lower() in self.suffixes)
        others = len(found) - len(names)
        if not names:
            beside = f" ({others} other files)" if others else ""
            raise LimbeckError(
                f"data.path: no {known} file below {self.options.path}{beside}. Put some there, or fix the path"
            )
        return names, others

    def _decoded(self, names: Sequence[str]) -> dict[str, Tensor]:
        """Rows by file; what is left out or converted goes into `notes`."""
        found: dict[str, Tensor] = {}
        seen: set[str] = set()
        for name in names:
            try:
                content = self._content(name)
                if content in seen:
                    self.notes["left_out"].setdefault(TWICE, []).append(name)
                    continue
                rows, converted = self._kept(name, content)
            except Unusable as error:
                if self.options.bad_files == "error":
                    raise LimbeckError(
                        f"data.path: {self.root / name} is {error.kind}: {error}. "
                        f"To mend it, {self.hints[error.kind]}; "
                        "or data.bad_files=skip"
                    ) from error
                self.notes["left_out"].setdefault(error.kind, []).append(name)
                continue
            seen.add(content)
            found[name] = rows
            for text in converted:
                self.notes["converted"].setdefault(text, []).append(name)
        return found

    def _content(self, name: str) -> str:
        try:
            return disk_cache.digest(self.root / name)
        except OSError as error:
            raise Unusable("unreadable", str(error)) from error

    def _kept(self, name: str, content: str) -> tuple[Tensor, list[str]]:
        """`decode` of one file, or what it returned before for the same content. Raises Unusable, before as well."""

        def make() -> dict[str, Tensor]:
            try:
                rows, converted = self.decode(self.root / name)
                return {"rows": rows, "notes": _stored({"converted": list(converted)})}
            except Unusable as error:
                return {"notes": _stored({"kind": error.kind, "detail": str(error)})}

        kept = disk_cache.cached(self.group, {**self.follows_from(), "content": content}, make)
        notes = json.loads(bytes(kept["notes"].tolist()))
        if "kind" in notes:
            raise Unusable(notes["kind"], notes["detail"])
        return kept["rows"].clone(), notes["converted"]  # a copy: thousands of mapped files are too many

    def _report(self, total: int) -> None:
        """One warning for what was left out, one for what was converted."""
        path, left_out = self.options.path, self.notes["left_out"]
        missing = sum(map(len, left_out.values()))
        if missing:
            hints = "; ".join(f"{kind}: {self.hints[kind]}" for kind in left_out if kind != TWICE)
            text = f"{missing} of {total} files left out: {_counted(left_out)}{f'. {hints}' if hints else ''}"
            if missing == total:
                raise LimbeckError(f"data.path: nothing in {path} can be used; {text}")
            warnings.warn(f"{path}: {text}", stacklevel=4)
        if self.notes["converted"]:
            warnings.warn(f"{path}: {_counted(self.notes['converted'])}", stacklevel=4)

    # --- classes and splits ---

    def _classes(self, names: Sequence[str]) -> tuple[tuple[str, ...] | None, dict[str, int]]:
        """The classes of all usable files, whatever the split, and the place of every file's."""
        inside = [name for name in names if "/" in name]
        if self.options.labels == "none" or not inside:
            return None, {}
        if len(inside) < len(names):
            loose = next(name for name in names if "/" not in name)
            raise LimbeckError(
                f"data.path: folders below {self.options.path} name classes, but {len(names) - len(inside)} files lie "
                f"in none ({loose}). Move them into one, or set data.labels=none"
            )
        by_class = _by_class(inside)
        classes = tuple(sorted(by_class))
        return classes, {name: place for place, one in enumerate(classes) for name in by_class[one]}

    def _choose(self, name: Literal["train", "held_out"]) -> None:
        self.name = name
        if name == "held_out" and not self._held_out:
            raise LimbeckError(
                f"data.path: one file in {self.options.path} cannot be split into train and held_out; add a second one"
            )
        wanted = [(file in self._held_out) == (name == "held_out") for file in self._files]
        at = torch.nonzero(torch.tensor(wanted)).flatten()
        self.rows = self._rows[at]
        self.files = [self._files[k] for k in at.tolist()]
        self.labels = None if self.classes is None else torch.tensor([self._labels[file] for file in self.files])


def _by_class(names: Sequence[str]) -> dict[str, list[str]]:
    """Files by the first folder that they lie in; '' for those that lie in none."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(name.split("/")[0] if "/" in name else "", []).append(name)
    return found


def _stored(notes: Mapping[str, Any]) -> Tensor:
    return torch.tensor(list(json.dumps(notes).encode()), dtype=torch.uint8)


def _counted(what: Mapping[str, Sequence[str]]) -> str:
    parts = []
    for kind, names in what.items():
        first = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
        parts.append(f"{len(names)} {kind} ({first})")
    return "; ".join(parts)


__all__ = ["FolderData", "Unusable"]
