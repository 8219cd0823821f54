"""A small adversarial problem for tests of the engine: two players, dropout, a buffer, tied weights, state of its own.

Run as a script it trains a recipe given as JSON, which is how tests start several processes:

    torchrun --nproc-per-node 2 engine_problem.py spec.json
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

from limbeck import (
    Batch,
    Component,
    Data,
    Loss,
    Metric,
    Objective,
    Options,
    Phase,
    Prediction,
    Predictor,
    RectifiedFlow,
    Source,
    Space,
)
from limbeck.interfaces import average
from limbeck.sampling.samples import OneCall

EVENT = (2,)


class Net(Predictor):
    """x0_hat from (xt, t): tied layers, dropout, a buffer that counts calls in training."""

    def __init__(self, width: int = 16, dropout: float = 0.1):
        super().__init__()
        self.process, self.space = RectifiedFlow(), Space(EVENT)
        self.first, self.middle, self.last = nn.Linear(3, width), nn.Linear(width, width), nn.Linear(width, 2)
        self.tied = nn.Linear(width, width)
        self.tied.weight = self.middle.weight
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, xt, t, cond=None, *, s=None, features=()):
        if self.training:
            self.calls += 1
        h = torch.tanh(self.first(torch.cat([xt, t[:, None]], 1)))
        h = self.dropout(torch.tanh(self.middle(h)))
        return Prediction(x0_hat=self.last(torch.tanh(self.tied(h))))


class Holder(nn.Module):
    """Has no forward: whoever holds it reads its weight and calls its layer."""

    def __init__(self, width: int):
        super().__init__()
        self.own, self.inner = nn.Parameter(torch.full((width,), 0.3)), nn.Linear(width, width)


class Stacked(Net):
    """Odd sizes, blocks that repeat, tied weights, a scalar, and a weight of one row: what is awkward to spread."""

    def __init__(self, width: int = 5, dropout: float = 0.0):
        super().__init__(width, dropout)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(width, 7), nn.Tanh(), nn.Linear(7, width)) for _ in "ab"])
        self.held = nn.ModuleList([Holder(width)])
        self.gain, self.shift = nn.Parameter(torch.tensor(0.5)), nn.Parameter(torch.zeros(1, 2))

    def forward(self, xt, t, cond=None, *, s=None, features=()):
        if self.training:
            self.calls += 1
        h = torch.tanh(self.first(torch.cat([xt, t[:, None]], 1)))
        for block in self.blocks:
            h = h + self.gain * block(h)
        for holder in self.held:
            h = h + holder.own * holder.inner(h)
        return Prediction(x0_hat=self.last(torch.tanh(self.tied(self.middle(h)))) + self.shift)


class Points(Data):
    """512 points on a ring."""

    space = Space(EVENT)

    def __init__(self):
        angle = torch.linspace(0, 6.28, 512)
        self.x0 = torch.stack([angle.cos(), 0.5 * angle.sin()], 1)

    def __len__(self):
        return len(self.x0)

    def batch(self, indices):
        return Batch(x0=self.x0[indices])


class Rows(Source):
    """Rows of the data; `bad_at` (step index, phase) puts a nan into three of them, of the last part only if asked."""

    def __init__(
        self, data, teacher=None, generator=None, objective=None, bad_at: list | None = None, until: int = 1,
        last_only: bool = False,
    ):  # fmt: skip
        self.data, self.bad_at, self.until, self.last_only = data, bad_at, until, last_only

    def batch(self, size, rng):
        x0 = self.data.batch(rng.integers("rows", len(self.data), (size,))).x0.clone()
        bad = self.bad_at and self.bad_at[0] <= rng.step < self.bad_at[0] + self.until and rng.phase == self.bad_at[1]
        if bad and (not self.last_only or rng.part == rng.parts - 1):
            x0[:3, 0] = torch.nan
        return Batch(x0=x0)


class DuelOptions(Options):
    critic_updates: int = 2
    dropout: float = 0.1
    explode_at: int = -1  # step index at which a gradient, not the loss, is infinite


class Duel(Objective):
    """The critic learns the student's samples, the student moves from the critic's opinion to the data's."""

    Options = DuelOptions
    default_source = "tiny_rows"

    def setup(self, generator, teacher=None, **named):
        self.add_role("generator", generator)
        self.add_role("critic", Net(dropout=self.options.dropout))
        self.seen = torch.zeros(())

    def sampling(self):
        return {"use": "tiny_once", "steps": 1}

    def phases(self, step):
        n = self.options.critic_updates
        return [*(Phase("critic", ("critic",), k, n) for k in range(n)), Phase("generator", ("generator",))]

    def loss(self, phase, batch, rng):
        generator, critic = self.network("generator", phase), self.network("critic", phase)
        z = rng.normal("z", batch.x0.shape)
        ones = torch.ones(len(z))
        t = 0.05 + 0.9 * rng.uniform("t", (len(z),))
        if phase.name == "critic":
            with torch.no_grad():
                x0 = generator(z, ones).x0_hat
            xt = RectifiedFlow().add_noise(x0, rng.normal("eps", x0.shape), t)
            error = (critic(xt, t).x0_hat - x0).square().mean(1)
            self.seen = self.seen + 1
            return Loss(average(error), {"denoising": error.mean().detach()})
        x0 = generator(z, ones).x0_hat
        xt = RectifiedFlow().add_noise(x0, rng.normal("eps", x0.shape), t)
        with torch.no_grad():
            field = critic(xt, t).x0_hat - batch.x0
        loss = average((x0 * field).mean(1) + 0.1 * x0.square().mean(1))
        if rng.step == self.options.explode_at:
            loss = loss + (x0.abs().min() * 0).sqrt()  # 0, with an infinite slope
        return Loss(loss, {"field": field.square().mean()})

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state):
        self.seen = state["seen"].clone()


class Adapted(Net):
    """A frozen network with an adapter that learns, like a base with its low-rank additions."""

    def __init__(self, width: int = 16, dropout: float = 0.0):
        super().__init__(width, dropout)
        self.requires_grad_(False)
        self.adapter = nn.Linear(2, 2)

    def forward(self, xt, t, cond=None, *, s=None, features=()):
        return Prediction(x0_hat=self.adapter(super().forward(xt, t, cond).x0_hat))


class Counted(Objective):
    """Mean error over the coordinates that a random mask shows, as language models average over tokens."""

    default_source = "tiny_rows"

    def setup(self, generator, teacher=None, **named):
        self.add_role("generator", generator)

    def sampling(self):
        return {"use": "tiny_once", "steps": 1}

    def phases(self, step):
        return [Phase("generator", ("generator",))]

    def loss(self, phase, batch, rng):
        shown = rng.uniform("shown", batch.x0.shape) < 0.4
        z = rng.normal("z", batch.x0.shape)
        error = (self.network("generator", phase)(z, torch.ones(len(z))).x0_hat - batch.x0).square()
        count = shown.sum()
        value = (error * shown).sum() / count.clamp_min(1)
        return Loss(value, {"error": value.detach()}, count=count)


class Spread(Metric):
    better = {"spread": "lower"}

    def __call__(self, samples, cond, reference):
        return {"spread": abs(float(samples.std()) - float(reference.x0.std()))}


def components():
    return [
        Component("generator", "tiny_net", Net, can={"gaussian", "denoiser", "sampling"}),
        Component("generator", "tiny_stacked", Stacked, can={"gaussian", "denoiser", "sampling"}),
        Component("generator", "tiny_adapted", Adapted, can={"gaussian", "denoiser", "sampling"}),
        Component("objective", "tiny_counted", Counted),
        Component("data", "tiny_points", Points, can={"samples"}),
        Component("source", "tiny_rows", Rows),
        Component("objective", "tiny_duel", Duel, needs=Duel.needs),
        Component("sampler", "tiny_once", OneCall),
        Component("metric", "tiny_spread", Spread),
    ]


def register():
    """Once per process."""
    from limbeck.plugins.registry import registry

    if "tiny" not in registry._extra:
        registry.register(components(), name="tiny")


def recipe(**changes):
    """The recipe of the problem as a mapping; `train` and `evaluate` are merged."""
    base = {
        "name": "tiny",
        "generator": {"use": "tiny_net", "init": "random"},
        "objective": {"use": "tiny_duel"},
        "data": {"use": "tiny_points"},
        "train": {
            "steps": 24, "batch_size": 16, "lr": 1e-2, "ema": [0.9, 0.99], "clip": 1.0, "log_every": 1,
            "schedule": "cosine", "warmup": 3, "checkpoint": {"every": 4, "keep": 2},
            "phases": {"critic": {"lr": 2e-2}},
        },
        "evaluate": {"every": 12, "samples": 32, "metrics": ["tiny_spread"], "grid": 0, "compare": False},
        "report": {"write": False},
    }  # fmt: skip
    for key, value in changes.items():
        base[key] = {**base[key], **value} if isinstance(value, dict) and isinstance(base.get(key), dict) else value
    return base


def build(**changes):
    from limbeck.recipe import load
    from limbeck.runs.build import build

    register()
    return build(load(recipe(**changes)))


def train(folder, *, resume=False, **changes):
    """Build and train; returns the Built."""
    from limbeck.runs import training

    torch.set_num_threads(1)
    built = build(**changes)
    training.train(built, folder, resume=resume, progress=False)
    return built


def results(folder):
    """Bytes of everything a run must end with, by name: weights, optimizers, averages, metrics."""
    last = max((Path(folder) / "checkpoints").glob("step-*"))
    found = {path.name: path.read_bytes() for path in sorted(last.glob("*.safetensors"))}
    return {**found, "metrics.jsonl": (Path(folder) / "metrics.jsonl").read_bytes(), "last": last.name.encode()}


# --- a child that is killed ------------------------------------------------------------------------------------------


def train_and_die(connection, folder, how, n, changes):
    """Target of a child process: go on with a run until SIGKILL.

    how: `file` kills itself in the middle of the n-th file that it writes into a checkpoint, `rename` before the n-th
    rename, `turn` in the n-th turn of a player; `parent` says that it runs and waits in its last step for the parent.
    """
    import signal

    from limbeck.engine import checkpoint, updates

    count = 0

    def due():
        nonlocal count
        count += 1
        return count == n

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    write_file, rename, turn = checkpoint.write_file, os.rename, updates.Updates.make

    def half_a_file(path, parts):
        if how == "file" and due():
            whole = b"".join(bytes(part) for part in parts)
            Path(path).write_bytes(whole[: len(whole) // 2])
            die()
        return write_file(path, parts)

    def no_rename(*arguments):
        if how == "rename" and due():
            die()
        return rename(*arguments)

    def no_turn(run, index, phase):
        if how == "turn" and due():
            die()
        if index == run.options.steps - 1:
            connection.recv()  # for ever
        if count == 0 and how == "parent":
            due()
            connection.send("running")
        return turn(run, index, phase)

    checkpoint.write_file, os.rename, updates.Updates.make = half_a_file, no_rename, no_turn
    train(folder, resume=True, **changes)
    connection.send("finished")


# --- several processes -----------------------------------------------------------------------------------------------


def run_in_processes(jobs, place, *, processes=2, timeout=600, prepare=None):
    """Train one recipe after the other under torchrun with gloo on the CPU, and check that there really were that many
    processes. All in one launch, because starting Python is what takes long.

    Args:
        jobs: dicts of recipe (a mapping or a name), folder, and if need be overrides and resume; with `fails` true the
            run has to fail.
        place: a folder for notes of the launch.
        prepare: path of a Python file to run first in every process (to register components).

    Returns:
        For every job what the processes said of it: a list of dicts by rank.
    """
    place = Path(place)
    place.mkdir(parents=True, exist_ok=True)
    spec = place / "jobs.json"
    jobs = [
        {"overrides": [], "resume": False, "fails": False, **job, "folder": str(job["folder"])}
        for job in map(dict, jobs)
    ]
    for job in jobs:
        job["overrides"] = list(job["overrides"])
    spec.write_text(json.dumps({"jobs": jobs, "prepare": str(prepare or "")}))
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    done = subprocess.run(
        [*command, __file__, str(spec)], env=environment, capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = [json.loads((place / f"said-{rank}.json").read_text()) for rank in range(processes)]
    assert [one["world"] for one in said] == [processes] * processes, said
    for job in jobs:
        if not job["resume"]:  # a run that was finished already is only loaded
            assert json.loads((Path(job["folder"]) / "run.json").read_text())["processes"] == processes
    return [[one["jobs"][i] for one in said] for i in range(len(jobs))]


def main(spec_file):
    torch.set_num_threads(1)
    spec = json.loads(Path(spec_file).read_text())
    if spec["prepare"]:
        import runpy

        runpy.run_path(spec["prepare"])
    register()
    import time

    import torch.distributed as dist

    said = []
    for job in spec["jobs"]:
        began = time.perf_counter()
        outcome = _run(job)
        said.append({"seconds": time.perf_counter() - began, **outcome})
    rank, world = dist.get_rank(), dist.get_world_size()
    Path(spec_file).with_name(f"said-{rank}.json").write_text(json.dumps({"world": world, "jobs": said}))
    dist.destroy_process_group()


def digest(tensor):
    """Of the values, bit by bit."""
    return hashlib.sha256(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()[:16]


def _run(job):
    from limbeck.errors import LimbeckError
    from limbeck.networks.sharding import gathered, is_spread, part
    from limbeck.recipe import load
    from limbeck.runs import training
    from limbeck.runs.build import build

    built = build(load(job["recipe"], overrides=job["overrides"]))
    try:
        training.train(built, Path(job["folder"]), resume=job["resume"], progress=False)
    except LimbeckError as error:
        if not job["fails"]:
            raise
        return {"error": f"{type(error).__name__}: {error}"}
    assert not job["fails"], "the run was to fail"
    roles = built.objective.roles()
    here = {role: sum(part(p).numel() for p in module.parameters()) for role, module in roles.items()}
    return {
        "digests": {
            f"{role}/{name}": digest(gathered(value))
            for role, module in roles.items()
            for name, value in module.state_dict().items()
        },
        "weights_here": here,
        "spread": any(is_spread(p) for module in roles.values() for p in module.parameters()),
        "student_is_whole": not any(is_spread(p) for p in built.generator.parameters()),
    }


if __name__ == "__main__":
    main(sys.argv[1])
