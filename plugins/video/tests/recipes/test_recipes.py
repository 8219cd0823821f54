import gc
import os
import signal
import subprocess
import sys
import weakref

import pytest
import torch

import limbeck
from limbeck.errors import Interrupted, RecipeError
from limbeck.export import teacher_files
from limbeck.plugins.registry import create
from limbeck.recipe import load, variant
from limbeck.runs.build import build
from limbeck_video.data.moving_digits import MovingDigits
from limbeck_video.manifest import recipes
from limbeck_video.networks.moving_digits import moving_digits_generator

SMALL = {"width": 16, "depth": 1, "heads": 2, "patch": 10}
STUDENT = {"use": "video/moving_digits_causal", "init": "random", "start": "fresh", **SMALL}
QUIET = {"report": {"write": False}, "progress": False}


def few(steps, batch_size=4):
    return {"steps": steps, "batch_size": batch_size, "warmup": 0, "checkpoint": {"every": 100}}


EVALUATE = {"samples": 4, "batch_size": 4, "grid": 0, "compare": False, "metrics": []}


def test_manifest_and_options_load_without_torch():
    code = (
        "import sys, limbeck_video._plugin as p; p.components(); assert not {'torch', 'pydantic'} & set(sys.modules);"
        "from limbeck_video.options import data, exporters, measures, networks; sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


OURS = {component.name for component in recipes.COMPONENTS}
PIPELINES = {"wan_lora_dmd2"}  # need a pipeline of diffusers


@pytest.mark.parametrize("name", sorted(OURS - PIPELINES))
def test_every_recipe_builds_with_what_is_bundled(name):
    recipe = load(name)
    built = build(variant(recipe, "self_forcing") if name.endswith("compare") else recipe)
    assert built.space.event == (12, 1, 20, 20) and built.sampler is not None
    if name.endswith(("causal", "self_forcing", "tour", "compare")):
        assert built.generator.chunk == 4 and built.generator.new_cache(window=8).frames == 0


def test_the_recipe_of_a_pipeline_builds_on_a_tiny_one_of_its_family(tmp_path):
    pytest.importorskip("diffusers")
    import tiny_pipelines

    model = tiny_pipelines.saved("wan", tmp_path / "wan")
    (tmp_path / "prompts.txt").write_text("a fox\nb\n")
    size = ["teacher.height=16", "teacher.width=16", "teacher.frames=5", "teacher.dtype=float32", "train.precision=no"]
    built = build(load("wan_lora_dmd2", [f"model={model}", f"prompts={tmp_path / 'prompts.txt'}", *size]))
    assert set(built.objective.roles()) == {"generator", "critic"} and len(built.space.event) == 4


@pytest.mark.parametrize("objective", ["self_forcing", "dmd2", "consistency"])
def test_comparisons_build_with_every_objective(objective):
    assert build(variant(load("moving_digits_compare"), objective)).objective.roles()


def test_a_pretraining_run_becomes_a_teacher_file_that_loads(tmp_path):
    run = limbeck.pretrain(
        "moving_digits_teacher", out=tmp_path / "run", evaluate=EVALUATE, train={**few(2), "precision": "no"},
        generator={"use": "video/moving_digits", "init": "random", **SMALL}, **QUIET,
    )  # fmt: skip
    (path,) = run.export("teacher", tmp_path / "out", dtype="float32")
    teacher = create("teacher", "video/moving_digits", weights=str(path))
    trained = run.generator().state_dict()
    assert all(torch.equal(tensor, trained[name]) for name, tensor in teacher.state_dict().items())
    assert teacher.provenance["recipe"] == "moving_digits_teacher" and "CC BY 4.0" in teacher.provenance["data"]


def test_a_causal_run_becomes_a_teacher_file_that_streams(tmp_path):
    tiny = tmp_path / "tiny.safetensors"
    small = moving_digits_generator(**SMALL)
    teacher_files.write(tiny, small.state_dict(), config=SMALL, provenance={})
    run = limbeck.distill(
        "moving_digits_causal", out=tmp_path / "run", evaluate=EVALUATE, train={**few(1), "precision": "no"},
        teacher={"use": "video/moving_digits", "weights": str(tiny)},
        generator={"use": "video/moving_digits_causal", "init": "teacher", "start": "fresh", **SMALL}, **QUIET,
    )  # fmt: skip
    (path,) = run.export("teacher", tmp_path / "out", dtype="float32")
    teacher = create("teacher", "video/moving_digits_causal", weights=str(path))
    assert teacher.chunk == 4 and teacher.new_cache().positions == ()
    assert not torch.equal(teacher.network.place, small.network.place)
    torch.testing.assert_close(teacher.network.place, small.network.place, rtol=0, atol=2e-3)  # one step from there


class Press:
    """Ctrl-C in a step."""

    def __init__(self, step):
        self.at = step

    def step_ended(self, step):
        if step == self.at:
            os.kill(os.getpid(), signal.SIGINT)


def weights(folder):
    last = max((folder / "checkpoints").glob("step-*"))
    return {name: (last / f"{name}.safetensors").read_bytes() for name in ("generator", "critic")}


def test_an_interrupted_self_forcing_run_resumes_bitwise(tmp_path):
    small = {"generator": STUDENT, "train": few(4, 2), "evaluate": EVALUATE}
    where = {"overrides": ["objective.rollout.frames=20", "objective.critic.init=generator"], **QUIET}
    with pytest.raises(Interrupted, match="stopped at step 2 and saved"):
        limbeck.distill("moving_digits_self_forcing", out=tmp_path / "run", callbacks=[Press(2)], **small, **where)
    limbeck.distill("moving_digits_self_forcing", out=tmp_path / "run", resume=True, **small, **where)
    limbeck.distill("moving_digits_self_forcing", out=tmp_path / "calm", **small, **where)
    assert weights(tmp_path / "run") == weights(tmp_path / "calm")


def test_a_rollout_that_is_no_whole_number_of_chunks_is_an_error_of_the_recipe():
    with pytest.raises(RecipeError, match="whole number of chunks of 4; got 18"):
        build(load("moving_digits_self_forcing", overrides=["objective.rollout.frames=18"]))


# --- streaming -------------------------------------------------------------------------------------------------------


def test_a_consumer_that_stops_early_leaves_nothing_behind_and_has_seen_the_same_frames():
    start, cond = create("teacher", "video/moving_digits_causal"), torch.tensor([[2, 7]])
    sampler = create("sampler", "streaming", window=8, sink=4)
    whole = torch.cat(list(sampler.stream(start, cond, steps=2, rng=limbeck.rng(1), frames=24)), 1)
    new_cache, kept = start.new_cache, []
    start.new_cache = lambda *args: kept.append(new_cache(*args)) or kept[-1]
    stream = sampler.stream(start, cond, steps=2, rng=limbeck.rng(1))  # without end
    seen = torch.cat([next(stream), next(stream)], 1)
    caches = [weakref.ref(cache) for cache in kept]
    kept.clear()
    assert caches[0]() is not None and caches[0]().start in (4, 8)
    stream.close()
    del stream
    gc.collect()
    assert caches[0]() is None, "the cache outlives the stream"
    assert torch.equal(seen, whole[:, :8]) and torch.is_grad_enabled()
    assert not any(p.grad is not None for p in start.parameters())


def test_streams_differ_by_seed_and_keep_going_beyond_the_window():
    start, cond = create("teacher", "video/moving_digits_causal"), torch.tensor([[2, 7], [0, 0]])
    sampler = create("sampler", "streaming", window=4)
    one, other = (
        torch.cat(list(sampler.stream(start, cond, steps=1, rng=limbeck.rng(seed), frames=24)), 1) for seed in (1, 2)
    )
    assert one.shape == (2, 24, 1, 20, 20) and one.isfinite().all() and not torch.equal(one, other)


# --- real figures ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_short_self_forcing_run_brings_streamed_frames_closer_to_real_ones(tmp_path):
    from limbeck.sampling.samples import generate
    from limbeck_video.metrics.frechet import FrameFrechet

    run = limbeck.distill(
        "moving_digits_self_forcing", out=tmp_path / "run", train={"steps": 20, "batch_size": 8, "warmup": 0, "ema": 0},
        evaluate=EVALUATE, **QUIET,
    )  # fmt: skip
    data, judge = MovingDigits(), FrameFrechet(clips=200)
    cond = data.split("held_out").batch(torch.arange(64)).cond
    how = {"steps": run.built.sampling_steps, "count": 64, "cond": cond, "batch_size": 32}
    found = [
        judge(generate(model, run.built.sampler, **how).samples.value, cond, data)["frame_frechet"]
        for model in (create("teacher", "video/moving_digits_causal"), run.generator())
    ]
    assert found[1] < 0.8 * found[0], found
