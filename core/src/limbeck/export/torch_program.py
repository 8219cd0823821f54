"""The exporter `torch`: a student as a `torch.export` program that samples without Limbeck, its weights and a card."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.errors import LimbeckError
from limbeck.export.card import card
from limbeck.export.folder import CARD, CONFIG, PROGRAM, WEIGHTS, prepare
from limbeck.export.safetensors import save_weights
from limbeck.export.student import config_of, student_of
from limbeck.files import write_json, write_whole
from limbeck.interfaces import Predictor, Sampler
from limbeck.process.gaussian import GaussianProcess
from limbeck.randomness import Rng
from limbeck.sampling.rollouts import rollout

TOLERANCE = 1e-5  # largest difference between the program and the student, on samples of about unit size


def export_torch(run: Any, directory: Path | str, *, overwrite: bool = False) -> list[Path]:
    """The student with its few sampling steps as one `torch.export` program, its weights, a config and a model card.

    `torch.export.load("student.pt2").module()(noise, labels, *renoise)` returns samples (B, *event) for any B, with
    plain torch. Every draw is an input, standard normal, so that nothing random is left inside.
    """
    directory = prepare(directory, overwrite)
    network, sampler, steps = _walked(run)
    cond = _example_conditions(run)
    sampling = _Sampling(network, sampler, steps, cond=cond)
    program = _program(sampling, network, cond)

    torch.export.save(program, directory / PROGRAM)
    _check(directory / PROGRAM, sampling, network, cond)
    config = config_of(run, network, sampler, steps) | {
        "inputs": sampling.inputs(network, cond),
        "torch": torch.__version__,
    }
    save_weights(network, directory / WEIGHTS, config)
    write_json(directory / CONFIG, config)
    write_whole(directory / CARD, card(run, config))
    return [directory / name for name in (PROGRAM, WEIGHTS, CONFIG, CARD)]


# --- what is exported ------------------------------------------------------------------------------------------------


def _walked(run: Any) -> tuple[Predictor, Sampler, int]:
    """The student, refused when no sampler walks it from continuous noise to samples."""
    network, sampler, steps = student_of(run)
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

    try:
        modality = registry.find("generator", run.recipe.generator.use).component.modality
    except LimbeckError:
        modality = "any"
    own = [e.component.name for e in registry.components("exporter") if e.component.modality == modality != "any"]
    others = f"Exporters for {modality}: {', '.join(own)}. " if own else ""
    return f"{others}The weights alone: --to safetensors"


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
    """The saved program must return what the student returns, at a batch size that it was not traced with."""
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
