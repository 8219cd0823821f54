"""Recipes of every modality on two processes, in DDP and spread by `fully_shard`, end with the weights of one.

The global batch is the same. All runs of two processes are made in one launch.
"""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.xdist_group("two processes of recipes")  # what is made for the module is made once

ROOT = Path(__file__).parent.parent
PARTS = ROOT / "tests/two_process_parts.py"


def module_at(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


problem = module_at(ROOT / "core/tests/support/engine_problem.py")

MODES = ("ddp", "fully_shard")
QUICK = [
    "train.threads=1", "train.precision=no", "train.schedule=constant", "train.warmup=0", "train.clip=null",
    "evaluate.every=null", "evaluate.metrics=[]", "evaluate.compare=false", "evaluate.grid=0", "report.write=false",
    "train.log_every=1",
]  # fmt: skip
# plain gradient descent: differences stay what summation order makes of them
SGD = ["train.optimizer=sgd", "train.lr=0.05", "train.betas=[0.9, 0.99]", "train.weight_decay=0"]
# AdamW divides by the gradient's size: rounding grows to the learning rate where a gradient is almost zero
ADAMW = ["train.optimizer=adamw", "train.lr=1e-4", "train.weight_decay=0"]
GAN = [
    "train.batch_size=16", "train.steps=2", "objective.critic.updates=2", "objective.discriminator.weight=0.1",
    "objective.discriminator.critic_weight=0.1",
]  # fmt: skip
TEXT = ["train.batch_size=4", "train.steps=2", "data.length=24"]
SELF_FORCING = {
    "name": "toy_self_forcing",
    "teacher": {"use": "toy_clips"},
    "generator": {"use": "toy_causal", "init": "random"},
    "objective": {"use": "self_forcing", "rollout": {"steps": 2}, "critic": {"updates": 2}},
    "train": {"batch_size": 8, "steps": 3, "ema": 0.9},
}
ADAPTERS = {
    "name": "adapters",
    "teacher": {"use": "text/pydocs_lm"},
    "generator": {"use": "text/pydocs_lm", "init": "teacher", "lora": {"rank": 2}},
    "objective": {"use": "fkl", "ce_weight": 1.0},
    "data": {"use": "text/pydocs", "length": 24},
    "train": {"batch_size": 4, "steps": 3},
}


def on_one_base(folder: Path) -> dict:
    """Student and critic are adapters on the frozen weights of one tiny diffusers pipeline, the teacher's."""
    pipelines = module_at(ROOT / "plugins/diffusion/tests/support/tiny_pipelines.py")
    model = folder / "pipeline"
    if not model.is_dir():
        pipelines.saved("sd15", model)
    return {
        "name": "on_one_base",
        "teacher": {"use": "image/diffusers", "model": str(model)},
        "generator": {"use": "image/diffusers", "init": "teacher", "lora": {"rank": 4}},
        "objective": {"use": "dmd2", "rollout": {"steps": 2}, "critic": {"updates": 1, "lora": {"rank": 2}}},
        "data": {"use": "prompts", "prompts": ["a fox", "b", "dog in fog"]},
        "source": {"use": "prior"},
        "train": {"steps": 3, "batch_size": 2, "lr": 5e-3, "ema": 0.9},
    }


# name -> recipe, overrides
CASES = {
    "dmd2 with a discriminator": ("digits_dmd2_gan", [*GAN, *SGD, "train.phases.critic.lr=0.05"]),
    "self_forcing": (SELF_FORCING, SGD),
}
SLOW = {
    "gkd": ("pydocs_gkd", [*TEXT, *SGD, "objective.student_fraction=1.0", "source.prompt=16", "source.length=6"]),
    "low-rank adapters": (ADAPTERS, [*SGD, "train.lr=0.5"]),
    "dmd2 with AdamW": ("digits_dmd2_gan", [*GAN, *ADAMW, "train.phases.critic.lr=1e-4"]),
    "consistency with a moving target": (
        "digits_consistency", [*SGD, "train.batch_size=16", "train.steps=3", "objective.target.decay=0.9"],
    ),
    "masked diffusion": ("pydocs_sdtt", [*TEXT, *SGD]),
    "guided teacher, compared": (
        "digits_dmd2",
        [
            *SGD, "train.batch_size=8", "train.steps=2", "objective.critic.updates=1", "train.phases.critic.lr=0.05",
            "teacher.guidance=1.5", "evaluate.metrics=[frechet]", "evaluate.compare=true", "evaluate.samples=64",
            "evaluate.batch_size=64", "evaluate.every=1", "evaluate.grid=4", "evaluate.teacher.steps=3",
            "evaluate.teacher_fewest=null",
        ],
    ),
    "text to 3d": ("text_to_3d", [*SGD, "train.batch_size=2", "train.steps=2", "export=[]"]),
    "vsd on a scene": (
        "text_to_3d",
        [*SGD, "train.batch_size=2", "train.steps=2", "export=[]", "objective={use: vsd}"],
    ),
    "sound": ("spoken_digits_dmd2", [*SGD, "train.batch_size=4", "train.steps=2", "train.phases.critic.lr=0.05"]),
    "clips": (
        "moving_digits_self_forcing",
        [*SGD, "train.batch_size=2", "train.steps=2", "train.phases.critic.lr=0.05", "objective.rollout.frames=12"],
    ),
    "adapters of two roles on one base": (on_one_base, [*SGD, "train.lr=2.0", "train.phases.critic.lr=2.0"]),
}  # fmt: skip


def run_all(cases, folder: Path) -> dict:
    """What the processes said, by (mode, case); `folder/one/...` are the runs of one process."""
    from limbeck.recipe import load
    from limbeck.runs import training
    from limbeck.runs.build import build

    module_at(PARTS)
    torch.set_num_threads(1)
    jobs = {}
    for name, (recipe, overrides) in cases.items():
        recipe = recipe(folder) if callable(recipe) else recipe
        training.train(build(load(recipe, overrides=[*QUICK, *overrides])), folder / "one" / name, progress=False)
        for mode in MODES:
            more = [*QUICK, *overrides, f"train.parallel={mode}"]
            if mode == "fully_shard":
                more.append("train.shard_teacher=true")
            jobs[mode, name] = {"recipe": recipe, "overrides": more, "folder": folder / mode / name}
    said = problem.run_in_processes(jobs.values(), folder / "launch", prepare=PARTS, timeout=1200)
    return dict(zip(jobs, said, strict=True))


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quick")
    return folder, run_all(CASES, folder)


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slow")
    return folder, run_all(SLOW, folder)


def weights(run: Path) -> dict[str, torch.Tensor]:
    from limbeck.engine.checkpoint import last_good

    found, _ = last_good(run / "checkpoints")
    stems = [stem for stem in found.stems() if not stem.startswith("optimizer-")]
    return {f"{stem}/{name}": value for stem in stems for name, value in found.tensors(stem).items()}


def first_weights(recipe, overrides) -> dict[str, torch.Tensor]:
    from limbeck.recipe import load
    from limbeck.runs.build import build

    roles = build(load(recipe, overrides=[*QUICK, *overrides])).objective.roles()
    return {f"{role}/{name}": value for role, module in roles.items() for name, value in module.state_dict().items()}


def check(runs, mode, name, recipe, overrides):
    folder, said = runs
    assert [one["spread"] for one in said[mode, name]] == [mode == "fully_shard"] * 2
    one, two = weights(folder / "one" / name), weights(folder / mode / name)
    start = first_weights(recipe(folder) if callable(recipe) else recipe, overrides)
    assert one.keys() == two.keys() and start.keys() <= one.keys()
    for role in {key.partition("/")[0] for key in start}:  # they did learn, so that equality says something
        own = [key for key in start if key.startswith(f"{role}/")]
        assert max(float((one[k].double() - start[k].double()).abs().max()) for k in own) > 1e-4, role
    apart = {key: float((one[key].double() - two[key].double()).abs().max()) for key in one}
    worst = max(apart, key=apart.get)
    assert apart[worst] < 1e-5, (worst, apart[worst])
    tables = [folder / way / name / "evaluation.json" for way in ("one", mode)]
    assert [table.is_file() for table in tables] == ["compared" in name] * 2
    if "compared" in name:
        rows = [json.loads(table.read_text())["rows"] for table in tables]
        assert len(rows[0]) == len(rows[1]) >= 3
        for row, other in zip(*rows, strict=True):
            assert row["metrics"] == pytest.approx(other["metrics"], rel=1e-3, abs=1e-4), row["name"]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("mode", MODES)
def test_two_processes_equal_one(quick, mode, name):
    check(quick, mode, name, *CASES[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
@pytest.mark.parametrize("mode", MODES)
def test_two_processes_equal_one_in_every_modality(slow, mode, name):
    check(slow, mode, name, *SLOW[name])


@pytest.mark.slow
def test_the_command_line_under_torchrun_saves_on_ctrl_c_and_one_process_goes_on(tmp_path):
    run = tmp_path / "run"
    overrides = [
        *QUICK, "train.batch_size=8", "train.steps=100000", "train.parallel=fully_shard", "objective.critic.updates=1",
    ]  # fmt: skip
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with open(tmp_path / "said.txt", "w+") as said:
        launched = subprocess.Popen(
            [*launch, "-m", "limbeck", "distill", "digits_dmd2", *overrides, "--out", str(run)],
            env=environment, stdout=said, stderr=said, start_new_session=True,
        )  # fmt: skip
        try:
            began = time.monotonic()
            while not ((run / "run.json").is_file() and (run / "timings.jsonl").is_file()):
                assert launched.poll() is None and time.monotonic() - began < 300, (tmp_path / "said.txt").read_text()
                time.sleep(0.1)
            launched.send_signal(signal.SIGINT)
            launched.wait(timeout=120)
        finally:
            if launched.poll() is None:
                os.killpg(launched.pid, signal.SIGKILL)
    text = (tmp_path / "said.txt").read_text()
    record = json.loads((run / "run.json").read_text())
    assert (record["status"], record["processes"]) == ("interrupted", 2), text
    assert text.count("stopping after this step") == 1 and f"stopped at step {record['step']} and saved" in text
    saved = weights(run)
    assert list((run / "checkpoints").glob("step-*/generator.part-1-of-2.safetensors"))
    assert {"generator", "critic", "ema-0.99"} <= {key.partition("/")[0] for key in saved}, set(saved)

    import limbeck

    done = limbeck.distill(run, overrides=[f"train.steps={record['step'] + 1}"], out=run, resume=True, progress=False)
    assert done.status == "finished" and done.info["processes"] == 1 and done.info["step"] == record["step"] + 1
    assert any(float((weights(run)[k] - v).abs().max()) > 0 for k, v in saved.items() if k.startswith("generator/"))
