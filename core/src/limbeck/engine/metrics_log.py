"""metrics.jsonl (a function of the recipe, bit by bit) and timings.jsonl (how long it took)."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def plain(value: Any) -> Any:
    """Strict JSON: nan and infinities become null."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Lines:
    """A JSON-lines file that is appended to, and cut back to a checkpoint's offset on resume."""

    def __init__(self, path: Path, offset: int | None = None):
        """`offset` None starts a new file."""
        self.path = path
        self.complete = True
        if offset is None:
            self._file = open(path, "wb")  # noqa: SIM115 (closed by close)
        else:
            path.touch()
            self.complete = path.stat().st_size >= offset
            os.truncate(path, min(offset, path.stat().st_size))
            self._file = open(path, "ab")  # noqa: SIM115

    def add(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(plain(line), allow_nan=False).encode() + b"\n")

    def flush(self, *, sync: bool = False) -> int:
        """Hand everything to the file system; the file's size."""
        self._file.flush()
        if sync:
            os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
