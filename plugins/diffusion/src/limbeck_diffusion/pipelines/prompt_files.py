"""Files of prompts: text, JSON lines, JSON, CSV or Parquet. No torch here.

    prompts.txt        one prompt a line
    prompts.jsonl      {"caption": "a fox", "negative": "blurry", "class": 3} a line; every field but one is optional
    prompts.json       a list of such objects, or of strings
    prompts.csv        columns of those names, in a first line
    prompts.parquet    the same (needs pyarrow)

`prompt` and `text` are other names of `caption`, `label` of `class`. Rows that cannot be used are named by their
numbers, counted from 1 as editors count lines.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError

CAPTION, NEGATIVE, CLASS = ("caption", "prompt", "text"), ("negative", "negative_prompt"), ("class", "label")
SUFFIXES = (".txt", ".jsonl", ".json", ".csv", ".parquet")
TOLD = 5  # bad rows that a message names; the rest is counted


@dataclass(frozen=True)
class Prompt:
    """One row: a caption, or a class, or both; `negative` is what to keep away from under guidance."""

    caption: str | None = None
    negative: str | None = None
    label: int | None = None


@dataclass(frozen=True)
class Bad:
    """A row that cannot be used, and why."""

    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


def read(path: str | Path, *, skip_bad: bool = False) -> tuple[list[Prompt], list[Bad]]:
    """The prompts of a file and, with `skip_bad`, the rows left out.

    Raises:
        LimbeckError: no such file, a kind that is not known, no usable row; without `skip_bad` also any bad row.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise LimbeckError(f"{path} is no file: give a file of prompts ({', '.join(SUFFIXES)})")
    if path.suffix.lower() not in SUFFIXES:
        raise LimbeckError(f"{path}: files of prompts end in {', '.join(SUFFIXES)}; got '{path.suffix}'")
    prompts: list[Prompt] = []
    bad: list[Bad] = []
    try:
        for line, row in _rows(path):
            found = row if isinstance(row, Bad) else prompt(line, row)
            (bad if isinstance(found, Bad) else prompts).append(found)  # type: ignore[arg-type]
    except UnicodeDecodeError as error:
        raise LimbeckError(f"{path} is not UTF-8 text ({error}). Save it as UTF-8") from error
    if bad and not skip_bad:
        raise LimbeckError(
            f"{path}: {listing(bad)} of {len(bad) + len(prompts)} rows. Correct or remove them, or leave them out with "
            "skip_bad: true"
        )
    if not prompts:
        raise LimbeckError(f"{path} holds no prompt{f' that can be used: {listing(bad)}' if bad else ''}")
    return prompts, bad


def listing(bad: list[Bad]) -> str:
    """'3 cannot be used (line 4: not JSON; ...)'."""
    named = "; ".join(map(str, bad[:TOLD])) + ("; ..." if len(bad) > TOLD else "")
    return f"{len(bad)} cannot be used ({named})"


# --- rows ------------------------------------------------------------------------------------------------------------


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any] | str | Bad]]:
    """(number, row) of everything in the file that is not blank."""
    match path.suffix.lower():
        case ".txt":
            for line, text in lines(path):
                yield line, text
        case ".jsonl":
            for line, text in lines(path):
                try:
                    yield line, json.loads(text)
                except ValueError as error:
                    yield line, Bad(line, f"not JSON ({error})")
        case ".json":
            try:
                listed = json.loads(path.read_text(encoding="utf-8-sig"))
            except ValueError as error:
                raise LimbeckError(
                    f"{path} is not JSON ({error}). Correct it, or write one object a line (.jsonl)"
                ) from error
            if not isinstance(listed, list):
                raise LimbeckError(f"{path} holds a {type(listed).__name__}; a list of prompts is expected")
            yield from enumerate(listed, start=1)
        case ".csv":
            with open(path, encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file)
                if not set(reader.fieldnames or ()) & {*CAPTION, *CLASS}:
                    raise LimbeckError(
                        f"{path} has the columns {', '.join(reader.fieldnames or ()) or '(none)'}; one of "
                        f"{', '.join((*CAPTION, *CLASS))} is needed, named in the first line"
                    )
                for row in reader:
                    yield reader.line_num, {key: value for key, value in row.items() if key}
        case _:
            yield from enumerate(_parquet(path), start=1)


def lines(path: Path) -> Iterable[tuple[int, str]]:
    with open(path, encoding="utf-8-sig") as file:
        for line, text in enumerate(file, start=1):
            if text.strip():
                yield line, text.strip()


def _parquet(path: Path) -> list[dict[str, Any]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise LimbeckError(f"{path} needs pyarrow to be read: pip install pyarrow. Or save it as .jsonl") from error
    try:
        columns = [name for name in parquet.read_schema(path).names if name in (*CAPTION, *NEGATIVE, *CLASS)]
        return parquet.read_table(path, columns=columns).to_pylist()
    except (ArrowException, OSError) as error:
        raise LimbeckError(f"{path} cannot be read as Parquet ({error})") from error


def prompt(line: int, row: Mapping[str, Any] | str) -> Prompt | Bad:
    if isinstance(row, str):
        row = {"caption": row}
    if not isinstance(row, Mapping):
        return Bad(line, f"a {type(row).__name__}, where a text or an object is expected")
    found: dict[str, Any] = {}
    for name, keys in (("caption", CAPTION), ("negative", NEGATIVE), ("label", CLASS)):
        found[name] = next((row[key] for key in keys if row.get(key) not in (None, "")), None)
    for name in ("caption", "negative"):
        if found[name] is not None and not isinstance(found[name], str):
            return Bad(line, f"its {name} is a {type(found[name]).__name__}, not a text")
    if found["caption"] is not None and not found["caption"].strip():
        found["caption"] = None
    if found["label"] is not None:
        try:
            whole = isinstance(found["label"], int | str) and not isinstance(found["label"], bool)
            found["label"] = int(found["label"]) if whole else int("not a number")
        except ValueError:
            return Bad(line, f"its class is {row.get('class', row.get('label'))!r}, not a whole number")
        if found["label"] < 0:
            return Bad(line, f"its class is {found['label']}, below 0")
    if found["caption"] is None and found["label"] is None:
        given = ", ".join(map(str, row)) or "nothing"
        return Bad(line, f"neither {CAPTION[0]} nor {CLASS[0]} (it has {given})")
    return Prompt(**found)


__all__ = ["Bad", "Prompt", "SUFFIXES", "lines", "prompt", "read", "listing"]
