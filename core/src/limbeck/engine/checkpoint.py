"""Checkpoints: safetensors and JSON in a folder that is either complete or not there.

    checkpoints/step-000500/  <role>.safetensors  optimizer-<phase>.safetensors  ema-<decay>.safetensors
                              state.json          manifest.json (sha256 of every file, and of itself)

Networks that are spread over processes (`fully_shard`) are written in parts, one by each process: see `parts`.
Everything is written into a folder aside, synced file by file, and renamed; a folder under its final name that does not
match its manifest was damaged later, and is refused.
"""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.engine import parts, tensor_file
from limbeck.errors import CheckpointError

FORMAT = 1
_NAME = re.compile(r"step-(\d{6,})$")
_ASIDE = ".unfinished-"


def name_of(step: int) -> str:
    return f"step-{step:06d}"


def step_of(path: Path) -> int | None:
    found = _NAME.match(path.name)
    return int(found[1]) if found else None


def listed(folder: Path) -> list[Path]:
    """Checkpoints of a run's `checkpoints` folder, oldest first, whether good or not."""
    if not folder.is_dir():
        return []
    found = [(step, path) for path in folder.iterdir() if (step := step_of(path)) is not None and path.is_dir()]
    return [path for _, path in sorted(found)]


# --- writing ---------------------------------------------------------------------------------------------------------


def write_file(path: Path, parts: Iterable[bytes | memoryview]) -> dict[str, Any]:
    """Write and sync one file; its entry of the manifest."""
    digest, size = hashlib.sha256(), 0
    with open(path, "wb") as file:
        for part in parts:
            file.write(part)
            digest.update(part)
            size += len(part)
        file.flush()
        os.fsync(file.fileno())
    return {"sha256": digest.hexdigest(), "bytes": size}


def sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def _digest_of(files: Mapping[str, Any], step: int) -> str:
    return hashlib.sha256(json.dumps({"files": files, "step": step}, sort_keys=True).encode()).hexdigest()


class SingleProcess:
    """The ranks of a checkpoint that one process writes by itself."""

    rank, world, main = 0, 1, True

    def each(self, row: Tensor) -> Tensor:
        return row.unsqueeze(0)


def save(
    folder: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
    *,
    keep: int = 0,
    ranks: Any = None,
) -> Path:
    """Write one checkpoint into `folder` and then forget all but the newest `keep` (0 keeps all).

    Args:
        tensors: file name without suffix -> tensors by name.
        state: what goes to state.json.
        ranks: a `Distributed`, when tensors are spread over its processes: all of them call this, and it fails in all
            of them or in none.
    """
    ranks = ranks or SingleProcess()
    final, aside = folder / name_of(step), folder / f"{_ASIDE}{name_of(step)}"
    with _together(ranks, aside, f"checkpoint {name_of(step)}"):
        if ranks.main:
            folder.mkdir(parents=True, exist_ok=True)
            _remove(aside)
            aside.mkdir()
    with _together(ranks, aside, f"checkpoint {name_of(step)}"):
        written = _write_parts(aside, tensors, ranks)
    written = _entries_of_all(tensors, written, ranks)
    with _together(ranks, aside, f"checkpoint {name_of(step)}"):
        if ranks.main:
            write_folder(aside, step, tensors, state, written)
    with _together(ranks, aside, f"checkpoint {name_of(step)}"):
        if ranks.main:
            if final.exists():  # only a damaged one: a good one is never written twice
                _remove(final)
            os.rename(aside, final)
            sync_folder(folder)
            if keep:
                for old in listed(folder)[:-keep]:
                    _remove(old)
    return final


@contextmanager
def _together(ranks: Any, aside: Path, what: str) -> Iterator[None]:
    """One stage of saving: when it fails in one process, it fails in all, and nothing is left behind."""
    failed: Exception | None = None
    try:
        yield
    except Exception as error:
        failed = error
    if float(ranks.each(torch.tensor([float(failed is not None)])).sum()) == 0:
        return
    if ranks.main and isinstance(failed, OSError | None):
        _remove(aside)
    if isinstance(failed, OSError) and failed.errno in (errno.ENOSPC, errno.EDQUOT):
        raise disk_full(failed, aside.parent, what) from failed
    if failed is not None:
        raise failed
    raise CheckpointError(f"{what} could not be written: another process failed; its own message has the reason")


def _write_parts(folder: Path, tensors: Mapping[str, Mapping[str, Tensor]], ranks: Any) -> dict[str, Any]:
    """This process's files of what is spread; their entries of the manifest."""
    files = {}
    for stem, content in tensors.items():
        if parts.any_spread(content):
            name = parts.file_name(stem, ranks.rank, ranks.world)
            files[name] = write_file(folder / name, parts.pieces(content, ranks.rank))
    return files


def _entries_of_all(tensors: Mapping[str, Mapping[str, Tensor]], own: Mapping[str, Any], ranks: Any) -> dict[str, Any]:
    """The entries of every process's parts, in every process: digest and size as numbers, 40 bytes each."""
    if not own:
        return {}
    rows = b"".join(bytes.fromhex(entry["sha256"]) + entry["bytes"].to_bytes(8, "little") for entry in own.values())
    stems = [stem for stem, content in tensors.items() if parts.any_spread(content)]
    found = {}
    for rank, row in enumerate(ranks.each(torch.tensor(list(rows), dtype=torch.uint8))):
        entries = bytes(row.tolist())
        for i, stem in enumerate(stems):
            entry = entries[40 * i : 40 * (i + 1)]
            size = int.from_bytes(entry[32:], "little")
            found[parts.file_name(stem, rank, ranks.world)] = {"sha256": entry[:32].hex(), "bytes": size}
    return found


def write_folder(
    folder: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
    written: Mapping[str, Any] | None = None,
) -> None:
    """Everything of a checkpoint but the parts, whose entries are `written`."""
    files = dict(written or {})
    for stem, content in tensors.items():
        if not parts.any_spread(content):
            files[f"{stem}.safetensors"] = write_file(folder / f"{stem}.safetensors", tensor_file.pieces(content))
    files["state.json"] = write_file(folder / "state.json", [_json({**state, "step": step})])
    manifest = {"limbeck_checkpoint": FORMAT, "step": step, "files": files, "digest": _digest_of(files, step)}
    write_file(folder / "manifest.json", [_json(manifest)])
    sync_folder(folder)


def disk_full(error: OSError, folder: Path, what: str) -> CheckpointError:
    """The message for a full disk; the caller has already removed what was half written."""
    good = listed(folder)
    last = f"The last good checkpoint is {good[-1].name}" if good else "There is no checkpoint yet"
    try:
        free = f"{shutil.disk_usage(folder).free / 2**20:.0f} MB free"
    except OSError:
        free = "no space left"
    return CheckpointError(
        f"the disk is full: {what} could not be written ({error.strerror or error}; {free}). Nothing saved before was "
        f"lost. {last}.\nFree some space, or keep fewer checkpoints with train.checkpoint.keep=1, then resume."
    )


def _remove(folder: Path) -> None:
    """Delete a checkpoint so that a kill on the way never leaves half of it under a checkpoint's name."""
    if not folder.exists():
        return
    if not folder.name.startswith("."):
        gone = folder.with_name(f"{_ASIDE}removed-{folder.name}")
        shutil.rmtree(gone, ignore_errors=True)
        os.rename(folder, gone)
        folder = gone
    shutil.rmtree(folder)


def clean(folder: Path) -> None:
    """Remove what a killed run left half written."""
    if folder.is_dir():
        for path in folder.iterdir():
            if path.name.startswith(_ASIDE):
                shutil.rmtree(path, ignore_errors=True)


# --- reading ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint."""

    path: Path
    step: int
    state: dict[str, Any]

    def tensors(self, stem: str) -> dict[str, Tensor]:
        file = self.path / f"{stem}.safetensors"
        if not file.is_file():
            joined = parts.read(self.path, stem)
            if joined is not None:
                return joined
            raise CheckpointError(f"{file} is missing: this checkpoint is of a run with other parts ({self.stems()})")
        return tensor_file.read(file)

    def stems(self) -> list[str]:
        return sorted({parts.stem_of(path) for path in self.path.glob("*.safetensors")})


def open_checkpoint(path: Path) -> Checkpoint:
    """Check every file of a checkpoint by its hash; CheckpointError names the first that is wrong."""
    manifest_path = path / "manifest.json"
    try:
        manifest = json.loads(manifest_path.read_bytes())
        files, step, digest = manifest["files"], manifest["step"], manifest["digest"]
        version = manifest["limbeck_checkpoint"]
    except FileNotFoundError:
        raise CheckpointError(f"{manifest_path} is missing: not a complete Limbeck checkpoint") from None
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{manifest_path} is damaged or not a Limbeck checkpoint's ({error})") from error
    if version != FORMAT:
        raise CheckpointError(f"{manifest_path} is of checkpoint format {version}; this Limbeck reads {FORMAT}")
    if digest != _digest_of(files, step) or step_of(path) != step:
        raise CheckpointError(f"{manifest_path} was changed after it was written (its own digest does not match)")
    strangers = {entry.name for entry in path.iterdir()} - set(files) - {"manifest.json"}
    if strangers:
        raise CheckpointError(f"{path / min(strangers)} is not in the manifest: it was put there by something else")
    for name, expected in files.items():
        _check_file(path / name, expected)
    return Checkpoint(path, step, json.loads((path / "state.json").read_bytes()))


def _check_file(path: Path, expected: Mapping[str, Any]) -> None:
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    if size != expected["bytes"]:
        raise CheckpointError(f"{path} is torn: {size} bytes, {expected['bytes']} were written")
    if found != expected["sha256"]:
        hashes = f"sha256 {found[:12]}, not {expected['sha256'][:12]}"
        raise CheckpointError(f"{path} was changed after it was written ({hashes})")


def last_good(folder: Path) -> tuple[Checkpoint | None, list[CheckpointError]]:
    """The newest checkpoint that passes, and why newer ones did not. CheckpointError when there are some, all bad."""
    refused: list[CheckpointError] = []
    for path in reversed(listed(folder)):
        try:
            return open_checkpoint(path), refused
        except CheckpointError as error:
            refused.append(error)
    if refused:
        reasons = "\n".join(f"  {error}" for error in refused)
        raise CheckpointError(f"no good checkpoint in {folder}:\n{reasons}\nStart over with --overwrite")
    return None, []


def set_aside_newer(folder: Path, step: int) -> None:
    """Rename checkpoints newer than `step` (refused ones), so that they are not taken for this run's again."""
    for path in listed(folder):
        if (step_of(path) or 0) > step:
            target = path.with_name(f"refused-{path.name}")
            shutil.rmtree(target, ignore_errors=True)
            os.rename(path, target)
