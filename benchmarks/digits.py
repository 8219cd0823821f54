"""The figures on handwritten digits: the demo over three seeds, the other objectives at equal budget, the teacher's
curve.

`python benchmarks/digits.py demo|objectives|teacher [--out runs/benchmarks]`: prints Markdown tables and writes them as
JSON. A run that is already in --out is not repeated.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

import limbeck
from limbeck.runs.run import Run

SEEDS = (0, 1, 2)
METRICS = ("frechet", "frechet_held_out", "precision", "recall", "class_accuracy")

# Equal budget: as many network passes as digits_dmd2 makes; forward counts 1, forward and backward 3 (per sample).
#   dmd2: 2 (1 + 3) + 3 + 2 = 13 a step;  with discriminator: 2 (1 + 3 + 6) + 3 + 2 + 3 = 28
#   four steps: calls without gradient before each of the 3 rollouts: 3 of them with exit last, 1.5 with exit random
#   consistency (heun): 2 + 3 + 1 = 6;  ode_pairs: 3, and before that 35 for each of 4,096 pairs
PASSES = 800 * 13
OBJECTIVES: dict[str, tuple[str, int, tuple[int, ...], tuple[str, ...]]] = {
    # name in the table: recipe, training steps, calls of the student when it is judged, overrides
    "consistency": ("digits_consistency", PASSES // 6, (1, 2, 4), ()),
    "dmd2 with discriminator": ("digits_dmd2_gan", PASSES // 28, (1,), ()),
    "dmd2, 4 steps, exit last": ("digits_dmd2_4step", PASSES // 22, (1, 4), ()),
    "dmd2, 4 steps, exit random": ("digits_dmd2_4step", int(PASSES / 17.5), (1, 4), ("objective.rollout.exit=random",)),
    "ode_pairs": ("digits_ode_pairs", (PASSES - 4096 * 35 // 128) // 3, (1,), ()),
    "dmd2": ("digits_dmd2", 800, (1,), ()),
}


def run(recipe: str, folder: Path, *overrides: str) -> Run:
    """The finished run in `folder`, made if it is not there."""
    done = (folder / "run.json").is_file() and Run(folder).status == "finished"
    return Run(folder) if done else limbeck.distill(recipe, overrides=overrides, out=folder, overwrite=folder.exists())


def training_seconds(folder: Path) -> float:
    """Seconds in steps alone: evaluations and checkpoints left out."""
    lines = [json.loads(line) for line in (folder / "timings.jsonl").read_text().splitlines()]
    return lines[-1]["step"] * statistics.median(line["step_seconds"] for line in lines[1:])


def print_table(header: list[str], rows: list[list[str]]) -> None:
    print("| " + " | ".join(header) + " |\n|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    sys.stdout.flush()


def demo(out: Path) -> dict:
    found = {}
    for seed in SEEDS:
        finished = run("digits_dmd2", out / f"demo-{seed}", f"train.seed={seed}")
        rows = {row["role"]: row for row in finished.evaluation["rows"]}
        full, cut, student = (rows[k]["metrics"] for k in ("teacher", "teacher_cut", "student"))
        fewest = rows["teacher_fewest"]
        found[seed] = {
            "gap_closed": (cut["frechet"] - student["frechet"]) / (cut["frechet"] - full["frechet"]),
            "recall_behind": full["recall"] - student["recall"],
            "speed_up": fewest["ms_per_sample"] / rows["student"]["ms_per_sample"],
            "evaluations": fewest["evaluations"],
            "training_seconds": training_seconds(finished.path),
            "rows": rows,
        }
    header = ["seed", "row", "evaluations", "ms/sample", *(m.replace("_", " ") for m in METRICS)]
    table = []
    for seed, values in found.items():
        for row in values["rows"].values():
            ms = "" if row["ms_per_sample"] is None else f"{row['ms_per_sample']:.3f}"
            numbers = (f"{row['metrics'][m]:.3f}" if m in row["metrics"] else "" for m in METRICS)
            table.append([str(seed), row["name"], str(row["evaluations"]), ms, *numbers])
    print_table(header, table)
    print()
    keys = ["gap_closed", "recall_behind", "speed_up", "training_seconds"]
    print_table(["seed", *keys], [[str(s), *(f"{v[k]:.3f}" for k in keys)] for s, v in found.items()])
    return found


def objectives(out: Path) -> dict:
    from limbeck.evaluation import evaluate_student

    found, table = {}, []
    for name, (recipe, steps, calls, overrides) in OBJECTIVES.items():
        folder = out / "-".join([recipe, *(text.rpartition("=")[2] for text in overrides)])
        finished = run(recipe, folder, f"train.steps={steps}", "evaluate.every=null", *overrides)
        built, network = finished.built, finished.generator()
        seconds = training_seconds(finished.path)
        for count in calls:
            metrics = evaluate_student(built, network, steps=count)
            found[f"{name} {count}"] = {"steps": steps, "seconds": seconds, "metrics": metrics}
            table.append([name, str(count), str(steps), f"{seconds:.0f}", *(f"{metrics[m]:.3f}" for m in METRICS)])
    print_table(
        ["objective", "evaluations", "training steps", "training s", *(m.replace("_", " ") for m in METRICS)], table
    )
    return found


def teacher(out: Path) -> dict:
    """Every deterministic sampler at every number of steps; the fewest evaluations within 5 % of the best distance."""
    from limbeck.evaluation import fewest_evaluations
    from limbeck.recipe import load
    from limbeck.runs.build import build

    built = build(load("digits_dmd2"))
    samplers = [
        "euler",
        "heun",
        "dpmpp_2m",
        {"use": "dpmpp_2m", "spacing": "log_snr"},
        {"use": "heun", "spacing": "karras"},
    ]
    found = fewest_evaluations(built, samplers, (4, 6, 8, 9, 10, 11, 12, 14, 18, 24, 32))
    table = [
        [
            row["name"],
            str(row["evaluations"]),
            f"{row['ms_per_sample']:.3f}",
            *(f"{row['metrics'][m]:.3f}" for m in METRICS),
        ]
        for row in found["rows"]
    ]
    print_table(["teacher", "evaluations", "ms/sample", *(m.replace("_", " ") for m in METRICS)], table)
    for key in ("best", "fewest"):
        print(key, found[key]["name"], found[key]["evaluations"], found[key]["metrics"]["frechet"])
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["demo", "objectives", "teacher"], help="demo, objectives, teacher")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for what in arguments.what:
        print(f"\n{what}\n")
        result = {"demo": demo, "objectives": objectives, "teacher": teacher}[what](arguments.out)
        (arguments.out / f"{what}.json").write_text(json.dumps(result, indent=2))
