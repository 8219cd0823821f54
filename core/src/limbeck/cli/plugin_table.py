"""The table of `limbeck plugins`. Imports neither typer nor pydantic: it is printed often, and has to be quick."""

import sys
from typing import Any

from limbeck.cli.tables import show, show_json
from limbeck.manifest import KINDS


def plural(kind: str) -> str:
    return kind if kind == "data" else f"{kind}s"


def brings(components: Any) -> str:
    """`objectives 5, samplers 6`."""
    counts: dict[str, int] = {}
    for component in components:
        counts[component.kind] = counts.get(component.kind, 0) + 1
    return ", ".join(f"{plural(kind)} {counts[kind]}" for kind in KINDS if kind in counts)


def row_json(row: Any) -> dict[str, Any]:
    return {
        "name": row.name, "distribution": row.distribution, "version": row.version, "api": row.api,
        "status": row.status,
        "reason": row.reason, "fix": row.fix, "warnings": list(row.warnings),
        "components": [{"kind": c.kind, "name": c.name} for c in row.components],
    }  # fmt: skip


def print_plugins(as_json: bool) -> None:
    """Name, version, plugin API, status, and what a plugin brings or what is wrong with it."""
    from limbeck.plugins.registry import registry

    rows = registry.plugins()
    if as_json:
        show_json([row_json(row) for row in rows])
        return
    show(
        ["name", "plugin", "version", "api", "status", "brings"],
        [
            [
                row.distribution,
                row.name,
                row.version,
                "-" if row.api is None else row.api,
                row.status,
                brings(row.components) if row.status == "ok" else f"{row.reason}. {row.fix}" if row.fix else row.reason,
            ]
            for row in rows
        ],
        empty="no plugins: pip install limbeck-diffusion limbeck-image",
    )
    warned = [row.distribution for row in rows if row.warnings]
    if warned:
        print(f"warnings for {', '.join(warned)}: limbeck plugins doctor", file=sys.stderr)
