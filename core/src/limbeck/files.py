"""Files that are either whole or not there: written aside, synced and renamed. Imports no torch."""

import json
import math
import os
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def write_whole(path: Path | str, content: str | bytes | Iterable[bytes | memoryview]) -> Path:
    """Write a file so that whoever reads, or interrupts, finds the old one or the new one, never a part.

    Args:
        path: its folder is made when it is missing.
        content: text (UTF-8), bytes, or the pieces of a large file, in order.

    Returns:
        `path`.

    Raises:
        OSError: it could not be written; the old file, if there was one, is as it was.
    """
    path = Path(path)
    pieces = [content.encode()] if isinstance(content, str) else [content] if isinstance(content, bytes) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        # a name that nobody can guess, and a file that must be new: neither a link nor another process is in the way
        with open(os.open(aside, _NEW, 0o666), "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
    return path


def write_json(path: Path | str, content: Any) -> Path:
    """Strict JSON: nan and infinities become null."""
    return write_whole(path, json.dumps(finite(content), indent=2, allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """Plain data with null (None) for nan and infinities, which JSON has not."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


__all__ = ["finite", "write_json", "write_whole"]
