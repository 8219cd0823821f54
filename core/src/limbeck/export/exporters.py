"""Students leave as ordinary artefacts: a `torch.export` program that samples without Limbeck, and plain weights.

An exporter is `exporter(run, directory, **options) -> list of files`. Both here refuse a folder that holds something,
unless asked to overwrite, and check what they wrote.
"""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.errors import LimbeckError, RunExists
from limbeck.files import write_json
from limbeck.interfaces import Predictor, Sampler, unwrap
from limbeck.networks.guidance import Guided
from limbeck.process.gaussian import GaussianProcess
from limbeck.randomness import Rng
from limbeck.sampling.rollouts import rollout

WEIGHTS, PROGRAM, CONFIG, CARD = "student.safetensors", "student.pt2", "config.json", "README.md"
TOLERANCE = 1e-5  # largest difference between the program and the student, on samples of about unit size


def export_torch(run: Any, directory: Path | str, *, overwrite: bool = False) -> list[Path]:
    """The student with its few sampling steps as one `torch.export` program, its weights, a config and a model card.

    `torch.export.load("student.pt2").module()(noise, labels, *renoise)` answers samples (B, *event) for any B, with
    plain torch. Every draw is an input, standard normal, so that nothing random is left inside.
    """
    directory = prepare(directory, overwrite)
    network, sampler, steps = _walked(run)
    cond = _example_conditions(run)
    sampling = _Sampling(network, sampler, steps, cond=cond)
    program = _program(sampling, network, cond)

    torch.export.save(program, directory / PROGRAM)
    _check(directory / PROGRAM, sampling, network, cond)
    config = _config(run, network, sampler, steps) | {
        "inputs": sampling.inputs(network, cond),
        "torch": torch.__version__,
    }
    _save_weights(network, directory / WEIGHTS, config)
    write_json(directory / CONFIG, config)
    (directory / CARD).write_text(_card(run, config), encoding="utf-8")
    return [directory / name for name in (PROGRAM, WEIGHTS, CONFIG, CARD)]


def export_safetensors(run: Any, directory: Path | str, *, overwrite: bool = False) -> list[Path]:
    """The student's weights as one safetensors file (its header repeats the config) and config.json: the recipe that
    builds the network, how it is sampled, versions, metrics."""
    directory = prepare(directory, overwrite)
    network, sampler, steps = _student(run)
    config = _config(run, network, sampler, steps)
    _save_weights(network, directory / WEIGHTS, config)
    write_json(directory / CONFIG, config)
    return [directory / WEIGHTS, directory / CONFIG]


# --- what is exported ------------------------------------------------------------------------------------------------


def prepare(directory: Path | str, overwrite: bool = False) -> Path:
    """The folder of an export, made if need be; RunExists when it holds something that was not to be overwritten."""
    directory = Path(directory)
    if directory.is_file():
        raise RunExists(f"{directory} is a file; an export needs a folder. Choose another name.")
    if directory.is_dir() and any(directory.iterdir()) and not overwrite:
        raise RunExists(
            f"{directory} is not empty, and nothing in it was touched. Choose another folder, empty this one, "
            "or replace the files of an earlier export: limbeck export RUN DIR overwrite=true (Python: overwrite=True)."
        )
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _student(run: Any) -> tuple[nn.Module, Sampler | None, int]:
    """A copy of the student on the CPU, the sampler it was made for, and its steps."""
    network = copy.deepcopy(unwrap(run.generator())).cpu().eval().requires_grad_(False)
    return network, run.built.sampler, run.built.sampling_steps


def _walked(run: Any) -> tuple[Predictor, Sampler, int]:
    """The student, refused when no sampler walks it from continuous noise to samples."""
    network, sampler, steps = _student(run)
    process = getattr(network, "process", None)
    if isinstance(network, Predictor) and isinstance(process, GaussianProcess) and sampler is not None:
        return network, sampler, steps
    what = "is no denoiser" if not isinstance(network, Predictor) else f"lives on {process}"
    if sampler is None:
        what = "has no sampler (the recipe has no sampling block)"
    raise LimbeckError(
        f"the exporter 'torch' writes programs that turn continuous noise into samples, and {type(network).__name__} "
        f"{what}. {_instead(run)}"
    )


def _instead(run: Any) -> str:
    """The exporters of the run's own modality, and the one that always works."""
    from limbeck.plugins.registry import registry

    use = run.recipe.generator.use if not isinstance(run.recipe, Mapping) else run.recipe["generator"]["use"]
    try:
        modality = registry.find("generator", use).component.modality
    except LimbeckError:
        modality = "any"
    own = [e.component.name for e in registry.components("exporter") if e.component.modality == modality != "any"]
    said = f"Exporters for {modality}: {', '.join(own)}. " if own else ""
    return f"{said}The weights alone: --to safetensors"


def _example_conditions(run: Any) -> Tensor | None:
    """Ten conditions as the student takes them, or None for an unconditional one."""
    cond = run.built.data.conditions(10, Rng(0)) if run.built.data is not None else None
    if cond is not None and not isinstance(cond, Tensor):
        raise LimbeckError(
            f"the torch exporter writes programs of tensors, and conditions here are {type(cond).__name__}. "
            "Export the weights: --to safetensors"
        )
    return cond


# --- the program -----------------------------------------------------------------------------------------------------


class _Recorded(Rng):
    """Writes down what is drawn, in order."""

    def __init__(self) -> None:
        super().__init__(0)
        self.purposes: list[str] = []

    def normal(self, purpose, shape, dtype=torch.float32):
        self.purposes.append(purpose)
        return super().normal(purpose, shape, dtype)

    def uniform(self, purpose, shape, dtype=torch.float32):
        raise _not_exportable(purpose)

    def integers(self, purpose, high, shape):
        raise _not_exportable(purpose)

    def shared_integer(self, purpose, high):
        if high > 1:
            raise _not_exportable(purpose)
        return 0


class _Replayed(_Recorded):
    """Hands out given tensors instead of drawing."""

    def __init__(self, given: dict[str, Tensor]):
        super().__init__()
        self.given = given

    def normal(self, purpose, shape, dtype=torch.float32):
        return self.given[purpose].to(dtype)


def _not_exportable(purpose: str) -> LimbeckError:
    return LimbeckError(
        f"the sampler draws {purpose!r}, which is not normal noise, so it cannot be an input of an exported program. "
        "Sample with 'multistep' (sampling.use=multistep), or export weights: --to safetensors"
    )


class _Sampling(nn.Module):
    """noise (B, *event), [labels], *renoise (B, *event) -> samples; all noise standard normal."""

    def __init__(self, network: Predictor, sampler: Sampler, steps: int, *, cond: Tensor | None):
        super().__init__()
        self.network, self.sampler, self.steps, self.conditional = network, sampler, steps, cond is not None
        process: Any = network.process
        self.prior_std = process.prior_std
        # times are worked out now: inside a trace they would be symbols
        plan = getattr(sampler, "plan", None)
        self.plan = plan(network.process, steps) if plan is not None else None
        recorded = _Recorded()
        with torch.no_grad():
            self.walk(torch.zeros(2, *network.space.event), cond[:2] if cond is not None else None, recorded)
        self.purposes = tuple(recorded.purposes)

    def walk(self, noise: Tensor, cond: Tensor | None, rng: Rng) -> Tensor:
        x = self.prior_std * noise
        if self.plan is not None:
            return rollout(self.network, cond, plan=self.plan, rng=rng, grad="none", noise=x).value
        return self.sampler(self.network, cond, steps=self.steps, rng=rng, noise=x).value

    def forward(self, noise: Tensor, *rest: Tensor) -> Tensor:
        cond, renoise = (rest[0], rest[1:]) if self.conditional else (None, rest)
        return self.walk(noise, cond, _Replayed(dict(zip(self.purposes, renoise, strict=True))))

    def draw(self, network: Predictor, cond: Tensor | None, rows: int, seed: int) -> tuple[Tensor, ...]:
        """Inputs of `rows` rows."""
        rng, shape = Rng(seed, phase="export"), (rows, *network.space.event)
        labels = () if cond is None else (cond[torch.arange(rows) % len(cond)].cpu(),)
        return (rng.normal("noise", shape), *labels, *(rng.normal(purpose, shape) for purpose in self.purposes))

    def inputs(self, network: Predictor, cond: Tensor | None) -> list[dict[str, Any]]:
        """What the program takes, in order, for config.json."""
        event = list(network.space.event)
        found = [{"name": "noise", "shape": ["B", *event], "dtype": "float32", "is": "standard normal"}]
        if cond is not None:
            kind = str(cond.dtype).removeprefix("torch.")
            found.append({"name": "labels", "shape": ["B", *cond.shape[1:]], "dtype": kind, "is": "conditions"})
        for purpose in self.purposes:
            name = purpose.replace("/", "_")
            found.append({"name": name, "shape": ["B", *event], "dtype": "float32", "is": "standard normal"})
        return found


def _program(sampling: _Sampling, network: Predictor, cond: Tensor | None) -> torch.export.ExportedProgram:
    example = sampling.draw(network, cond, rows=3, seed=0)
    batch = torch.export.Dim("B", min=1)
    shapes: list[Any] = [{0: batch}, tuple({0: batch} for _ in example[1:])]
    try:
        with torch.no_grad():
            program = torch.export.export(sampling, example, dynamic_shapes=tuple(shapes[: len(example)]), strict=False)
    except LimbeckError:
        raise
    except Exception as error:
        raise LimbeckError(
            f"torch.export could not trace the student sampled by {type(sampling.sampler).__name__}: {error}\n"
            "Sample with 'multistep' (sampling.use=multistep), or export weights: --to safetensors"
        ) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # lines and folders of the machine that exported it
    return program


def _check(path: Path, sampling: _Sampling, network: Predictor, cond: Tensor | None) -> None:
    """The saved program must say what the student says, at a batch size that it was not traced with."""
    given = sampling.draw(network, cond, rows=5, seed=1)
    with torch.no_grad():
        expected = sampling(*given)
        got = torch.export.load(path).module()(*given)
    worst = float((expected - got).abs().max())
    if not worst <= TOLERANCE * max(1.0, float(expected.abs().max())):
        path.unlink()
        raise LimbeckError(
            f"the exported program differs from the student by {worst:.2g}, so it was deleted. A network whose forward "
            "branches on values or keeps state cannot be exported as a program; export weights: --to safetensors"
        )


# --- weights, config, card -------------------------------------------------------------------------------------------


def _save_weights(network: nn.Module, path: Path, config: Mapping[str, Any]) -> None:
    from safetensors.torch import save

    # clones: tied tensors share memory, and every name must be there for a plain load_state_dict
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in network.state_dict().items()}
    path.write_bytes(save(tensors, metadata={"format": "pt", "limbeck": json.dumps(config, sort_keys=True)}))


def _config(run: Any, network: Any, sampler: Sampler | None, steps: int) -> dict[str, Any]:
    from limbeck import __version__

    recipe = run.recipe
    content = recipe.to_dict() if hasattr(recipe, "to_dict") else dict(recipe)
    process = getattr(network, "process", None)
    lives_on = {"type": type(process).__name__, **getattr(process, "__dict__", {})} if process is not None else None
    return {
        "name": content.get("name") or Path(run.path).name,
        "limbeck": __version__,
        "space": {"event": list(network.space.event), "domain": network.space.domain},
        "process": lives_on,
        "sampling": _sampling(sampler, steps) if sampler is not None else None,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "metrics": _metrics(run),
        "recipe": content,
    }


def _sampling(sampler: Sampler, steps: int) -> dict[str, Any]:
    return {"use": type(sampler).__name__.lower(), "steps": steps, "evaluations": sampler.evaluations(steps)}


def _metrics(run: Any) -> dict[str, Any]:
    """Metrics of student and teacher from the final table of the run, if there is one."""
    try:
        found = json.loads((Path(run.path) / "evaluation.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    rows = found.get("rows", []) if isinstance(found, dict) else []
    return {row["role"]: row["metrics"] for row in rows if row.get("role") in ("student", "teacher", "floor")}


def _card(run: Any, config: Mapping[str, Any]) -> str:
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
    recipe = run.recipe
    content = recipe.to_dict() if hasattr(recipe, "to_dict") else dict(recipe)
    teacher, data = (content.get("teacher") or {}).get("use"), (content.get("data") or {}).get("use")
    return [
        *_metric_table(_metrics(run)),
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
    """What teacher and data say about licences (provenance of the weights, manifest), and what holds in any case."""
    partners = (("teacher", teacher, run.built.teacher), ("data", data, run.built.data))
    found = []
    for kind, name, made in partners:
        if made is None or not name:
            continue
        inner = made.teacher if isinstance(made, Guided) else made
        told = {**_details(kind, name), **(getattr(inner, "provenance", None) or {})}
        licence = told.get("licence") or told.get("license")
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
