"""What encoders made, kept on disk by content: prompt embeddings, latents.

    folder/3f/3fa9...c1.safetensors      named tensors of one prompt or picture; a digest of them in the header

The name is a hash of everything that the tensors depend on (the prompt or the picture's bytes, the encoder's weights
and settings), so a changed encoder or prompt makes a new file and no file is ever out of date. Files are written aside
and renamed: several processes may share a folder. One that is damaged is made again, with a message. No pickle.

The default folder is `encoded` in that of `limbeck.disk_cache`. Everything in it may be deleted at any time.
"""

import hashlib
import json
import os
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck import disk_cache
from limbeck.errors import LimbeckError
from limbeck.export import teacher_files
from limbeck.files import write_whole
from limbeck.progress import progress_bar

Entry = dict[str, Tensor]
IN_MEMORY = 512 * 2**20  # bytes of entries kept beside the files


def default_folder() -> Path:
    return disk_cache.folder() / "encoded"


# --- names -----------------------------------------------------------------------------------------------------------


def digest(*parts: Any) -> str:
    """sha256 of JSON values and bytes, in order, as 64 hex digits."""
    found = hashlib.sha256()
    for part in parts:
        raw = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True, ensure_ascii=False).encode()
        found.update(len(raw).to_bytes(8, "little"))
        found.update(raw)
    return found.hexdigest()


def identity(*encoders: Any) -> str:
    """What encoders are: the digest of their weights; of a tokenizer, its vocabulary and settings. None stands for one
    that is not there. Reads every weight once (a gigabyte takes about a second)."""
    found = []
    for encoder in encoders:
        if encoder is None:
            found.append("none")
        elif isinstance(encoder, nn.Module):
            found.append(f"{type(encoder).__name__}:{teacher_files.digest(encoder.state_dict())}")
        else:
            vocabulary = encoder.get_vocab() if hasattr(encoder, "get_vocab") else {}
            settings = {key: str(value) for key, value in sorted(getattr(encoder, "init_kwargs", {}).items())}
            settings.pop("name_or_path", None)  # where it lies changes nothing
            settings = {key: value for key, value in settings.items() if "file" not in key}
            found.append(f"{type(encoder).__name__}:{digest(vocabulary, settings)}")
    return digest(found)


@contextmanager
def on_accelerator(*encoders: Any) -> Iterator[None]:
    """Encoders on this process' accelerator inside, if there is one; then where they were before."""
    if not torch.accelerator.is_available():
        yield
        return
    kind: Any = torch.accelerator.current_accelerator()
    modules = [m for m in encoders if isinstance(m, nn.Module) and next(m.parameters(), None) is not None]
    before = [next(module.parameters()).device for module in modules]
    try:
        for module in modules:
            module.to(f"{kind.type}:{os.environ.get('LOCAL_RANK', 0)}")
        yield
    finally:
        for module, device in zip(modules, before, strict=True):
            module.to(device)


# --- the folder ------------------------------------------------------------------------------------------------------


class EncodedFiles:
    """Entries by key. `warn` is called with a message about a damaged file (a warning by default)."""

    def __init__(self, folder: str | Path | None = None, warn: Callable[[str], None] | None = None):
        self.folder = Path(folder).expanduser() if folder else default_folder()
        self.warn = warn or (lambda message: warnings.warn(message, stacklevel=3))
        self.made = 0  # entries encoded by this object: what was not on disk, or damaged
        self._recent: OrderedDict[str, Entry] = OrderedDict()
        self._bytes = 0

    def path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"

    def read(self, key: str) -> Entry | None:
        """The entry, or None when there is none. A damaged one is removed, with a message, and counts as none."""
        if key in self._recent:
            self._recent.move_to_end(key)
            return self._recent[key]
        path = self.path(key)
        if not path.is_file():
            return None
        try:
            entry = _read_checked(path, key)
        except Exception as error:
            self.warn(f"{path} is damaged ({error}): it is made again")
            path.unlink(missing_ok=True)
            return None
        self._keep(key, entry)
        return entry

    def write(self, key: str, entry: Mapping[str, Tensor]) -> Entry:
        """Store one entry on the CPU; what was stored."""
        from safetensors.torch import save

        stored = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in entry.items()}
        path = self.path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, save(stored, metadata={"key": key, "digest": teacher_files.digest(stored)}))
        except OSError as error:
            raise LimbeckError(
                f"{path} could not be written ({error.strerror or error}). Give a folder with room for it (cache: "
                "FOLDER, or the environment variable LIMBECK_CACHE)"
            ) from error
        self._keep(key, stored)
        return stored

    def ensure(
        self,
        keys: Sequence[str],
        encode: Callable[[list[int]], Sequence[Mapping[str, Tensor] | None]],
        *,
        chunk: int = 16,
        title: str = "encoding",
    ) -> int:
        """See to it that every key has a good entry; how many were encoded here.

        Processes of one run (RANK of WORLD_SIZE) begin at different places and leave out what another made meanwhile.

        Args:
            encode: indices into `keys` -> their entries, None for what cannot be encoded; `chunk` at a time.
            title: of the bar that a terminal shows.
        """
        first: dict[str, int] = {}
        for index, key in enumerate(keys):
            if key not in first and self.read(key) is None:
                first[key] = index
        missing, world = list(first.values()), int(os.environ.get("WORLD_SIZE", 1))
        start = len(missing) * int(os.environ.get("RANK", 0)) // world
        missing, made = missing[start:] + missing[:start], 0
        with progress_bar(title) if missing else nullcontext() as progress:
            for begin in range(0, len(missing), chunk):
                rows = [i for i in missing[begin : begin + chunk] if world == 1 or not self.path(keys[i]).is_file()]
                for index, entry in zip(rows, encode(rows) if rows else (), strict=True):
                    if entry is not None:
                        self.write(keys[index], entry)
                        made += 1
                if progress is not None:
                    progress(min(begin + chunk, len(missing)), len(missing))
        self.made += made
        return made

    def _keep(self, key: str, entry: Entry) -> None:
        size = _size(entry.values())
        if size > IN_MEMORY or key in self._recent:
            return
        self._recent[key] = entry
        self._bytes += size
        while self._bytes > IN_MEMORY:
            _, oldest = self._recent.popitem(last=False)
            self._bytes -= _size(oldest.values())


def _size(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _read_checked(path: Path, key: str) -> Entry:
    from safetensors import safe_open

    with safe_open(path, framework="pt", device="cpu") as file:
        note = file.metadata() or {}
        entry = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    if note.get("key") != key:
        raise ValueError("it is another entry's")
    if note.get("digest") != teacher_files.digest(entry):
        raise ValueError("its tensors are not those that were written")
    return entry


__all__ = ["EncodedFiles", "default_folder", "digest", "identity", "on_accelerator"]
