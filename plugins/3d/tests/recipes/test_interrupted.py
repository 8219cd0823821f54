"""A scene that was interrupted is still there: it exports, samples, reports and goes on from its last good state."""

import os
import signal

import pytest
import torch

import limbeck
from limbeck.errors import Interrupted
from limbeck.recipe import load
from limbeck.runs.run import Run

SMALL = {
    "train": {"steps": 12, "checkpoint": {"every": 100}},
    "overrides": ["generator.grid=12", "generator.samples=12", "evaluate.samples=4", "evaluate.grid=4", "export=[]",
                  "evaluate.metrics=[]"],
}  # fmt: skip


class Press:
    """Ctrl-C in a step."""

    def __init__(self, step):
        self.at = step

    def step_ended(self, step):
        if step == self.at:
            os.kill(os.getpid(), signal.SIGINT)


def weights(folder):
    return (max((folder / "checkpoints").glob("step-*")) / "generator.safetensors").read_bytes()


def test_an_interrupted_scene_exports_its_last_good_state_and_resumes_bitwise(tmp_path):
    folder = tmp_path / "scene"
    with pytest.raises(Interrupted, match="stopped at step 7 and saved"):
        limbeck.distill("oracle_to_3d", out=folder, progress=False, callbacks=[Press(7)], **SMALL)
    run = Run(folder, recipe=load("oracle_to_3d", SMALL["overrides"], train=SMALL["train"]))
    assert run.status == "interrupted" and run.checkpoint().step == 7
    (glb, *_) = run.export("glb", tmp_path / "out")
    import trimesh

    mesh = trimesh.load(glb, force="mesh")
    assert len(mesh.faces) > 10 and bool(torch.isfinite(torch.as_tensor(mesh.vertices)).all())
    samples = run.sample(8)
    assert samples.value.shape == (8, 3, 32, 32) and samples.save(tmp_path / "orbit.gif").stat().st_size > 500
    page = run.report().read_text()
    assert "was interrupted at step 7 of 12" in page
    limbeck.distill("oracle_to_3d", out=folder, progress=False, resume=True, **SMALL)
    limbeck.distill("oracle_to_3d", out=tmp_path / "calm", progress=False, **SMALL)
    assert weights(folder) == weights(tmp_path / "calm")
