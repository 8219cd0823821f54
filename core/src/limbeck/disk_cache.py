"""Tensors that take seconds to make, kept on disk under the hash of everything they follow from.

The folder is $LIMBECK_CACHE, or limbeck in $XDG_CACHE_HOME, or ~/.cache/limbeck. Files may be deleted at any time.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from limbeck.files import write_whole


def folder() -> Path:
    given = os.environ.get("LIMBECK_CACHE")
    if given:
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "limbeck"


def digest(path: Path | str) -> str:
    """SHA-256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cached(
    group: str, follows_from: Mapping[str, Any], make: Callable[[], Mapping[str, Tensor]]
) -> Mapping[str, Tensor]:
    """`make()`, or what it returned before for the same `follows_from` (JSON values), in a subfolder `group`.

    A file that cannot be read is made again; a folder that cannot be written costs a warning, not the data. What comes
    from disk is mapped, not read: only what is looked at takes memory.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save

    text = json.dumps(follows_from, sort_keys=True)
    path = folder() / group / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.safetensors"
    if path.is_file():
        try:
            return load_file(str(path))
        except (SafetensorError, OSError):
            pass  # torn, as by a full disk
    made = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, save({name: tensor.contiguous() for name, tensor in made.items()}, {"follows_from": text}))
        return load_file(str(path))
    except (OSError, SafetensorError) as err:
        warnings.warn(f"{path} could not be kept: {err}. It is made again next time", stacklevel=2)
    return made


__all__ = ["cached", "digest", "folder"]
