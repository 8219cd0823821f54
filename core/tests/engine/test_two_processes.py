"""Two processes that share a batch train what one process does, in DDP and spread by `fully_shard`; either goes on with
what the other saved.

All runs of two processes are made in one launch, because starting Python twice is what takes long.
"""

import json
import shutil

import engine_problem as problem
import pytest
import torch

from limbeck.engine import checkpoint as checkpoints, tensor_file

pytestmark = pytest.mark.xdist_group("two processes")  # what is made for the module is made once

# dropout draws by part, so without it; nothing else depends on how a batch is divided
SHORT = {"steps": 6, "warmup": 2, "ema": [0.9], "checkpoint": {"every": 2, "keep": 2}}
DUEL = {
    "generator": {"use": "tiny_net", "init": "random", "dropout": 0.0},
    "objective": {"use": "tiny_duel", "dropout": 0.0},
    "train": SHORT,
    "evaluate": {"every": 3},
}
STACKED = {**DUEL, "generator": {"use": "tiny_stacked", "init": "random"}}
COUNTED = {
    "generator": {"use": "tiny_adapted", "init": "random", "width": 8, "dropout": 0.0},
    "objective": {"use": "tiny_counted"},
    "train": {"steps": 6, "ema": None},
}
PROBLEMS = {"duel": DUEL, "stacked": STACKED, "counted": COUNTED}
MODES = ("ddp", "fully_shard")


def recipe(changes, **train):
    found = problem.recipe(**{**changes, "train": {**changes.get("train", {}), **train}})
    if found["objective"]["use"] == "tiny_counted":
        found["train"]["phases"] = {}
    return found


def train_here(folder, changes, *, resume=False, **train):
    from limbeck.recipe import load
    from limbeck.runs import training
    from limbeck.runs.build import build

    problem.register()
    torch.set_num_threads(1)
    built = build(load(recipe(changes, **train)))
    training.train(built, folder, resume=resume, progress=False)


def without_last_checkpoint(folder, target):
    """A copy of a run as if it had been killed between its last two checkpoints."""
    shutil.copytree(folder, target)
    shutil.rmtree(max((target / "checkpoints").glob("step-*")))
    return target


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folder, and what the processes said by job: `one/...` of one process, `ddp/...` and `fully_shard/...` of two."""
    folder = tmp_path_factory.mktemp("runs")
    for name, changes in PROBLEMS.items():
        train_here(folder / "one" / name, changes)
    jobs = {}
    for mode in MODES:
        for name, changes in PROBLEMS.items():
            jobs[f"{mode}/{name}"] = {"recipe": recipe(changes, parallel=mode, accumulate=2)}
        jobs[f"{mode}/duel"]["recipe"]["export"] = ["safetensors"]
        without_last_checkpoint(folder / "one" / "stacked", folder / mode / "resumed")
        jobs[f"{mode}/resumed"] = {"recipe": recipe(STACKED, parallel=mode), "resume": True}
        shutil.copytree(folder / "one" / "stacked", folder / mode / "loaded")  # finished: loaded, and nothing done
        jobs[f"{mode}/loaded"] = {"recipe": recipe(STACKED, parallel=mode), "resume": True}
        broken = {**DUEL, "source": {"use": "tiny_rows", "bad_at": [2, "generator"], "last_only": True}}
        jobs[f"{mode}/broken"] = {"recipe": recipe(broken, parallel=mode), "fails": True}
    jobs["fully_shard/bf16"] = {"recipe": recipe(STACKED, parallel="fully_shard", precision="bf16")}
    jobs["ddp/bf16"] = {"recipe": recipe(STACKED, parallel="ddp", precision="bf16")}
    for name, job in jobs.items():
        job["folder"] = folder / name
    said = problem.run_in_processes(jobs.values(), folder / "launch")
    return folder, dict(zip(jobs, said, strict=True))


def states(folder):
    """Everything in the last checkpoint, by '<file>/<tensor>'."""
    last = checkpoints.open_checkpoint(max((folder / "checkpoints").glob("step-*")))
    return {f"{stem}/{name}": value for stem in last.stems() for name, value in last.tensors(stem).items()}


def assert_equal(one, two, tolerance=1e-5):
    assert set(one) == set(two) and max(float(v.abs().max()) for k, v in one.items() if "generator" in k) > 0.1
    counters = ("/calls", "objective/seen")  # of calls, of which accumulation makes more
    for key in (k for k in one if not k.endswith(counters)):
        apart = float((two[key].double() - one[key].double()).abs().max())
        assert two[key].shape == one[key].shape and apart <= tolerance, (key, apart)


def lines_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("mode", MODES)
def test_two_processes_with_accumulation_end_with_the_states_and_numbers_of_one(runs, mode, name):
    folder, said = runs
    assert [one["spread"] for one in said[f"{mode}/{name}"]] == [mode == "fully_shard"] * 2
    assert_equal(states(folder / "one" / name), states(folder / mode / name))
    lines = lines_of(folder / "one" / name), lines_of(folder / mode / name)
    assert len(lines[0]) == len(lines[1]) >= 6
    for one, two in zip(*lines, strict=True):
        assert one.keys() == two.keys()
        if "loss" in one:
            assert abs(one["loss"] - two["loss"]) < 1e-5 and abs(one["grad_norm"] - two["grad_norm"]) < 1e-4
        if "evaluation" in one:
            assert abs(one["evaluation"]["spread"] - two["evaluation"]["spread"]) < 1e-4


def test_fully_shard_leaves_about_half_of_the_weights_in_each_process(runs):
    _, said = runs
    sizes = [one["weights_here"]["critic"] for one in said["fully_shard/duel"]]
    whole = said["ddp/duel"][0]["weights_here"]["critic"]
    assert sum(sizes) == whole and max(sizes) < 0.7 * whole
    assert all(one["student_is_whole"] for one in said["fully_shard/duel"])  # who asks afterwards gets all of it


@pytest.mark.parametrize("mode", MODES)
def test_weights_are_saved_bit_by_bit_and_loaded_so_by_another_number_of_processes(runs, mode):
    folder, said = runs
    for job, run in ((f"{mode}/stacked", folder / mode / "stacked"), (f"{mode}/loaded", folder / "one" / "stacked")):
        saved = {name: problem.digest(value) for name, value in states(run).items()}
        for one in said[job]:
            assert len(one["digests"]) > 20
            assert one["digests"] == {name: saved[name] for name in one["digests"]}


@pytest.mark.parametrize("mode", MODES)
def test_one_process_goes_on_with_what_two_saved(runs, mode, tmp_path):
    folder, _ = runs
    run = without_last_checkpoint(folder / mode / "stacked", tmp_path / "run")
    train_here(run, STACKED, resume=True)
    assert_equal(states(folder / mode / "stacked"), states(run))
    assert lines_of(run)[-1]["step"] == SHORT["steps"]


@pytest.mark.parametrize("mode", MODES)
def test_two_processes_go_on_with_what_one_saved(runs, mode):
    folder, said = runs
    assert [one["spread"] for one in said[f"{mode}/resumed"]] == [mode == "fully_shard"] * 2
    assert_equal(states(folder / "one" / "stacked"), states(folder / mode / "resumed"))


def test_a_spread_checkpoint_is_written_in_parts_by_both_processes(runs):
    folder, _ = runs
    last = max((folder / "fully_shard" / "stacked" / "checkpoints").glob("step-*"))
    names = {path.name for path in last.iterdir()}
    assert {"generator.part-0-of-2.safetensors", "generator.part-1-of-2.safetensors"} <= names
    assert "generator.safetensors" not in names
    assert {"optimizer-critic.part-1-of-2.safetensors", "ema-0.9.part-1-of-2.safetensors"} <= names
    (last / "generator.part-1-of-2.safetensors").rename(last / "gone")
    with pytest.raises(checkpoints.CheckpointError, match="holds parts \\[0\\] of 'generator', and should hold 2"):
        checkpoints.Checkpoint(last, 0, {}).tensors("generator")
    (last / "gone").rename(last / "generator.part-1-of-2.safetensors")


@pytest.mark.parametrize("mode", MODES)
def test_a_nan_in_the_rows_of_one_process_stops_both(runs, mode):
    folder, said = runs
    errors = [one["error"] for one in said[f"{mode}/broken"]]
    assert all(error.startswith("NonFinite: step 3, phase generator") for error in errors), errors
    assert json.loads((folder / mode / "broken" / "run.json").read_text())["status"] == "failed"
    evidence = folder / mode / "broken" / "failures" / "step-000003"
    assert {"batch.safetensors", "generator.safetensors", "critic.safetensors"} <= {p.name for p in evidence.iterdir()}


def test_a_spread_run_is_sampled_and_exported_like_any_other(runs):
    import limbeck

    folder, _ = runs
    samples = [limbeck.Run(folder / way / "duel").sample(4, seed=3).value for way in ("one", *MODES)]
    assert float(samples[0].std()) > 0.01
    for other in samples[1:]:
        torch.testing.assert_close(other, samples[0], rtol=0, atol=1e-4)
    exported = tensor_file.read(folder / "fully_shard" / "duel" / "exports" / "safetensors" / "student.safetensors")
    average = {k.partition("/")[2]: v for k, v in states(folder / "one" / "duel").items() if k.startswith("ema-")}
    assert set(exported) == set(average)
    for key in set(exported) - {"calls"}:
        torch.testing.assert_close(exported[key], average[key], rtol=0, atol=1e-5)


def test_bf16_means_the_same_spread_and_whole(runs):
    folder, _ = runs
    assert_equal(states(folder / "ddp" / "bf16"), states(folder / "fully_shard" / "bf16"), tolerance=2e-3)
