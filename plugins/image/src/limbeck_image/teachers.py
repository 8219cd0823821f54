"""Denoisers of digits: fresh ones to train (`digits` the generator) and the bundled one (`digits` the teacher)."""

import json
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from limbeck.denoiser import Denoiser
from limbeck.errors import CheckpointError
from limbeck.processes import EDM, VP, GaussianProcess, RectifiedFlow, TrigFlow, VPCosine
from limbeck_image import weights
from limbeck_image.digits import CLASSES, LICENCE, SPACE
from limbeck_image.networks import UNet
from limbeck_image.options import DigitsGeneratorOptions, DigitsTeacherOptions, TeacherFileOptions

SIGMA_DATA = 0.75  # standard deviation of the scans in [-1, 1]
BUNDLED = "digits_teacher.safetensors"


def process_named(name: str, shift: float = 1.0) -> GaussianProcess:
    match name:
        case "rectified_flow":
            return RectifiedFlow(shift=shift)
        case "trigflow":
            return TrigFlow(sigma_data=SIGMA_DATA)
        case "edm":
            return EDM()
        case "vp":
            return VP()
        case "vp_cosine":
            return VPCosine()
    raise ValueError(f"unknown process {name!r}; allowed: rectified_flow, trigflow, edm, vp, vp_cosine")


def digits_generator(**options: Any) -> Denoiser:
    """A fresh class-conditional denoiser of digits. Label 10 means "no label"."""
    chosen = DigitsGeneratorOptions(**options)
    network = UNet(
        SPACE,
        channels=chosen.channels,
        blocks=chosen.blocks,
        patch=chosen.patch,
        attention=chosen.attention,
        embedding=chosen.embedding,
        dropout=chosen.dropout,
        classes=CLASSES,
        two_times=chosen.two_times,
    )
    return Denoiser(
        network,
        process_named(chosen.process, chosen.shift),
        SPACE,
        prediction=chosen.prediction,
        sigma_data=SIGMA_DATA,
        null=CLASSES,
        two_times=chosen.two_times,
    )


def digits_teacher(**options: Any) -> Denoiser:
    """The bundled teacher, frozen; or one of your own, from a file that the exporter `digits_teacher` wrote.

    `teacher.provenance` says which recipe, data, licence, seed and metrics are behind it.
    """
    chosen = DigitsTeacherOptions(**options)
    path = chosen.weights or str(resources.files("limbeck_image") / "assets" / BUNDLED)
    state, header = weights.read(path)
    if "config" not in header:
        raise CheckpointError(
            f"{path} does not say how its network is built (no 'config' in its header). "
            "Write teachers with: limbeck export RUN --to digits_teacher DIR"
        )
    # dropout served its purpose in pretraining: copies made for training (critic, student) do without
    teacher = digits_generator(**{**header["config"], "dropout": 0.0})
    teacher.load_state_dict(state)
    teacher.provenance = header.get("provenance", {})
    return teacher.freeze()


def export_teacher(run: Any, directory: Path, **options: Any) -> list[Path]:
    """Write the (averaged) network of a pretraining run on digits as a teacher file: one safetensors file with
    configuration, provenance and hash in its header, which `teacher: {use: image/digits, weights: FILE}` reads."""
    chosen = TeacherFileOptions(**options)
    recipe = run.recipe
    config = DigitsGeneratorOptions(**recipe.generator.options).model_dump(mode="json")
    network = run.generator()
    evaluation = Path(run.path) / "evaluation.json"
    rows = json.loads(evaluation.read_text())["rows"] if evaluation.is_file() else []
    state = {
        name: tensor.to(getattr(torch, chosen.dtype)) if tensor.is_floating_point() else tensor
        for name, tensor in network.state_dict().items()
    }
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{recipe.name}.safetensors"
    weights.write(
        path,
        state,
        config=config,
        provenance={
            "made_by": f"limbeck pretrain {recipe.name}",
            "recipe": recipe.name,
            "steps": recipe.train.steps,
            "seed": recipe.train.seed,
            "data": LICENCE,
            "licence": "Apache-2.0",
            "evaluation": [{key: row[key] for key in ("name", "evaluations", "metrics") if key in row} for row in rows],
            "versions": {"limbeck-image": version("limbeck-image"), "torch": torch.__version__},
        },
    )
    return [path]
