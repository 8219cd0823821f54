"""Tables: rich on a terminal, aligned plain text when piped, JSON with --json."""

import json
import math
import sys
from collections.abc import Sequence
from typing import Any

from limbeck.catalogue import plain_text

STYLES = {
    "ok": "green",
    "runs": "green",
    "broken": "red",
    "incompatible": "red",
    "duplicate": "yellow",
    "disabled": "dim",
}


def show(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], *, empty: str = "none", right: Sequence[str] = ()
) -> None:
    """Print a table. `right` names the columns of numbers."""
    texts = [["" if value is None else str(value) for value in row] for row in rows]
    if not texts:
        print(empty)
    elif not sys.stdout.isatty():
        padded = [
            [
                t.rjust(max(len(r[i]) for r in (columns, *texts))) if columns[i] in right else t
                for i, t in enumerate(row)
            ]
            for row in (list(columns), *texts)
        ]
        print("\n".join(plain_text.columns(padded[0], padded[1:])))
    else:
        _rich(columns, texts, right)


def _rich(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for i, name in enumerate(columns):
        table.add_column(Text(name), justify="right" if name in right else "left", no_wrap=i == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(text, style=STYLES.get(text, "")) for text in row))
    Console(highlight=False).print(table)


def show_json(data: Any) -> None:
    """JSON on standard output. A number that is not finite becomes null: JSON has none."""
    print(json.dumps(_finite(data), indent=2, default=str))


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def number(value: Any) -> str:
    """Three significant digits or so, never in scientific notation for everyday sizes."""
    if value is None:
        return "-"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e6):
        return str(int(value)) if isinstance(value, int) else f"{value:.2f}"
    return (
        f"{value:.3f}"
        if 0.0995 <= abs(value) < 10
        else f"{value:.4f}"
        if 0.001 <= abs(value) < 0.0995
        else f"{value:.4g}"
    )
