"""Two processes that share a batch train what one process does."""

import json
import sys
from pathlib import Path

import torch

from limbeck.engine import tensor_file

sys.path.append(str(Path(__file__).parent))
import engine_problem as problem

# dropout draws by part, so without it; nothing else depends on how a batch is divided
STILL = {
    "generator": {"use": "tiny_net", "init": "random", "dropout": 0.0},
    "objective": {"use": "tiny_duel", "dropout": 0.0},
}


def weights(folder, name="generator"):
    return tensor_file.read(max((folder / "checkpoints").glob("step-*")) / f"{name}.safetensors")


def test_two_processes_with_accumulation_give_the_weights_of_one(tmp_path):
    problem.train(tmp_path / "one", **STILL)
    recipe = problem.recipe(**STILL, train={"accumulate": 2})
    problem.train_in_processes(recipe, tmp_path / "two")
    for name in ("generator", "critic", "ema-0.9", "optimizer-critic"):
        one, two = weights(tmp_path / "one", name), weights(tmp_path / "two", name)
        assert set(one) == set(two) and max(float(v.abs().max()) for v in one.values()) > 0.1
        one, two = ({k: v for k, v in w.items() if k != "calls"} for w in (one, two))
        for key in one:
            torch.testing.assert_close(two[key], one[key], rtol=0, atol=1e-5)
    assert_equal_lines(tmp_path)


def test_losses_that_count_items_and_a_frozen_base_give_in_two_processes_what_they_give_in_one(tmp_path):
    changes = {
        "generator": {"use": "tiny_adapted", "init": "random", "width": 8, "dropout": 0.0},
        "objective": {"use": "tiny_counted"},
    }
    train = {"phases": {}, "steps": 6, "ema": None}
    problem.train(tmp_path / "one", **changes, train=train)
    recipe = problem.recipe(**changes, train={**train, "accumulate": 2})
    recipe["train"]["phases"] = {}
    problem.train_in_processes(recipe, tmp_path / "two")
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert max(float(v.abs().max()) for v in one.values()) > 0.1
    for key in set(one) - {"calls"}:
        torch.testing.assert_close(two[key], one[key], rtol=0, atol=1e-5)
    assert_equal_lines(tmp_path, fewest=6)


def assert_equal_lines(tmp_path, fewest=70):
    """Both runs logged the same numbers."""
    texts = [(tmp_path / run / "metrics.jsonl").read_text() for run in ("one", "two")]
    lines = [[json.loads(line) for line in text.splitlines()] for text in texts]
    assert len(lines[0]) == len(lines[1]) > fewest
    for one, two in zip(*lines, strict=True):
        assert one.keys() == two.keys()
        if "loss" in one:
            assert abs(one["loss"] - two["loss"]) < 1e-5 and abs(one["grad_norm"] - two["grad_norm"]) < 1e-4
