"""The model card of an export: what it is, how to load it, metrics, licences, the recipe."""

from collections.abc import Mapping
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.export.folder import CONFIG, PROGRAM, WEIGHTS
from limbeck.export.student import metrics_of
from limbeck.networks.guidance import unguided


def card(run: Any, config: Mapping[str, Any]) -> str:
    """The card of a program: `config` is that of config.json, with the inputs of the program."""
    recipe = config["recipe"]
    teacher = (recipe.get("teacher") or {}).get("use")
    objective, data = recipe["objective"]["use"], (recipe.get("data") or {}).get("use")
    event, evaluations = config["space"]["event"], config["sampling"]["evaluations"]
    made = f"distilled from the teacher `{teacher}` with `{objective}`" if teacher else f"trained with `{objective}`"
    calls = f"{evaluations} network evaluation{'s' if evaluations != 1 else ''} per sample"
    lines = [
        f"# {config['name']}",
        "",
        f"A generator {made}{f' on `{data}`' if data else ''}, by Limbeck {config['limbeck']}. It makes samples of "
        f"shape {tuple(event)} ({config['space']['domain']}) with {calls} and has {config['parameters']:,} parameters.",
        "",
        "## Load it",
        "",
        "Plain PyTorch is enough; the sampling steps are part of the program.",
        "",
        "```python",
        "import torch",
        "",
        f'student = torch.export.load("{PROGRAM}").module()',
        *_call(config["inputs"]),
        "```",
        "",
        "Inputs, in order (B is any batch size):",
        "",
        "| input | shape | type | what |",
        "| --- | --- | --- | --- |",
        *(
            f"| `{i['name']}` | {tuple(i['shape'])} | {i['dtype']} | {i['is']} |".replace("'", "")
            for i in config["inputs"]
        ),
        "",
        f"`{WEIGHTS}` holds the weights alone, `{CONFIG}` the recipe that builds the network. "
        f"Exported with torch {config['torch']}.",
        "",
        *about(run),
    ]
    return "\n".join(lines) + "\n"


def about(run: Any) -> list[str]:
    """The lines that end every model card: metrics, licences, the recipe."""
    content = run.recipe.to_dict()
    teacher, data = (content.get("teacher") or {}).get("use"), (content.get("data") or {}).get("use")
    return [
        *_metric_table(metrics_of(run)),
        "## Licence",
        "",
        _licence(run, teacher, data),
        "",
        "## Recipe",
        "",
        "```yaml",
        _yaml(content).rstrip(),
        "```",
    ]


def _call(inputs: list[dict[str, Any]]) -> list[str]:
    lines = []
    for item in inputs:
        shape = ", ".join(["16", *map(str, item["shape"][1:])])
        if item["name"] == "labels" and "int" in item["dtype"] and len(item["shape"]) == 1:
            lines.append("labels = torch.arange(16) % 10  # which classes")
        else:
            lines.append(f"{item['name']} = torch.randn({shape})")
    names = ", ".join(item["name"] for item in inputs)
    return [*lines, f"samples = student({names})"]


def _metric_table(metrics: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if "student" not in metrics:
        return []
    roles = [role for role in ("student", "teacher", "floor") if role in metrics]
    names = {"student": "this model", "teacher": "teacher", "floor": "real held-out data"}
    keys = list(metrics["student"])

    def shown(value: Any) -> str:
        return f"{value:.4g}" if isinstance(value, int | float) else "n/a"

    return [
        "## Metrics",
        "",
        f"| | {' | '.join(key.replace('_', ' ') for key in keys)} |",
        f"| --- |{' --- |' * len(keys)}",
        *(f"| {names[role]} | {' | '.join(shown(metrics[role].get(key)) for key in keys)} |" for role in roles),
        "",
    ]


def _licence(run: Any, teacher: str | None, data: str | None) -> str:
    """Licences of teacher and data (provenance of the weights, manifest), and what holds in any case."""
    partners = (("teacher", teacher, run.built.teacher), ("data", data, run.built.data))
    found = []
    for kind, name, made in partners:
        if made is None or not name:
            continue
        inner = unguided(made) if kind == "teacher" else made
        known = {**_details(kind, name), **(getattr(inner, "provenance", None) or {})}
        licence = known.get("licence") or known.get("license")
        if licence:
            found.append(f"The {kind} `{name}`: {licence}.")
    found.append("These weights may be used as the licences of the teacher's weights and of the data allow.")
    return " ".join(found)


def _details(kind: str, name: str) -> dict[str, str]:
    from limbeck.plugins.registry import find

    try:
        return dict(find(kind, name).component.details)
    except LimbeckError:  # given as an object
        return {}


def _yaml(recipe: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True)
