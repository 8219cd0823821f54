"""What needs a CUDA device: `pytest -m gpu`. Skipped, with that reason, where there is none."""

import json

import pytest
import torch

pytestmark = pytest.mark.gpu

QUICK = [
    "train.batch_size=32", "evaluate.every=null", "evaluate.metrics=[]", "evaluate.compare=false", "evaluate.grid=0",
    "report.write=false", "objective.critic.updates=2",
]  # fmt: skip


def losses(folder):
    return [line["loss"] for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())]


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
@pytest.mark.parametrize("recipe", ["digits_dmd2", "digits_dmd2_gan", "digits_dmd2_4step", "digits_consistency"])
def test_every_digits_recipe_trains_in_every_precision(tmp_path, recipe, precision):
    import limbeck

    overrides = [o for o in QUICK if not (recipe == "digits_consistency" and o.startswith("objective"))]
    run = limbeck.distill(
        recipe, overrides=[*overrides, f"train.precision={precision}", "train.steps=12"], out=tmp_path / "run"
    )
    found = losses(run.path)
    assert run.status == "finished" and found and all(torch.isfinite(torch.tensor(found)))
    assert run.info["hardware"]


def test_the_loss_on_a_gpu_is_the_loss_on_a_cpu():
    import limbeck
    from limbeck.testing import FixedDraws

    phase = limbeck.Phase("generator", ("generator",))
    g = torch.Generator().manual_seed(0)
    noise, eps = (torch.randn(16, 1, 8, 8, generator=g) for _ in range(2))
    u, cond = torch.rand(16, generator=g), torch.arange(16) % 10
    values = []
    for device in ("cpu", "cuda"):
        teacher = limbeck.create("teacher", "image/digits").freeze().to(device)
        student = teacher.trainable_copy("full")
        with torch.no_grad():  # away from the teacher, so that the field is not zero
            for i, p in enumerate(student.parameters()):
                shift = torch.randn(p.shape, generator=torch.Generator().manual_seed(i))
                p += 0.02 * shift.to(device)
        objective = limbeck.create("objective", "dmd2")
        objective.setup(student, teacher)
        rng = FixedDraws({"noise": noise.to(device), "eps": eps.to(device), "t": u.to(device)})
        batch = limbeck.Batch(noise=noise.to(device), cond=cond.to(device))
        values.append(objective.loss(phase, batch, rng).value.item())
    assert values[0] > 1e-4
    assert values[1] == pytest.approx(values[0], rel=1e-3)


def test_a_run_stopped_on_a_gpu_goes_on_from_its_checkpoint(tmp_path):
    import limbeck

    straight = limbeck.distill("digits_dmd2", overrides=[*QUICK, "train.steps=8"], out=tmp_path / "straight")
    half = [*QUICK, "train.schedule=constant"]
    limbeck.distill("digits_dmd2", overrides=[*half, "train.steps=4"], out=tmp_path / "halves")
    resumed = limbeck.distill("digits_dmd2", overrides=[*half, "train.steps=8"], out=tmp_path / "halves", resume=True)
    assert resumed.status == straight.status == "finished"
    assert resumed.checkpoint().step == 8
