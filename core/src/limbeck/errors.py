"""Every error that Limbeck raises on purpose, drawn as a tree.

LimbeckError (ValueError's habits: the message has what was given, what is allowed, how to fix it)
├── RecipeError            a recipe that cannot run                       exit 2
│   └── OptionError        one wrong key or value, with its YAML path     exit 2
├── RegistryError
│   ├── UnknownComponent   no component of that name                      exit 2
│   ├── AmbiguousComponent several components have that name              exit 2
│   ├── MissingAbility     objective and generator do not fit             exit 2
│   ├── PluginLoadError    a plugin's object could not be imported        exit 3
│   └── HookError          a hook of a plugin or callback raised          exit 3
├── RunExists              the output folder already holds a run          exit 4
├── CheckpointError        torn, altered or foreign checkpoint           exit 5
├── NonFinite              a loss or gradient is not finite               exit 6
└── Interrupted            Ctrl-C: saved, can be resumed                  exit 130
"""

import difflib
from collections.abc import Iterable


class LimbeckError(Exception):
    """Base of all; `exit_code` is what the command line returns."""

    exit_code = 1


class RecipeError(LimbeckError):
    exit_code = 2


class OptionError(RecipeError):
    """One wrong key or value. `path` is its dotted YAML path, `line` its line in the file when known."""

    def __init__(self, message: str, *, path: str = "", source: str = "", line: int | None = None):
        self.path, self.source, self.line, self.message = path, source, line, message
        where = f"{source}:{line}" if source and line else source
        super().__init__("  ".join(part for part in (where, f"{path}: {message}" if path else message) if part))


class RegistryError(LimbeckError):
    exit_code = 2


class UnknownComponent(RegistryError):
    pass


class AmbiguousComponent(RegistryError):
    pass


class MissingAbility(RegistryError):
    pass


class PluginLoadError(RegistryError):
    exit_code = 3


class HookError(RegistryError):
    exit_code = 3


class RunExists(LimbeckError):
    exit_code = 4


class CheckpointError(LimbeckError):
    exit_code = 5


class NonFinite(LimbeckError):
    exit_code = 6


class Interrupted(LimbeckError):
    exit_code = 130


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """`Did you mean 'dmd2'? ` or nothing, for the end of a message."""
    close = difflib.get_close_matches(str(given), list(known), n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}? " if close else ""


def first_line(error: BaseException) -> str:
    """One line of an exception."""
    text = str(error).strip().splitlines()
    first = text[0] if text else ""
    if isinstance(error, ImportError) and first:
        return first
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
