"""A run that is killed twenty times ends as one that was left alone."""

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import engine_problem as problem
import pytest

CHANGES = {
    "train": {"steps": 90, "checkpoint": {"every": 3, "keep": 2}, "log_every": 2},
    "evaluate": {"every": 7},
}
# two before the first checkpoint; seven while a checkpoint is written: five within a file, two before a rename
KILLS = [
    ("turn", 4), ("file", 1), ("file", 4), ("file", 9), ("file", 10), ("file", 24), ("rename", 1), ("rename", 5),
    ("turn", 20), *[("parent", 0)] * 11,
]  # fmt: skip


@pytest.fixture
def children(monkeypatch):
    """Processes that start fast because everything is imported already."""
    monkeypatch.setenv("PYTHONPATH", str(Path(problem.__file__).parent), prepend=os.pathsep)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "torch._dynamo", "accelerate", "limbeck.engine", "engine_problem"])
    return context


@pytest.mark.slow
def test_run_killed_twenty_times_ends_bitwise_equal_to_one_that_was_not(tmp_path, children):
    problem.train(tmp_path / "calm", **CHANGES)
    killed, instants = tmp_path / "killed", random.Random(0)
    for how, n in KILLS:
        ours, theirs = children.Pipe()
        child = children.Process(target=problem.train_and_die, args=(theirs, killed, how, n, CHANGES))
        child.start()
        if how == "parent":
            assert ours.poll(60) and ours.recv() == "running"
            time.sleep(instants.uniform(0, 0.12))
            os.kill(child.pid, signal.SIGKILL)
        child.join(60)
        assert child.exitcode == -signal.SIGKILL, (how, n, child.exitcode)
    problem.train(killed, resume=True, **CHANGES)
    calm, survived = problem.results(tmp_path / "calm"), problem.results(killed)
    expected = {"generator", "critic", "optimizer-generator", "optimizer-critic", "ema-0.9", "ema-0.99", "objective"}
    assert {f"{name}.safetensors" for name in expected} | {"metrics.jsonl", "last"} == set(calm) == set(survived)
    assert [name for name in calm if calm[name] != survived[name]] == []
