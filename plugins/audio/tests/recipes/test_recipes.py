"""Recipes of sound: they build, an interrupted run resumes bit by bit, and a short student reaches real figures."""

import os
import signal

import pytest
import torch

import limbeck
from limbeck.errors import Interrupted
from limbeck.process.gaussian import EDM, RectifiedFlow
from limbeck.recipe import load
from limbeck.runs.build import build
from limbeck_audio.manifest import recipes

FEW = {
    "voices": ["en-us", "en-us+f2"], "held_out_voices": ["en-us+m3"], "pitches": [50], "speeds": [130, 160],
}  # fmt: skip


@pytest.mark.parametrize("name", [row.name for row in recipes.COMPONENTS])
def test_every_recipe_builds(name):
    built = build(load(name, data={"use": "audio/spoken_digits", **FEW}))
    assert built.space.event == (1, 64, 64) and built.space.domain == "mel"
    assert isinstance(built.generator.process, EDM if name.endswith("comospeech") else RectifiedFlow)
    assert {"frechet_audio", "digit_accuracy"} <= set(built.metrics)


@pytest.mark.parametrize("name", ["dmd2", "comospeech"])
def test_a_student_starts_as_the_teacher(name):
    built = build(load(f"spoken_digits_{name}", data={"use": "audio/spoken_digits", **FEW}))
    teacher = limbeck.create("teacher", "audio/spoken_digits").state_dict()
    assert all(torch.equal(tensor, teacher[key]) for key, tensor in built.generator.state_dict().items())


class Press:
    """Ctrl-C in a step."""

    def __init__(self, step):
        self.at = step

    def step_ended(self, step):
        if step == self.at:
            os.kill(os.getpid(), signal.SIGINT)


def weights(folder):
    return (max((folder / "checkpoints").glob("step-*")) / "generator.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["dmd2", "comospeech"])
def test_an_interrupted_run_resumes_bitwise(tmp_path, name):
    small = {
        "data": {"use": "audio/spoken_digits", **FEW},
        "train": {"steps": 4, "batch_size": 2, "warmup": 0, "checkpoint": {"every": 100}},
        "evaluate": {"metrics": [], "samples": 2, "compare": False, "grid": 0},
        "report": {"write": False},
    }
    recipe = f"spoken_digits_{name}"
    with pytest.raises(Interrupted, match="stopped at step 2 and saved"):
        limbeck.distill(recipe, out=tmp_path / "cut", progress=False, callbacks=[Press(2)], **small)
    halfway = weights(tmp_path / "cut")
    limbeck.distill(recipe, out=tmp_path / "cut", progress=False, resume=True, **small)
    limbeck.distill(recipe, out=tmp_path / "calm", progress=False, **small)
    assert weights(tmp_path / "cut") == weights(tmp_path / "calm") != halfway


@pytest.mark.slow
def test_eighty_steps_of_dmd2_close_most_of_the_gap_to_the_teacher(tmp_path):
    # 100 steps of a longer schedule closed 78 %, 800 closed 93.5 %
    run = limbeck.distill(
        "spoken_digits_dmd2",
        out=tmp_path / "run",
        progress=False,
        train={"steps": 80, "ema": 0.95},
        evaluate={"samples": 250, "grid": 0, "teacher": {"use": "dpmpp_2m", "steps": 8, "spacing": "log_snr"}},
        report={"write": False},
    )
    rows = {row["role"]: row["metrics"] for row in run.evaluation["rows"]}
    cut, student, teacher = (rows[role]["frechet_audio"] for role in ("teacher_cut", "student", "teacher"))
    assert (cut - student) / (cut - teacher) > 0.6
    assert rows["student"]["digit_accuracy"] > 0.95 and rows["teacher"]["digit_accuracy"] > 0.95
