"""Rows of words or classes become what a pipeline's network is given, encoded once and kept on disk."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.conditions import Conditions
from limbeck.errors import LimbeckError
from limbeck_diffusion.pipelines.encoded import EncodedFiles, digest, identity, on_accelerator
from limbeck_diffusion.pipelines.prompt_files import Prompt

NEGATIVE = "negative_"  # in front of the name of a condition: what replaces it under guidance


class EncodedPrompts:
    """The conditions of rows, by index.

    Args:
        rows: captions, classes, or neither (no condition).
        teacher: a `PipelineTeacher`.
        unload: free the text encoders when everything is encoded; what is missing later loads them again.

    Raises:
        LimbeckError: rows that the teacher cannot read: classes for one that reads prompts, or the other way round.
    """

    def __init__(self, rows: Sequence[Prompt], teacher: Any, files: EncodedFiles, *, unload: bool = False):
        self.rows, self.files = list(rows), files
        self.encoder: Any = getattr(teacher, "prompts", None)  # a PromptEncoder; None where classes are the conditions
        self.labels: Tensor | None = None
        if not hasattr(teacher, "encode"):
            raise LimbeckError(
                f"prompts are for teachers that read them (image/diffusers, video/diffusers, audio/diffusers); "
                f"{type(teacher).__name__} reads none"
            )
        if self.encoder is None:
            self.labels = self._classes(teacher)
            return
        self._keys: dict[str, str] = {}
        self._settings = self._all_settings(teacher)
        texts = [row.caption or "" for row in self.rows]
        wrong = next((i for i, row in enumerate(self.rows) if row.caption is None and row.label is not None), None)
        if wrong is not None:
            raise LimbeckError(
                f"row {wrong + 1} has a class ({self.rows[wrong].label}) and no caption, but {teacher.family.title} "
                "reads prompts. Give captions, or a class-conditional teacher (DiT)"
            )
        self.negatives = any(row.negative for row in self.rows)
        self.encode([*texts, *(row.negative or "" for row in self.rows), ""])
        self.encoder.put("", Conditions(self._entry("")))
        self._kept = tuple(teacher.family.null_keeps)
        if unload:
            self.encoder.release()

    def _classes(self, teacher: Any) -> Tensor:
        found = []
        for number, row in enumerate(self.rows, start=1):
            if row.label is None:
                found.append(int(teacher.encode([row.caption or ""])))
            elif row.label < teacher.no_label:
                found.append(row.label)
            else:
                raise LimbeckError(
                    f"row {number} is of class {row.label}; this {teacher.family.title} has classes 0 to "
                    f"{teacher.no_label - 1}"
                )
        return torch.tensor(found)

    # --- text ---

    def _all_settings(self, teacher: Any) -> list[Any]:
        """Everything that an embedding depends on but its prompt."""
        import diffusers

        encoder, size = self.encoder, self.encoder.size
        return [
            "prompt", diffusers.__version__, teacher.family.name, text_identity(teacher),
            str(next(teacher.network.parameters()).dtype), encoder.settings,
            asdict(size) if is_dataclass(size) and not isinstance(size, type) else str(size),
        ]  # fmt: skip

    def _key(self, text: str) -> str:
        if text not in self._keys:
            content = text if text else ["no prompt", self.encoder.negative]
            self._keys[text] = digest(self._settings, content)
        return self._keys[text]

    def encode(self, texts: Sequence[str]) -> int:
        """See to it that all are on disk; how many were encoded now."""
        wanted = list(dict.fromkeys(texts))
        keys = [self._key(text) for text in wanted]
        if all(self.files.read(key) is not None for key in keys):
            return 0
        pipeline = self.encoder.pipeline
        with on_accelerator(*(getattr(pipeline, part, None) for part in self.encoder.family.text_parts)):
            return self.files.ensure(
                keys, lambda some: [dict(self.encoder([wanted[i]])) for i in some], title="prompts"
            )

    def _entry(self, text: str) -> dict[str, Tensor]:
        entry = self.files.read(self._key(text))
        if entry is None:  # deleted or damaged meanwhile
            self.encode([text])
            entry = self.files.read(self._key(text))
            assert entry is not None
        return entry

    # --- rows ---

    def conditions(self, indices: Sequence[int]) -> Conditions | Tensor:
        """Of some rows: labels (B,), or Conditions by the family's names, `negative_` ones too where rows have them."""
        if self.labels is not None:
            return self.labels[torch.as_tensor(indices)]
        rows = [self.rows[i] for i in indices]
        found = self._stacked([row.caption or "" for row in rows])
        if self.negatives:
            against = self._stacked([row.negative or "" for row in rows])
            found |= {f"{NEGATIVE}{name}": tensor for name, tensor in against.items() if name not in self._kept}
        return Conditions(found)

    def _stacked(self, texts: Sequence[str]) -> dict[str, Tensor]:
        entries = [self._entry(text) for text in texts]
        lengths = {tuple(entry[name].shape[1:]) for entry in entries for name in entry if name == "prompt"}
        if len(lengths) > 1:
            raise LimbeckError(f"prompts of one batch have embeddings of different shapes {sorted(lengths)}")
        return {name: torch.cat([entry[name] for entry in entries]) for name in entries[0]}


def text_identity(teacher: Any) -> str:
    """What the text encoders are: a digest of their files where the pipeline is in a folder (nothing is loaded), else
    of their weights."""
    known = teacher.source.get("text_identity")
    if known is None:
        folder, parts = teacher.source.get("folder"), teacher.family.text_parts
        if folder is not None and all((Path(folder) / part).is_dir() for part in parts):
            known = digest([files_digest(Path(folder) / part) for part in parts])
        else:
            pipeline = teacher.prompts.pipeline
            known = identity(*(getattr(pipeline, part, None) for part in parts))
        teacher.source["text_identity"] = known
    return known


def files_digest(folder: Path) -> str:
    """Digest of the names and contents of all files of a folder."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with open(path, "rb") as file:
                found.append([str(path.relative_to(folder)), hashlib.file_digest(file, "sha256").hexdigest()])
    return digest(found)


__all__ = ["NEGATIVE", "EncodedPrompts", "files_digest", "text_identity"]
