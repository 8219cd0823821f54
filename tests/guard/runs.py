"""Whole runs of the recipes that come with the plugins, cut to a few steps and samples."""

import hashlib
import math
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from values import by_name, digest

import limbeck
from limbeck import registry

# What makes any of them small. `evaluate.compare` would measure how long things take.
SMALL = (
    "train.steps=3", "train.batch_size=4", "train.log_every=1", "train.threads=1", "evaluate.samples=8",
    "evaluate.batch_size=4", "evaluate.grid=2", "evaluate.compare=false", "evaluate.every=null", "evaluate.metrics=[]",
    "report.write=false", "export=[]",
)  # fmt: skip
SOUND = ("data.voices=[en-us, en-us+f2]", "data.held_out_voices=[en-us+m3]", "data.pitches=[50]", "data.speeds=[130]")
CLIP = ("data.clips=40", "train.batch_size=2")
TEXT = ("data.length=32",)
PAIRS = ("source.count=8", "source.chunk=4", "source.steps=3")
MEASURED = ("evaluate.every=2",)

# name: (recipe, overrides)
RUNS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    name: (name.partition(":")[0], overrides)
    for name, overrides in {
        # image
        "digits_dmd2": (
            *MEASURED,
            "evaluate.compare=true",
            "evaluate.metrics=[frechet, class_accuracy]",
            "evaluate.samples=32",
        ),
        "digits_dmd2_gan": (),
        "digits_dmd2_4step": (),
        "digits_consistency": (),
        "digits_ode_pairs": PAIRS,
        "digits_teacher": (),
        "digits_dmd2: accumulated, several averages": ("train.accumulate=2", "train.ema=[0.9, 0.5]", "train.steps=4"),
        "digits_dmd2: bf16, ramps": (
            "train.precision=bf16",
            "teacher.guidance={start: 3.0, end: 1.0, steps: 2}",
            "objective.times.range=[0.02, {start: 0.98, end: 0.5, steps: 2}]",
            "train.warmup=2",
        ),
        # video
        "moving_digits_self_forcing": CLIP,
        "moving_digits_dmd2": CLIP,
        "moving_digits_consistency": CLIP,
        "moving_digits_causal": CLIP,
        "moving_digits_teacher": CLIP,
        "moving_digits_self_forcing: measured": (
            *CLIP,
            *MEASURED,
            "train.steps=2",
            "evaluate.metrics=[frame_frechet, trajectory_error, flicker]",
            "evaluate.samples=16",
            "evaluate.batch_size=8",
        ),
        # audio
        "spoken_digits_dmd2": (*SOUND, *MEASURED, "evaluate.metrics=[frechet_audio, digit_accuracy]"),
        "spoken_digits_consistency": (*SOUND, *MEASURED, "evaluate.metrics=[log_spectral_distance]"),
        "spoken_digits_comospeech": SOUND,
        "spoken_digits_teacher": SOUND,
        # 3d
        "text_to_3d": (
            *MEASURED,
            "evaluate.metrics=[3d/silhouette_iou, 3d/chamfer, 3d/view_accuracy]",
            "export=[3d/glb, 3d/obj, 3d/ply]",
        ),
        "text_to_3d: vsd": (
            "objective={use: vsd, times: {range: [0.5, 0.95]}, critic: {times: {range: [0.2, 0.95]}}}",
        ),
        "text_to_3d: csd": ("objective={use: csd}", "generator.tv_density=0.1"),
        "text_to_3d: ism, splats": (
            "objective={use: ism, times: {range: [0.3, 0.4]}, inversion: {interval: 0.3}}",
            "generator={use: 3d/splats, init: random, count: 32}",
            "teacher.guidance=2.0",
            "prompt=a red torus on a blue box",
        ),
        "oracle_to_3d": (),
        "solids_teacher": ("data.views=2",),
        # text
        "pydocs_fkl": (*TEXT, *MEASURED, "evaluate.metrics=[kl_to_teacher, nll]", "sampling.steps=8"),
        "pydocs_kd": (*TEXT, "sampling.steps=8"),
        "pydocs_rkl": (*TEXT, "sampling.steps=8"),
        "pydocs_jsd": (*TEXT, "sampling.steps=8"),
        "pydocs_gkd": (*TEXT, "sampling.steps=8"),
        "pydocs_seq_kd": (*TEXT, "sampling.steps=8", "source.count=8", "source.chunk=4", "source.prompt=8"),
        "pydocs_lm_teacher": (*TEXT, "sampling.steps=8"),
        "pydocs_lm_judge": (*TEXT, "sampling.steps=8"),
        "pydocs_lm_student_ce": (*TEXT, "sampling.steps=8"),
        "pydocs_sdtt": (
            *TEXT,
            *MEASURED,
            "evaluate.compare=true",
            "evaluate.metrics=[token_entropy, {use: nll_bound, windows: 4, draws: 1}]",
        ),
        "pydocs_masked_teacher": TEXT,
    }.items()
}

# Recipes that are not run, and why.
LEFT_OUT = {
    "sdxl_dmd2": "needs a pipeline of diffusers from somewhere",
    "sd15_lcm_lora": "needs a pipeline of diffusers from somewhere",
    "flux_lora_consistency": "needs a pipeline of diffusers from somewhere",
    "wan_lora_dmd2": "needs a pipeline of diffusers from somewhere",
    "pydocs_tour": "pydocs_fkl, shorter",
    "moving_digits_tour": "moving_digits_self_forcing, shorter",
    "spoken_digits_tour": "spoken_digits_dmd2, shorter",
    "digits_compare": "what `limbeck compare` varies",
    "moving_digits_compare": "what `limbeck compare` varies",
    "spoken_digits_compare": "what `limbeck compare` varies",
    "solids_compare": "what `limbeck compare` varies",
    "pydocs_compare": "what `limbeck compare` varies",
    "pydocs_lm_compare": "what `limbeck compare` varies",
}


def recipes() -> set[str]:
    """The names of all recipes of our distributions."""
    return {e.component.name for e in registry.components("recipe") if e.distribution.startswith("limbeck")}


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from numbers(item)
    elif isinstance(value, int | float) and math.isfinite(value):
        yield float(value)


def of_file(path: Path, values: list[float] | None = None) -> dict[str, Any]:
    """The digest of a file's bytes; the norm is that of the numbers in it, or its length."""
    whole = hashlib.sha256(path.read_bytes()).hexdigest()
    norm = math.sqrt(sum(v * v for v in values)) if values is not None else float(path.stat().st_size)
    return {"sha256": whole, "unordered": whole[:16], "norm": norm.hex()}


def value(name: str) -> dict[str, Any]:
    recipe, overrides = RUNS[name]
    with tempfile.TemporaryDirectory() as folder:
        loop = limbeck.pretrain if recipe.endswith(("_teacher", "_judge", "_ce")) else limbeck.distill
        run = loop(recipe, overrides=[*SMALL, *overrides], out=Path(folder) / "run", progress=False)
        lines = [number for line in run.metrics for number in numbers(line)]
        found = {"metrics.jsonl": of_file(run.path / "metrics.jsonl", lines)}
        for ema in (True, False):
            weights = run.generator(ema=ema)
            found["weights" if not ema else "averaged weights"] = by_name(dict(weights.named_parameters()))
        sample = run.sample(4)
        found["sample"] = digest([torch.as_tensor(sample.value)])
        for row in run.evaluation["rows"]:  # apart from how long it took
            measured = {key: float(number).hex() for key, number in row["metrics"].items()}
            found[f"table/{row['name']}"] = {"evaluations": str(row["evaluations"]), **measured}
        for path in sorted((run.path / "exports").rglob("*.*")):
            if path.is_file():
                found[f"exports/{path.name}"] = of_file(path)
    return found
