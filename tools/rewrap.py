"""Break docstring and comment lines that are too long, which `ruff format` leaves alone: python tools/rewrap.py
FILES"""

import ast
import io
import re
import sys
import tokenize
from pathlib import Path

WIDTH = 120
STARTS_ITEM = re.compile(r"[-*|>]|\"\"\"|\w+(, \w+)*: ")


def prose(source: str) -> set[int]:
    """Numbers of the lines that are docstrings or comments of their own."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {t.start[0] for t in tokens if t.type == tokenize.COMMENT and t.line.lstrip().startswith("#")}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def broken(lines: list[str], i: int) -> bool:
    """Break line i before the width, joining what is left over to the next line of the same paragraph."""
    line = lines[i]
    body = line.lstrip()
    indent = line[: len(line) - len(body)]
    comment = "# " if body.startswith("#") else ""
    closing = '"""' if line.endswith('"""') else ""
    cut = line.removesuffix(closing).rfind(" ", 0, WIDTH + 1)
    laid_out = body.startswith(("|", "#  ")) or (not comment and re.search(r"\S {2,}\S", body.lstrip('r"')))
    if cut < len(indent) + 20 or laid_out:
        return False
    head, tail = line[:cut].rstrip(), line[cut + 1 :]
    following = lines[i + 1] if i + 1 < len(lines) else ""
    text = following.lstrip().removeprefix(comment)
    hanging = (
        "  " if body.startswith(("- ", "* ")) else "    " if re.match(r"\w+(, \w+)*: ", body) and not comment else ""
    )
    same = following.startswith((indent + comment, indent + hanging)) and bool(
        comment
    ) == following.lstrip().startswith("#")
    if not closing and text and same and not STARTS_ITEM.match(text) and i + 2 in prose("\n".join(lines)):
        start = following[: len(following) - len(following.lstrip())]
        lines[i : i + 2] = [head, f"{start}{comment}{tail} {text}"]
    else:
        lines[i : i + 1] = [head, f"{indent}{comment}{'' if closing else hanging}{tail}"]
    return True


def rewrap(source: str) -> str:
    lines = source.split("\n")
    i = 0
    while i < len(lines):
        if len(lines[i]) > WIDTH and i + 1 in prose("\n".join(lines)):
            broken(lines, i)
        i += 1
    return "\n".join(lines)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        before = Path(name).read_text()
        if any(len(line) > WIDTH for line in before.split("\n")) and (after := rewrap(before)) != before:
            Path(name).write_text(after)
            print(name)
