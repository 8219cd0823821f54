"""Engine overhead: `limbeck distill digits_dmd2` against a bare hand-written loop with the same updates.

The bare loop imports no engine, no objective and no source: DMD2's critic and generator updates, clipping, AdamW and
EMA in plain torch. Both sides run in turn, several times, in one process; the ratio is taken pair by pair and reported
with a one-sided 95 % upper confidence bound. `python benchmarks/overhead.py --pairs 12`
"""

import argparse
import copy
import json
import math
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import torch
from scipy import stats

WARM = 5  # steps of each run that are not timed: allocator, thread pools, optimizer state


def bare_loop(teacher, x0: torch.Tensor, labels: torch.Tensor, options: dict, steps: int) -> float:
    """Seconds per step of DMD2 written by hand."""
    lr, batch, clip, decay, updates = (options[k] for k in ("lr", "batch_size", "clip", "ema", "critic_updates"))
    critic_lr, betas = options["critic_lr"], options["betas"]
    student, critic, average = (copy.deepcopy(teacher).requires_grad_(k < 2) for k in range(3))
    teacher.requires_grad_(False)
    student.train(), critic.train()
    moving = torch.optim.AdamW(student.parameters(), lr=lr, betas=betas, weight_decay=0.0)
    chasing = torch.optim.AdamW(critic.parameters(), lr=critic_lr, betas=betas, weight_decay=0.0)
    ones = torch.ones(batch)
    weights, averaged = list(student.parameters()), list(average.parameters())

    def sample(rows):
        noise = torch.randn(batch, 1, 8, 8)
        return student(noise, ones, rows).x0_hat

    def noised(clean, low, high):
        t = low + (high - low) * torch.rand(batch)
        a = t[:, None, None, None]
        return (1 - a) * clean + a * torch.randn_like(clean), t, a

    for step in range(steps + WARM):
        if step == WARM:
            start = time.perf_counter()
        for _ in range(updates):
            rows = labels[torch.randint(len(labels), (batch,))]
            with torch.no_grad():
                clean = sample(rows)
            xt, t, a = noised(clean, 0.001, 1.0)
            critic.requires_grad_(True)
            loss = (((critic(xt, t, rows).x0_hat - clean) / a) ** 2).mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(critic.parameters(), clip)
            chasing.step()
            chasing.zero_grad()
        rows = labels[torch.randint(len(labels), (batch,))]
        clean = sample(rows)
        xt, t, _ = noised(clean, 0.02, 0.98)
        with torch.no_grad():
            real, fake = teacher(xt, t, rows).x0_hat, critic(xt, t, rows).x0_hat
            field = (fake - real) / ((clean - real).abs().mean((1, 2, 3), keepdim=True) + 1e-6)
        loss = 0.5 * (clean - (clean - field).detach()).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), clip)
        moving.step()
        moving.zero_grad()
        with torch.no_grad():
            torch._foreach_lerp_(averaged, weights, 1 - decay)
    return (time.perf_counter() - start) / steps


QUIET = [
    "evaluate.every=null",
    "evaluate.metrics=[]",
    "evaluate.compare=false",
    "evaluate.grid=0",
    "report.write=false",
    "train.checkpoint.every=1000000",
]


def engine(recipe: str, steps: int, overrides: list[str]) -> float:
    """Seconds per step of the engine, between the ends of step WARM and of the last one."""
    import limbeck

    ends: list[float] = []

    class Clock:
        @limbeck.hookimpl
        def step_ended(self):
            ends.append(time.perf_counter())

    folder = Path(tempfile.mkdtemp())
    try:
        limbeck.distill(
            recipe,
            overrides=[*QUIET, *overrides, f"train.steps={steps + WARM}"],
            callbacks=[Clock()],
            out=folder / "run",
            progress=False,
        )
    finally:
        shutil.rmtree(folder)
    return (ends[-1] - ends[WARM - 1]) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="digits_dmd2")
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()

    from limbeck.recipe import load
    from limbeck.runs.build import build

    torch.set_num_threads(arguments.threads)
    overrides = ["train.schedule=constant", "train.warmup=0", f"train.threads={arguments.threads}"]
    recipe = load(arguments.recipe, overrides)
    built = build(recipe)
    train = recipe.train
    critic = train.phases.get("critic")
    options = {
        "lr": train.lr,
        "critic_lr": getattr(critic, "lr", None) or train.lr,
        "batch_size": train.batch_size,
        "clip": train.clip,
        "betas": tuple(train.betas),
        "ema": train.ema[0],
        "critic_updates": built.objective.options.critic.updates,
    }
    data = built.data.split("train")
    rows = data.batch(torch.arange(len(data)))
    pairs = []
    for k in range(arguments.pairs):
        runs = [
            ("engine", lambda: engine(arguments.recipe, arguments.steps, overrides)),
            ("bare", lambda: bare_loop(copy.deepcopy(built.teacher), rows.x0, rows.cond, options, arguments.steps)),
        ]
        pairs.append({name: run() for name, run in (runs if k % 2 else runs[::-1])})
    logs = [math.log(p["engine"] / p["bare"]) for p in pairs]
    mean, error = statistics.fmean(logs), statistics.stdev(logs) / math.sqrt(len(logs))
    bound = mean + stats.t.ppf(0.95, len(logs) - 1) * error
    print(
        json.dumps(
            {
                "engine_ms": 1e3 * statistics.median(p["engine"] for p in pairs),
                "bare_ms": 1e3 * statistics.median(p["bare"] for p in pairs),
                "overhead_percent": 100 * math.expm1(mean),
                "upper_95_percent": 100 * math.expm1(bound),
                "threads": arguments.threads,
                "pairs": len(pairs),
                "steps": arguments.steps,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
