"""Moving digits, streamed: what the causal student costs and how long it lasts, beside its bidirectional teacher.

`python benchmarks/streaming.py [--out runs/benchmarks/streaming] [--clips 512]`: distils `moving_digits_self_forcing`
into --out unless it is there, then measures per-frame distance, frames per second and time to the first frame of the
teacher, of the teacher cut to the student's steps, of the causal start and of the student; the drift curve over five
times the length of training, beside real clips; what the cache holds at every length. Prints Markdown tables, writes
streaming.json. With --pictures DIR it also writes moving_digits.png and moving_digits.gif: real clips, teacher, teacher
cut, student.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy
import torch
from PIL import Image
from torch import Tensor

import limbeck
from limbeck.interfaces import Predictor
from limbeck.plugins.registry import create
from limbeck.randomness import Rng
from limbeck.runs.run import Run
from limbeck.sampling import samples
from limbeck_video.data.moving_digits import SPACE, MovingDigits
from limbeck_video.encoding import video
from limbeck_video.metrics.drift import drift_curve
from limbeck_video.metrics.frechet import FrameFrechet
from limbeck_video.samplers.rollouts import long_rollout

FRAMES, LONG = SPACE.event[0], 5 * SPACE.event[0]
TIMED = 5  # clips per timing, after one to warm up
RECIPE = "moving_digits_self_forcing"


def student_of(out: Path) -> Run:
    done = (out / "run.json").is_file() and Run(out).status == "finished"
    return Run(out) if done else limbeck.distill(RECIPE, out=out, overwrite=out.exists())


# --- speed -----------------------------------------------------------------------------------------------------------


def whole(model: Any, sampler: Any, steps: int, cond: Tensor) -> tuple[float, float]:
    """Frames per second and seconds to the first frame of a model that makes one clip at a time, whole: medians."""
    seconds = []
    for k in range(TIMED + 1):
        begin = time.perf_counter()
        made = sampler(model, cond[k : k + 1], steps=steps, rng=Rng(k), batch_size=1).value
        seconds.append(time.perf_counter() - begin)
    took = statistics.median(seconds[1:])
    return made.shape[1] / took, took


def streamed(model: Predictor, sampler: Any, steps: int, cond: Tensor, frames: int) -> tuple[float, float]:
    """The same of one that streams `frames` frames."""
    rates, firsts = [], []
    for k in range(TIMED + 1):
        begin, first, count = time.perf_counter(), 0.0, 0
        for chunk in sampler.stream(model, cond[k : k + 1], steps=steps, rng=Rng(k), frames=frames):
            first = first or time.perf_counter() - begin
            count += chunk.shape[1]
        rates.append(count / (time.perf_counter() - begin))
        firsts.append(first)
    return statistics.median(rates[1:]), statistics.median(firsts[1:])


def cache_sizes(model: Predictor, options: dict[str, Any], cond: Tensor) -> list[tuple[int, int, int]]:
    """(frames made, frames held, bytes held) as a rollout grows; one call per chunk, since only the cache matters."""
    cache = model.new_cache(options.get("window"), options.get("sink", 0))
    found, t = [], torch.zeros(1)
    while cache.start < LONG:
        with torch.no_grad():
            model(torch.zeros(1, model.chunk, *SPACE.event[1:]), t, cond[:1], cache=cache, write=True)
        found.append((cache.start, cache.frames, cache.bytes))
    return found


# --- pictures --------------------------------------------------------------------------------------------------------


def strips(rows: list[Tensor], zoom: int = 3, gap: int = 2) -> numpy.ndarray:
    """Clips (F, 1, H, W) as strips of frames below each other, (height, width, 3) uint8."""
    lines = []
    for clip in rows:
        frames = video.pictures(clip, zoom)
        lines.append(
            numpy.concatenate([numpy.pad(f, ((gap, gap), (gap, gap), (0, 0)), constant_values=90) for f in frames], 1)
        )
    return numpy.concatenate(lines, 0)


def pictures(folder: Path, shown: dict[str, Tensor], long: Tensor, each: int = 3) -> None:
    """moving_digits.png: `each` clips of every row as strips. moving_digits.gif: long clips of the student, side by
    side, as they stream."""
    folder.mkdir(parents=True, exist_ok=True)
    blocks = []
    for clips in shown.values():
        block = strips(list(clips[:each]))
        blocks += [block, numpy.full((8, block.shape[1], 3), 255, numpy.uint8)]
    Image.fromarray(numpy.concatenate(blocks[:-1], 0)).save(folder / "moving_digits.png", optimize=True)
    beside = torch.nn.functional.pad(long[:6], (0, 1), value=0.0)  # a line between clips
    row = torch.cat(list(beside), dim=-1)  # (F, 1, H, 6 W + 6)
    (folder / "moving_digits.gif").write_bytes(video.gif(video.pictures(row, 4)))


# --- all of it -------------------------------------------------------------------------------------------------------


def measure(run: Run, clips: int, folder: Path | None) -> dict[str, Any]:
    built, student = run.built, run.generator()
    teacher, start, data = built.teacher, create("teacher", "video/moving_digits_causal"), MovingDigits()
    stream, steps = built.sampler, built.sampling_steps
    how = {k: v for k, v in built.sampling.items() if k not in ("use", "steps")}
    full = built.recipe.evaluate.teacher.model_dump()
    walk, walk_steps = create("sampler", full["use"]), full["steps"]
    cond = data.split("held_out").batch(torch.arange(max(clips, 64))).cond
    distance = FrameFrechet()

    contestants = {  # name: model, sampler, steps, does it stream
        "teacher": (teacher, walk, walk_steps, False),
        f"teacher, cut to {steps} steps": (teacher, create("sampler", "euler"), steps, False),
        f"causal start, {steps} steps": (start, stream, steps, True),
        "student": (student, stream, steps, True),
    }
    rows, shown = [], {"real": data.split("held_out").batch(torch.arange(8)).x0}
    for name, (model, sampler, n, streams) in contestants.items():
        made = samples.generate(model, sampler, steps=n, count=clips, cond=cond[:clips], batch_size=64)
        judged = distance(made.samples.value, cond, data)
        timing = streamed(model, sampler, n, cond, LONG) if streams else whole(model, sampler, n, cond)
        rows.append({"name": name, "evaluations": made.evaluations, "frames_per_second": timing[0],
                     "first_frame_ms": 1000 * timing[1], **judged})  # fmt: skip
        shown[name] = made.samples.value[:8]
    by = {row["name"]: row for row in rows}
    cut, best, ours = (row["frame_frechet"] for row in (rows[1], rows[0], by["student"]))

    real = data.batch(torch.linspace(0, len(data) - 1, 500).long()).x0
    long = long_rollout(student, stream, cond[:64], frames=LONG, steps=steps)
    curve = drift_curve(long, real, FRAMES)
    truth = drift_curve(MovingDigits("held_out", LONG).batch(torch.arange(64)).x0, real, FRAMES)
    if folder is not None:
        pictures(folder, {k: v for k, v in shown.items() if not k.startswith("causal")}, long)
    return {
        "rows": rows,
        "gap_closed": (cut - ours) / (cut - best),
        "faster": by["student"]["frames_per_second"] / by["teacher"]["frames_per_second"],
        "drift": {"student": curve.distance.tolist(), "real": truth.distance.tolist(), "growth": curve.growth,
                  "frozen": curve.frozen.tolist(), "empty": curve.empty.tolist()},
        "cache": cache_sizes(student, how, cond),
        "clips": clips, "sampling": built.sampling,
    }  # fmt: skip


def print_table(header: list[str], rows: list[list[str]]) -> None:
    print("| " + " | ".join(header) + " |\n|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


def report(found: dict[str, Any]) -> None:
    keys = ("frame_frechet", "frame_frechet_ratio", "frames_per_second", "first_frame_ms")
    print_table(
        ["row", "evaluations", *(k.replace("_", " ") for k in keys)],
        [[r["name"], str(r["evaluations"]), *(f"{r[k]:.2f}" for k in keys)] for r in found["rows"]],
    )
    print(
        f"gap closed {100 * found['gap_closed']:.1f} %, {found['faster']:.1f} times the teacher's frames per second\n"
    )
    drift = found["drift"]
    names = [f"{k * FRAMES + 1}-{(k + 1) * FRAMES}" for k in range(len(drift["student"]))]
    print_table(
        ["frames", *names],
        [[who, *(f"{v:.2f}" for v in drift[who])] for who in ("student", "real", "frozen", "empty")],
    )
    print(f"growth of the worst window over the first: {100 * drift['growth']:.0f} %\n")
    print_table(
        ["frames made", "held", "cache, kB"], [[str(a), str(b), f"{c / 1000:.0f}"] for a, b, c in found["cache"]]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/streaming"))
    parser.add_argument("--clips", type=int, default=512)
    parser.add_argument("--pictures", type=Path, default=None)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = measure(student_of(given.out / RECIPE), given.clips, given.pictures)
    (given.out / "streaming.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    report(found)


if __name__ == "__main__":
    main()
