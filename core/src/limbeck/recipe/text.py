"""YAML text to plain data, with the line of every key: what error messages point at.

Read strictly: YAML 1.2 scalars (`no` and `on` are words, `2e-4` is a number), string keys, no duplicate keys, no tags,
no merge keys. Nothing in the text can name a Python object.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from limbeck.errors import OptionError, RecipeError

YamlPath = tuple[str | int, ...]
MAX_NODES = 20_000  # a recipe has some fifty; aliases could unfold a small text into billions
MAX_DEPTH = 50


class Origin(NamedTuple):
    """Where a value was written."""

    source: str
    line: int | None = None

    @property
    def place(self) -> str:
        """`my.yaml:12`, or the source alone."""
        return f"{self.source}:{self.line}" if self.line else self.source


Origins = dict[YamlPath, Origin]


def origin_of(origins: Origins, path: YamlPath) -> Origin:
    """Of the value at `path`, or of the nearest thing above it."""
    for end in range(len(path), -1, -1):
        if path[:end] in origins:
            return origins[path[:end]]
    return Origin("recipe")


class RecipeLoader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict = {}


class RecipeDumper(yaml.SafeDumper):
    """Quotes every text that this loader or a YAML 1.1 loader would take for something else (`no`, `1:30`)."""

    yaml_implicit_resolvers: dict = {k: list(v) for k, v in yaml.SafeDumper.yaml_implicit_resolvers.items()}

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: RecipeDumper, text: str) -> yaml.ScalarNode:
    """Unusual line breaks survive only as escapes."""
    style = '"' if any(c in text for c in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


RecipeDumper.add_representer(str, _text)

_SCALARS = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
)
for _tag, _pattern, _first in _SCALARS:
    for _class in (RecipeLoader, RecipeDumper):
        _class.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), [c if c != "\0" else "" for c in _first]
        )


def dotted(path: YamlPath) -> str:
    """('train', 'betas', 0) -> train.betas[0]."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text


def _scalar(node: yaml.ScalarNode, where: OptionError) -> Any:
    kind, text = node.tag.rpartition(":")[2], node.value
    if not node.tag.startswith("tag:yaml.org,2002:") or kind not in ("str", "int", "float", "bool", "null"):
        raise where
    if kind == "str":
        return text
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "float":
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return int(text)


class _Reader:
    def __init__(self, source: str):
        self.source, self.nodes = source, 0
        self.origins: dict[YamlPath, Origin] = {}

    def error(self, message: str, path: YamlPath, line: int) -> OptionError:
        return OptionError(message, path=dotted(path), source=self.source, line=line)

    def read(self, node: yaml.Node, path: YamlPath, line: int, above: tuple[int, ...] = ()) -> Any:
        """`line` is that of the key, which is where a reader looks."""
        self.nodes += 1
        self.origins[path] = Origin(self.source, line)
        if self.nodes > MAX_NODES:
            raise self.error(f"more than {MAX_NODES} values: this is not a recipe", path, line)
        if id(node) in above:
            raise self.error("refers to itself (an alias inside its own anchor)", path, line)
        if len(above) > MAX_DEPTH:
            raise self.error("nested too deeply to be a recipe", (), line)
        above = (*above, id(node))
        if isinstance(node, yaml.MappingNode):
            data: dict[str, Any] = {}
            for key_node, value_node in node.value:
                key, key_line = key_node.value, key_node.start_mark.line + 1
                if not isinstance(key_node, yaml.ScalarNode) or not key_node.tag.endswith(
                    (":str", ":int", ":null", ":bool")
                ):
                    raise self.error("a key must be a plain word", path, key_line)
                if key in data:
                    raise self.error(f"key {key!r} is given twice; keep one", (*path, key), key_line)
                data[key] = self.read(value_node, (*path, key), key_line, above)
            return data
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, i), item.start_mark.line + 1, above) for i, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        refused = self.error(f"tag {node.tag!r} is not allowed: recipes hold plain YAML values only", path, line)
        try:
            return _scalar(node, refused)
        except ValueError as error:
            raise self.error(f"not a usable value: {node.value[:40]!r}", path, line) from error


def parse(text: str, source: str) -> tuple[Any, dict[YamlPath, Origin]]:
    """Plain data of one YAML document and the origin of every path in it."""
    reader = _Reader(source)
    try:
        node = yaml.compose(text, RecipeLoader)
        if node is None:
            return None, {}
        return reader.read(node, (), node.start_mark.line + 1), reader.origins
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise OptionError(
            f"not valid YAML: {error.problem or error.context or 'cannot be read'}",
            source=source,
            line=mark.line + 1 if mark else None,
        ) from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{source}: not valid YAML: {str(error).splitlines()[0]}") from error
    except RecursionError as error:
        raise RecipeError(f"{source}: nested too deeply to be a recipe") from error


def read(path: Path, source: str | None = None) -> tuple[Any, dict[YamlPath, Origin]]:
    """`parse` of a file."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not a text file in UTF-8 ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror or error}") from error
    return parse(text, source or str(path))


def dump(data: Any) -> str:
    """Plain data to YAML that `parse` reads back to equal data; keys keep their order."""
    return yaml.dump(data, Dumper=RecipeDumper, sort_keys=False, allow_unicode=True, width=100)


def parse_override(text: str) -> tuple[tuple[str, ...], Any]:
    """`train.steps=300` -> (('train', 'steps'), 300). The value is YAML."""
    where, equals, value = text.partition("=")
    path = tuple(where.strip().split("."))
    if not equals or not all(path):
        raise RecipeError(f"override {text!r} is not of the form path=value. Example: train.steps=300")
    return path, parse(value, f"override {text!r}")[0]
