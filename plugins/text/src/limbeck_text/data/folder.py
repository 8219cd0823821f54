"""Texts of one's own: every .txt and .md file below a folder."""

import hashlib
from functools import lru_cache
from pathlib import Path

from limbeck_text.data.normalise import normalised


@lru_cache(maxsize=8)
def documents(path: str) -> dict[str, str]:
    """Text of every .txt and .md file below a folder, by its relative path. Empty files are passed over.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: a file is not UTF-8, or none holds text.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"data.path: no folder {path!r}. Give a folder with .txt or .md files, or leave it out")
    files = sorted(p for p in root.rglob("*") if p.suffix in (".txt", ".md") and p.is_file())
    found = {}
    for file in files:
        try:
            text = normalised(file.read_text(encoding="utf-8"))
        except UnicodeDecodeError as err:
            raise ValueError(f"data.path: {file} is not UTF-8 ({err}). Convert it, or take it out of {path}") from err
        if text:
            found[file.relative_to(root).as_posix()] = text
    if not found:
        raise ValueError(
            f"data.path: {path} holds no text ({len(files)} .txt or .md files, all empty). Put documents there, one "
            "per file"
        )
    return found


def texts(path: str, split: str) -> list[str]:
    """The documents of a split, sorted by name: a tenth (at least one) is held out, by the hash of the names; the rest
    is `train`."""
    if split == "judge":
        raise ValueError("data.split: a folder of your own has the splits train and held_out; 'judge' is CPython's")
    found = documents(path)
    ranked = sorted(found, key=lambda name: hashlib.blake2b(name.encode(), digest_size=8).digest())
    if len(ranked) < 2 and split == "held_out":
        raise ValueError("data.split: one document cannot be split into train and held_out; add a second file")
    held_out = max(1, round(len(ranked) / 10)) if len(ranked) > 1 else 0
    chosen = ranked[:held_out] if split == "held_out" else ranked[held_out:]
    return [found[name] for name in sorted(chosen)]
