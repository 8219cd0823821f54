"""What comes with the plugins: data sets, bundled teachers, networks as their constructors make them, measures."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch import nn
from values import by_name, digest
from walks import fields

import limbeck

ROWS = 4


# --- data: (registry name, options), the first and some other rows of both splits -------------------------------------

DATA: Mapping[str, tuple[str, dict[str, Any]]] = {
    "image/digits": ("image/digits", {}),
    "audio/spoken_digits": (
        "audio/spoken_digits",
        {"voices": ("en-us",), "held_out_voices": ("en-us+m3",), "pitches": (50,), "speeds": (130,)},
    ),
    "video/moving_digits": ("video/moving_digits", {"clips": 20}),
    "3d/solids": ("3d/solids", {"views": 2, "size": 16}),
    "3d/prompt": ("3d/prompt", {"prompt": "a red torus on a blue box", "size": 16}),
    "text/pydocs": ("text/pydocs", {"length": 16}),
    "text/pydocs prompts": ("text/pydocs", {"length": 16, "prompt": 4, "stride": 8}),
}


@cache
def data_of(name: str) -> limbeck.Data:
    component, options = DATA[name]
    return limbeck.create("data", component, **options)


def data(name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for split in ("train", "held_out"):
        part = data_of(name).split(split)
        rows = torch.tensor([0, 1, 5, len(part) - 1]) % len(part)
        found[split] = {"rows": str(len(part)), **fields(part.batch(rows))}
    cond = data_of(name).conditions(ROWS, limbeck.rng(1))
    return found | {"conditions": fields(limbeck.Batch(cond=cond))}


def cameras(name: str) -> dict[str, Any]:
    """The source of random cameras around the prompt."""
    source = limbeck.create("source", "3d/cameras", data=data_of("3d/prompt"), teacher=None, generator=None)
    return fields(source.batch(ROWS, limbeck.rng(3, 1, "generator")))


# --- teachers and generators ------------------------------------------------------------------------------------------

TEACHERS: Mapping[str, tuple[str, str, dict[str, Any], str]] = {
    "image/digits": ("teacher", "image/digits", {}, "image/digits"),
    "audio/spoken_digits": ("teacher", "audio/spoken_digits", {}, "audio/spoken_digits"),
    "audio/spoken_digits on edm": ("teacher", "audio/spoken_digits", {"process": "edm"}, "audio/spoken_digits"),
    "video/moving_digits": ("teacher", "video/moving_digits", {}, "video/moving_digits"),
    "video/moving_digits_causal": ("teacher", "video/moving_digits_causal", {}, "video/moving_digits"),
    "video/moving_digits_causal start": ("generator", "video/moving_digits_causal", {}, "video/moving_digits"),
    "3d/views": ("teacher", "3d/views", {}, "3d/prompt"),
    "3d/oracle": ("teacher", "3d/oracle", {"size": 16}, "3d/prompt"),
    "text/pydocs_masked": ("teacher", "text/pydocs_masked", {}, "text/pydocs"),
    "text/pydocs_lm": ("teacher", "text/pydocs_lm", {}, "text/pydocs"),
    "text/pydocs_lm judge": ("teacher", "text/pydocs_lm_judge", {}, "text/pydocs"),
}

FRESH: Mapping[str, tuple[str, str, dict[str, Any], str]] = {
    "image/digits": ("generator", "image/digits", {"channels": (8, 16)}, "image/digits"),
    "image/digits two times": (
        "generator",
        "image/digits",
        {"channels": (8,), "two_times": True, "process": "edm", "prediction": "edm", "attention": ()},
        "image/digits",
    ),
    "audio/mel": ("generator", "audio/mel", {"channels": (8, 16), "patch": 8}, "audio/spoken_digits"),
    "audio/mel prior mean": (
        "generator",
        "audio/mel",
        {"channels": (8,), "patch": 8, "attention": (), "process": "edm", "prior_mean": True},
        "audio/spoken_digits",
    ),
    "video/moving_digits": (
        "generator",
        "video/moving_digits",
        {"width": 32, "depth": 1, "heads": 2, "patch": 10},
        "video/moving_digits",
    ),
    "video/moving_digits_causal": (
        "generator",
        "video/moving_digits_causal",
        {"width": 32, "depth": 1, "heads": 2, "patch": 10, "start": "fresh"},
        "video/moving_digits",
    ),
    "3d/views": ("generator", "3d/views", {"size": 16, "channels": (8, 8), "attention": (1,)}, "3d/prompt"),
    "3d/voxels": ("generator", "3d/voxels", {"grid": 8, "samples": 8, "size": 16, "color_std": 0.1}, "3d/prompt"),
    "3d/splats": ("generator", "3d/splats", {"count": 16, "size": 16}, "3d/prompt"),
    "3d/image": ("generator", "3d/image", {"size": 16}, "3d/prompt"),
    "text/pydocs_masked": ("generator", "text/pydocs_masked", {"hidden": 16, "layers": 1, "heads": 2}, "text/pydocs"),
    "text/pydocs_lm": ("generator", "text/pydocs_lm", {"hidden": 16, "layers": 1, "heads": 2}, "text/pydocs"),
}


def network(table: Mapping[str, tuple[str, str, dict[str, Any], str]]) -> Callable[[str], dict[str, Any]]:
    def value(name: str) -> dict[str, Any]:
        kind, component, options, where = table[name]
        limbeck.rng(0, phase=f"make {name}").seed_globally()
        made = limbeck.create(kind, component, **options).eval()
        with torch.no_grad():
            return {"weights": by_name(dict(made.named_parameters())), **_answers(made, data_of(where))}

    return value


def _answers(model: nn.Module, data: limbeck.Data) -> dict[str, Any]:
    """Predictions at several levels of noise, with and without condition where there is one."""
    real, rng, process = data.batch(torch.arange(ROWS)), limbeck.rng(2), getattr(model, "process", None)
    if process is None and real.x0 is not None and not real.x0.is_floating_point():
        return {"logits": digest([model(real.x0)])}
    if process is None:  # a scene
        seen = model(data.conditions(ROWS, rng))
        return {"image": digest([seen.image]), "alpha": digest([seen.alpha])}
    found: dict[str, Any] = {}
    for share in (0.02, 0.3, 0.7, 1.0):
        t = torch.full((ROWS,), share * process.t_max)
        if isinstance(process, limbeck.GaussianProcess):
            eps = rng.normal(f"eps {share}", (ROWS, *model.space.event))
            x0 = real.x0 if real.x0.shape == eps.shape else rng.normal("x0", eps.shape).clamp(-1, 1)
            xt = process.add_noise(x0, eps, t)
            found[f"{share}"] = digest([model(xt, t, real.cond).x0_hat])
            found[f"{share} null"] = digest([model(xt, t, model.null(real.cond)).x0_hat])
        else:
            xt = process.add_noise(real.x0, process.noise(tuple(real.x0.shape), rng, f"eps {share}"), t)
            found[f"{share}"] = digest([model(xt, t, None).logits])
    return found


# --- measures: (registry name, options, data) on fixed samples: noised real ones --------------------------------------

METRICS: Mapping[str, tuple[str, dict[str, Any], str]] = {
    "image/frechet": ("image/frechet", {}, "image/digits"),
    "image/precision_recall": ("image/precision_recall", {}, "image/digits"),
    "image/class_accuracy": ("image/class_accuracy", {}, "image/digits"),
    "image/nearest_neighbour": ("image/nearest_neighbour", {}, "image/digits"),
    "text/token_entropy": ("text/token_entropy", {}, "text/pydocs"),
    "text/distinct_n": ("text/distinct_n", {}, "text/pydocs"),
    "text/generative_nll": ("text/generative_nll", {}, "text/pydocs"),
    "audio/digit_accuracy": ("audio/digit_accuracy", {}, "audio/spoken_digits"),
    "audio/frechet_audio": ("audio/frechet_audio", {}, "audio/spoken_digits"),
    "video/flicker": ("video/flicker", {}, "video/moving_digits"),
    "video/frame_frechet": ("video/frame_frechet", {}, "video/moving_digits"),
    "video/label_accuracy": ("video/label_accuracy", {}, "video/moving_digits"),
    "video/motion_frechet": ("video/motion_frechet", {}, "video/moving_digits"),
    "video/trajectory_error": ("video/trajectory_error", {}, "video/moving_digits"),
}


def metric(name: str) -> dict[str, str]:
    component, options, where = METRICS[name]
    reference = data_of(where)
    real = reference.batch(torch.arange(96) % len(reference))
    samples = real.x0
    if samples.is_floating_point():
        samples = samples + 0.3 * limbeck.rng(4).normal("metrics", samples.shape)
    with torch.no_grad():
        found = limbeck.create("metric", component, **options)(samples, real.cond, reference)
    return {key: float(value).hex() for key, value in found.items()}
