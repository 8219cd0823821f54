"""The text that ships with CPython: docstrings, long comments and help topics of the standard library.

Nothing is downloaded and nothing is bundled: documents are read from the running interpreter, one per module or help
topic. Another release of CPython has slightly other documents; names, and so splits, stay.
"""

import ast
import hashlib
import importlib
import importlib.machinery
import importlib.util
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from limbeck_text.data.normalise import normalised

LICENCE = "documentation and docstrings of CPython, PSF License Version 2 (PSF-2.0), as installed with the interpreter"

# share of the documents in percent, by the hash of their names
SHARES = {"train": 50, "judge": 40, "held_out": 10}
PARAGRAPH = 60  # characters from which a paragraph that occurs twice is a copy and not a phrase

_SKIPPED = {"__pycache__", "site-packages", "dist-packages", "test", "tests", "idle_test", "pydoc_data", "turtledemo"}
_UNWANTED = re.compile(r"test|^xx|^readline$|^_tkinter$|^_curses|^antigravity$|^this$|^idlelib$")
_COMMENT_LINES = 3  # consecutive lines from which a comment is prose rather than a remark


# --- reading ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def documents() -> dict[str, str]:
    """Name -> text, sorted by name; a paragraph stands in one document only, so that no split repeats another's."""
    found: dict[str, list[str]] = {}
    for name, pieces in (*_python_modules(), *_compiled_modules(), *_topics()):
        found.setdefault(name, []).extend(pieces)
    texts = {name: normalised("\n\n".join(found[name])) for name in sorted(found)}
    return {name: text for name, text in sorted(_without_copies(texts).items()) if len(text) >= PARAGRAPH}


def texts(split: str) -> list[str]:
    """The documents of a split, sorted by name."""
    return [text for name, text in documents().items() if split_of(name) == split]


def split_of(name: str) -> str:
    """The split of a document: train, judge or held_out. `decimal`, `_decimal` and `_pydecimal` go together."""
    family = ".".join(re.sub(r"^_+(py(?=[a-z]))?", "", part) or part for part in name.split("."))
    percent = int.from_bytes(hashlib.blake2b(family.encode(), digest_size=4).digest(), "little") % 100
    for split, share in SHARES.items():
        if percent < share:
            return split
        percent -= share
    raise AssertionError("shares sum to 100")


def _without_copies(texts: Mapping[str, str]) -> dict[str, str]:
    """Drop long paragraphs that stood in an earlier document; the held-out ones come first and keep theirs."""
    order = sorted(texts, key=lambda name: (list(SHARES)[::-1].index(split_of(name)), name))
    seen: set[str] = set()
    kept = {}
    for name in order:
        paragraphs = []
        for paragraph in texts[name].split("\n\n"):
            key = " ".join(paragraph.split())
            if len(key) >= PARAGRAPH:
                if key in seen:
                    continue
                seen.add(key)
            paragraphs.append(paragraph)
        kept[name] = "\n\n".join(paragraphs)
    return kept


# --- modules in Python -----------------------------------------------------------------------------------------------


def _python_modules() -> Iterator[tuple[str, list[str]]]:
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if _SKIPPED.intersection(parts[:-1]) or parts[0].startswith("config-") or _UNWANTED.search(parts[-1]):
            continue
        names = [*parts[:-1], parts[-1].removesuffix(".py")]
        try:
            pieces = from_source(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError, ValueError, OSError):
            continue  # templates, and files in old encodings
        if pieces:
            yield ".".join(names[:-1] if names[-1] == "__init__" and len(names) > 1 else names), pieces


def from_source(source: str) -> list[str]:
    """Docstrings under the line that names what they document, then long comments, of one module."""
    comments = _long_comments(source)
    if '"""' not in source and "'''" not in source:
        return comments
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in old modules
        tree = ast.parse(source)
    return [*_docstrings(tree, ""), *comments]


def _docstrings(node: Any, owner: str) -> Iterator[str]:
    if isinstance(node, ast.Module):
        if text := ast.get_docstring(node):
            yield text
    elif isinstance(node, ast.ClassDef):
        owner = f"{owner}{node.name}."
        if text := ast.get_docstring(node):
            yield f"class {owner[:-1]}:\n{text}"
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        if text := ast.get_docstring(node):
            yield f"def {owner}{node.name}({_arguments(node.args)}):\n{text}"
        return
    for child in getattr(node, "body", ()):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.If | ast.Try):
            yield from _docstrings(child, owner)


def _arguments(args: ast.arguments) -> str:
    names = [a.arg for a in (*args.posonlyargs, *args.args)]
    if args.vararg is not None:
        names.append(f"*{args.vararg.arg}")
    elif args.kwonlyargs:
        names.append("*")
    names += [a.arg for a in args.kwonlyargs]
    if args.kwarg is not None:
        names.append(f"**{args.kwarg.arg}")
    return ", ".join(names)


def _long_comments(source: str) -> list[str]:
    found, block = [], []
    for line in (*source.splitlines(), ""):
        text = line.strip()
        if text.startswith("#") and not text.startswith("#!"):
            block.append(text.lstrip("#").removeprefix(" ").rstrip())
            continue
        if len(block) >= _COMMENT_LINES and sum(map(len, block)) >= PARAGRAPH * 2:
            found.append("\n".join(block).strip())
        block = []
    return found


# --- modules in C, help topics ---------------------------------------------------------------------------------------


def _compiled_modules() -> Iterator[tuple[str, list[str]]]:
    for name in sorted(sys.stdlib_module_names):
        if _UNWANTED.search(name):
            continue
        try:
            spec = importlib.util.find_spec(name)
            origin = getattr(spec, "origin", None) or ""
            if origin != "built-in" and not origin.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES)):
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # deprecated modules are documented, too
                pieces = list(_members(importlib.import_module(name)))
        except Exception:  # a module of another system, or one that was not compiled
            continue
        if pieces:
            yield name, pieces


def _members(module: ModuleType) -> Iterator[str]:
    if module.__doc__:
        yield _clean(module.__doc__)
    for name, value in sorted(vars(module).items()):
        if module is sys and name.endswith("hook"):  # as Python made it: test runners and consoles put in their own
            value = vars(sys).get(f"__{name}__", value)
        documented = getattr(value, "__doc__", None)
        if name.startswith("_") or not isinstance(documented, str) or isinstance(value, ModuleType):
            continue
        if isinstance(value, type):
            yield f"class {name}:\n{_clean(documented)}"
            for method, member in sorted(vars(value).items()):
                text = getattr(member, "__doc__", None)
                if isinstance(text, str) and not method.startswith("_") and text is not documented:
                    yield f"def {name}.{method}{_signature(member)}:\n{_clean(text)}"
        elif callable(value) and type(value).__name__ in ("builtin_function_or_method", "function"):
            yield f"def {name}{_signature(value)}:\n{_clean(documented)}"


def _signature(value: Any) -> str:
    return (getattr(value, "__text_signature__", None) or "(...)").replace("$", "")


def _clean(text: str) -> str:
    import inspect

    return inspect.cleandoc(text)


def _topics() -> Iterator[tuple[str, list[str]]]:
    from pydoc_data.topics import topics

    for name, text in sorted(topics.items()):
        yield f"topics/{name}", [text]
