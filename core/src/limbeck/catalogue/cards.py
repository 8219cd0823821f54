"""One component on a card: what `limbeck show NAME` and `limbeck.objectives[NAME]` print."""

import html
from typing import Any, get_args, get_origin

from limbeck.catalogue.plain_text import columns
from limbeck.errors import LimbeckError
from limbeck.plugins.index import Entry
from limbeck.plugins.registry import Registry


def type_name(annotation: Any) -> str:
    """`Literal['a', 'b']` -> a | b; `int | None` -> int | null."""
    if annotation is type(None) or annotation is None:
        return "null"
    if isinstance(annotation, str | int | float) and not isinstance(annotation, type):
        return str(annotation)
    name = getattr(get_origin(annotation), "__name__", "")
    arguments = get_args(annotation)
    if name == "Annotated":
        return type_name(arguments[0])
    if name in ("Literal", "Union", "UnionType"):
        return " | ".join(dict.fromkeys(type_name(a) for a in arguments))
    if arguments:
        return f"{name}[{', '.join('...' if a is Ellipsis else type_name(a) for a in arguments)}]"
    return getattr(annotation, "__name__", str(annotation))


def options_table(model: Any, block: Any = None, path: str = "") -> list[dict[str, str]]:
    """name, type, default and description of every option of a pydantic model; those of a block by their full path,
    and of a block of several kinds what the other kinds have besides. `block` holds the defaults of a model that is a
    block."""
    from limbeck.options import Options, kinds_of

    rows = []
    for name, field in model.model_fields.items():
        if block is not None:
            default = getattr(block, name)
        else:
            default = "required" if field.is_required() else field.get_default(call_default_factory=True)
        if isinstance(default, Options):
            inside = options_table(type(default), default, f"{path}{name}.")
            members = {kind: member for member in get_args(field.annotation) for kind in kinds_of(member)}
            for kind, member in members.items():
                listed = {row["name"] for row in inside}
                more = options_table(member, None, f"{path}{name}.") if not isinstance(default, member) else []
                inside += [
                    row | {"description": f"kind {kind}: {row['description']}"}
                    for row in more
                    if row["name"] not in listed
                ]
            for row in inside:
                if members and row["name"] == f"{path}{name}.kind":
                    row["type"] = " | ".join(members)
            rows += inside
            continue
        rows.append(
            {
                "name": f"{path}{name}",
                "type": type_name(field.annotation),
                "default": written(default),
                "description": field.description or "",
            }
        )
    return rows


def written(default: Any) -> str:
    """A default as a recipe writes it."""
    if isinstance(default, str):
        return default
    return "null" if default is None else str(default)


class Card:
    """A component's summary, options, needs or abilities, details and reference."""

    def __init__(self, entry: Entry, registry: Registry):
        self.entry, self.registry = entry, registry

    @property
    def summary(self) -> str:
        return self.entry.component.summary

    def options(self) -> tuple[list[dict[str, str]], str]:
        """The options table, and why there is none when it cannot be had."""
        component = self.entry.component
        if component.kind in ("recipe", "view"):
            return [], ""
        try:
            return options_table(self.registry.options_model(component.kind, self.entry.qualified)), ""
        except LimbeckError as error:
            return [], str(error)

    def differences(self) -> dict[str, str]:
        """Of a preset: the options whose defaults are others than those of the component it is a preset of."""
        component = self.entry.component
        if not component.preset_of:
            return {}
        from limbeck.options import differences

        base = component.preset_of if "/" in component.preset_of else f"{self.entry.plugin}/{component.preset_of}"
        try:
            mine, theirs = (self.registry.options_model(component.kind, n) for n in (self.entry.qualified, base))
        except LimbeckError:
            return {}
        return {path: written(default) for path, default in differences(mine, theirs).items()}

    def recipes(self) -> list[str]:
        """Registered recipes that name this component."""
        from limbeck.recipe import load

        found = []
        for entry in self.registry.components("recipe"):
            try:
                recipe = load(entry.qualified, check=False)
            except LimbeckError:
                continue
            for _, kind, block in recipe.blocks():
                if kind == self.entry.component.kind and block.use in (
                    self.entry.component.name, self.entry.qualified,
                    f"{self.entry.distribution}/{self.entry.component.name}",
                ):  # fmt: skip
                    found.append(entry.component.name)
                    break
        return found

    def to_dict(self) -> dict[str, Any]:
        component = self.entry.component
        options, problem = self.options()
        card: dict[str, Any] = {
            "kind": component.kind,
            "name": component.name,
            "qualified": self.entry.qualified,
            "distribution": self.entry.distribution,
            "version": self.entry.version,
            "summary": component.summary,
            "modality": component.modality,
            "needs": {role: sorted(words) for role, words in component.needs.by_role().items() if words},
            "can": sorted(component.can),
            "details": dict(component.details),
            "reference": component.reference,
            "example": dict(component.example) if component.example is not None else None,
            "target": component.target if isinstance(component.target, str) else repr(component.target),
            "preset_of": component.preset_of,
            "differences": self.differences(),
            "options": options,
            "recipes": self.recipes() if component.kind != "recipe" else [],
        }
        if problem:
            card["options_problem"] = problem
        return card

    def lines(self) -> list[str]:
        """Plain text, ready to print."""
        card = self.to_dict()
        lines = [f"{card['kind']} {card['name']}   {card['summary']}"]
        facts = {
            "from": f"{card['distribution']} {card['version']}  ({card['qualified']})",
            "modality": card["modality"],
            **{f"needs of {role}": ", ".join(words) for role, words in card["needs"].items()},
            "can": ", ".join(card["can"]),
            **{key: str(value) for key, value in card["details"].items()},
            f"as {card['preset_of']}, with": ", ".join(f"{key}: {value}" for key, value in card["differences"].items()),
            "quick trial": ", ".join(f"{key}: {value}" for key, value in (card["example"] or {}).items()),
            "reference": card["reference"],
            "recipes": ", ".join(card["recipes"]),
        }
        facts = {key: value for key, value in facts.items() if value}
        width = max(map(len, facts))
        lines += [f"  {key:<{width}}  {value}" for key, value in facts.items()]
        if card["options"]:
            lines += ["", "  options"]
            rows = [[row[key] for key in ("name", "type", "default", "description")] for row in card["options"]]
            lines += [f"    {line}" for line in columns(["name", "type", "default", ""], rows)]
        if "options_problem" in card:
            lines += ["", f"  options cannot be shown: {card['options_problem']}"]
        return lines

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def __rich__(self) -> Any:
        from rich.text import Text

        first, *rest = self.lines()
        text = Text(first, style="bold")
        return text.append("\n" + "\n".join(rest), style="not bold") if rest else text

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"
