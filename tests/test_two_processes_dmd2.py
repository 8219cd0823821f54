"""dmd2 with a discriminator on digits: two processes end with the weights of one at the same global batch."""

import importlib.util
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
spec = importlib.util.spec_from_file_location("engine_problem", ROOT / "core/tests/engine_problem.py")
engine_problem = importlib.util.module_from_spec(spec)
spec.loader.exec_module(engine_problem)

STEPS = 3
QUICK = [
    "train.batch_size=32", f"train.steps={STEPS}", "train.threads=1", "objective.critic_updates=2",
    "evaluate.every=null", "evaluate.metrics=[]", "evaluate.compare=false", "evaluate.grid=0", "report.write=false",
    "train.schedule=constant",
    "objective.gan_weight=0.1", "objective.critic_gan_weight=0.1",
]  # fmt: skip


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from limbeck.engine import tensor_file

    last = folder / "checkpoints" / f"step-{STEPS:06d}"
    files = {role: tensor_file.read(last / f"{role}.safetensors") for role in ("generator", "critic")}
    return {f"{role}.{name}": value for role, tensors in files.items() for name, value in tensors.items()}


@pytest.mark.parametrize(
    "optimizer",
    [
        # plain gradient descent: differences stay what summation order makes of them
        ["train.optimizer=sgd", "train.lr=0.05", "train.phases.critic.lr=0.05", "train.betas=[0.9, 0.99]"],
        # AdamW divides by the gradient's size: rounding grows to the learning rate where a gradient is almost zero
        ["train.optimizer=adamw", "train.lr=1e-4", "train.phases.critic.lr=1e-4"],
    ],
    ids=["sgd", "adamw"],
)
def test_two_processes_equal_one(tmp_path, optimizer):
    overrides = [*QUICK, *optimizer]
    for processes in (1, 2):
        engine_problem.train_in_processes(
            "digits_dmd2_gan", tmp_path / f"of-{processes}", processes=processes, overrides=overrides
        )
    one, two = weights(tmp_path / "of-1"), weights(tmp_path / "of-2")
    assert one.keys() == two.keys() and any(".head." in k for k in one)

    from limbeck.build import build
    from limbeck.recipes import load

    start = build(load("digits_dmd2_gan", overrides)).objective.roles()
    moved = {
        role: max((one[f"{role}.{k}"] - v).abs().max().item() for k, v in module.state_dict().items())
        for role, module in start.items()
    }
    assert min(moved.values()) > 1e-4  # they did learn, so that equality says something
    apart = max((one[k] - two[k]).abs().max().item() for k in one)
    assert apart < 1e-5, (apart, moved)
