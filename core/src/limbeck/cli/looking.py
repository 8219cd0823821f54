"""Commands that look around: plugins, list, show, matrix, recipes. None of them imports torch by itself."""

from typing import Annotated, Any

import typer

from limbeck.cli.plugin_table import plural, print_plugins
from limbeck.cli.tables import show, show_json
from limbeck.errors import UnknownComponent, did_you_mean
from limbeck.manifest import KINDS

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
On = Annotated[str | None, typer.Option("--on", metavar="MODALITY", help="Only what works on this modality.")]


def kind_of(word: str) -> str:
    """`objectives` or `objective` -> objective."""
    for kind in KINDS:
        if word.lower() in (kind, plural(kind)):
            return kind
    words = [plural(kind) for kind in KINDS]
    raise UnknownComponent(f"no kind {word!r}. {did_you_mean(word, words)}Kinds: {', '.join(words)}")


def complete_kind(incomplete: str) -> list[str]:
    return [plural(kind) for kind in KINDS if kind.startswith(incomplete)]


def complete_name(incomplete: str) -> list[str]:
    from limbeck.plugins.registry import registry

    return sorted({e.component.name for e in registry.components() if e.component.name.startswith(incomplete)})


def known_modality(modality: str | None) -> str | None:
    from limbeck.plugins.registry import registry

    known = registry.modalities()
    if modality is not None and modality not in known:
        raise UnknownComponent(
            f"no modality {modality!r} among the installed plugins. {did_you_mean(modality, known)}"
            f"Known: {', '.join(known) or 'none'} (limbeck plugins)"
        )
    return modality


# --- plugins ---------------------------------------------------------------------------------------------------------

plugins_app = typer.Typer()


@plugins_app.callback(invoke_without_command=True)
def plugins(context: typer.Context, as_json: Json = False) -> None:
    """List plugins: name, version, plugin API, status and what they bring, or the reason and the fix.

    \b
    Examples:
      limbeck plugins
      limbeck plugins --json
      limbeck plugins doctor
    Exit codes: 0, even when a plugin is broken (doctor exits with 3).
    """
    if context.invoked_subcommand is None:
        plugins_list(as_json)


@plugins_app.command("list")
def plugins_list(as_json: Json = False) -> None:
    """List plugins, as `limbeck plugins` does.

    \b
    Example:  limbeck plugins list --json
    Exit codes: 0.
    """
    print_plugins(as_json)


@plugins_app.command("doctor")
def plugins_doctor(as_json: Json = False) -> None:
    """Find what is wrong with the installed plugins, and how to mend it.

    Checks every manifest, its hooks, and each distribution's requirements against what is installed.

    \b
    Example:  limbeck plugins doctor
    Exit codes: 0 all well; 3 something is wrong.
    """
    from limbeck.cli.doctor import findings
    from limbeck.plugins.registry import registry

    found = findings(registry)
    if as_json:
        show_json([vars(finding) for finding in found])
    elif found:
        for finding in found:
            print(f"{finding.level:<8} {finding.distribution}: {finding.message}")
            if finding.fix:
                print(f"{'':<8} fix: {finding.fix}")
    else:
        print(f"{len(registry.plugins())} plugins, nothing wrong")
    if any(finding.level == "error" for finding in found):
        raise typer.Exit(3)


# --- list, recipes, show, matrix -------------------------------------------------------------------------------------


def component_json(entry: Any) -> dict[str, Any]:
    c = entry.component
    return {
        "kind": c.kind, "name": c.name, "qualified": entry.qualified, "distribution": entry.distribution,
        "version": entry.version, "summary": c.summary, "modality": c.modality, "can": sorted(c.can),
        "needs": {role: sorted(words) for role, words in c.needs.by_role().items() if words},
        "reference": c.reference, "details": dict(c.details),
    }  # fmt: skip


def list_kind(kind: str, modality: str | None, as_json: bool) -> None:
    from limbeck.catalogue.matrix import missing_on
    from limbeck.plugins.registry import registry

    entries = registry.components(kind, None if kind == "objective" else known_modality(modality))
    if kind == "objective" and known_modality(modality):
        entries = [entry for entry in entries if not missing_on(registry, entry, modality or "")]
    if as_json:
        show_json([component_json(entry) for entry in entries])
        return
    names = [e.component.name for e in entries]
    shown = [e.component.name if names.count(e.component.name) == 1 else e.qualified for e in entries]
    columns: dict[str, list[Any]] = {"name": shown, "plugin": [e.plugin for e in entries]}
    if kind == "objective":
        columns["family"] = [e.component.details.get("family", "") for e in entries]
        columns["needs"] = [needs_text(e.component.needs) for e in entries]
    else:
        columns["modality"] = [e.component.modality for e in entries]
    if kind in ("teacher", "generator", "data"):
        columns["can"] = [", ".join(sorted(e.component.can)) for e in entries]
    columns["summary"] = [e.component.summary for e in entries]
    if any(e.component.reference for e in entries):
        columns["reference"] = [e.component.reference for e in entries]
    rows = list(zip(*columns.values(), strict=True))
    where = f" on {modality}" if modality else ""
    show(list(columns), rows, empty=f"no {plural(kind)}{where} among the installed plugins (limbeck plugins)")


def needs_text(needs: Any) -> str:
    return "; ".join(f"{role}: {', '.join(sorted(words))}" for role, words in needs.by_role().items() if words)


def list_command(
    kind: Annotated[str, typer.Argument(help="objectives, teachers, generators, ...", autocompletion=complete_kind)],
    on: On = None,
    as_json: Json = False,
) -> None:
    """List the components of one kind: singular or plural.

    \b
    Kinds: objectives, teachers, generators, data, sources, samplers, metrics, views, callbacks, exporters, recipes
    Examples:
      limbeck list objectives --on image
      limbeck list samplers --json
    Exit codes: 0; 2 no such kind or modality.
    """
    list_kind(kind_of(kind), on, as_json)


def recipes_command(on: On = None, as_json: Json = False) -> None:
    """List the registered recipes: what `limbeck distill NAME` and `limbeck pretrain NAME` can run.

    \b
    Example:  limbeck recipes --on image
    Exit codes: 0; 2 no such modality.
    """
    list_kind("recipe", on, as_json)


def show_command(
    name: Annotated[str, typer.Argument(help="Name of a component, or plugin/name.", autocompletion=complete_name)],
    kind: Annotated[str | None, typer.Option("--kind", help="When several kinds share the name.")] = None,
    as_json: Json = False,
) -> None:
    """Show components: idea, formula, options with types and defaults, needs, cost, reference, recipes.

    \b
    Examples:
      limbeck show dmd2
      limbeck show image/digits --kind teacher
    Exit codes: 0; 2 no such component.
    """
    from limbeck.catalogue.cards import Card
    from limbeck.plugins.registry import registry

    kinds = [kind_of(kind)] if kind else list(KINDS)
    bare, plugin = name.rpartition("/")[2], name.rpartition("/")[0]
    found = [
        entry
        for entry in registry.components()
        if entry.component.kind in kinds
        and entry.component.name == bare
        and (not plugin or plugin in (entry.plugin, entry.distribution))
    ]
    if not found:
        if kind:
            registry.find(kinds[0], name)  # raises, with what is known
        names = {e.component.name for e in registry.components()}
        raise UnknownComponent(f"no component named {name!r}. {did_you_mean(bare, names)}See: limbeck list KIND")
    cards = [Card(entry, registry) for entry in found]
    if as_json:
        show_json([card.to_dict() for card in cards])
        return
    for i, card in enumerate(cards):
        first, *rest = card.lines()
        print("\n" * bool(i) + typer.style(first, bold=True) if _colours() else "\n" * bool(i) + first)
        print("\n".join(rest))
        if card.entry.component.kind == "recipe":
            print("\n" + registry.resolve("recipe", card.entry.qualified).read_text(encoding="utf-8").rstrip())


def _colours() -> bool:
    import os
    import sys

    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def matrix_command(
    on: On = None,
    wide: Annotated[
        bool, typer.Option("--wide", help="Show on which generator, teacher and data each objective runs.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Objectives down, modalities across: `runs`, or the ability that is missing.

    An objective runs on a modality when it runs on one choice of generator, teacher and data that belong together.
    JSON names every such choice, --wide prints them.

    \b
    Examples:
      limbeck matrix
      limbeck matrix --on image --wide
      limbeck matrix --json
    Exit codes: 0; 2 no such modality.
    """
    from limbeck.catalogue import matrix
    from limbeck.plugins.registry import registry

    rows = matrix.table(registry, known_modality(on))
    if as_json:
        show_json(rows)
        return
    columns = [key for key in (rows[0] if rows else {}) if key != "partners"]
    cells = [[_wide(row, column) if wide else row[column] for column in columns] for row in rows]
    show([{"name": "objective"}.get(c, c) for c in columns], cells, empty="no objectives")


def _wide(row: dict[str, Any], column: str) -> str:
    """`runs on image/digits; image/emoji from image/digits` in the place of `runs`."""
    choices = row["partners"].get(column)
    if not choices:
        return row[column]
    choices_shown = []
    for names in choices:
        teacher = names.get("teacher", names["generator"])
        choices_shown.append(names["generator"] + (f" from {teacher}" if teacher != names["generator"] else ""))
    return f"runs on {'; '.join(dict.fromkeys(choices_shown))}"


def add(app: typer.Typer) -> None:
    app.add_typer(plugins_app, name="plugins")
    app.command("list")(list_command)
    app.command("show")(show_command)
    app.command("matrix")(matrix_command)
    app.command("recipes")(recipes_command)
