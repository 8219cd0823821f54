"""Text to 3D: six prompts by four objectives, as a table and a grid of pictures.

`python benchmarks/text_to_3d.py [--objectives sds,csd,vsd,ism] [--out runs/benchmarks/text_to_3d]`: every asset is one
run of `limbeck distill text_to_3d` in a process of its own, so that its peak memory is its own. A run that is already
in --out is not repeated. Prints Markdown, writes table.json and grid.png. The prompts were written down before the
first run.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

from limbeck.networks.scenes import Cameras
from limbeck.pictures.grids import image_grid
from limbeck.recipe import load, variant
from limbeck.runs.run import Run
from limbeck_3d.data.cameras import conditions_of
from limbeck_3d.geometry import solids
from limbeck_3d.prompts.captions import encode
from limbeck_3d.rendering.rasterise import over, rasterise

PROMPTS = (
    "a red torus",
    "a green cone",
    "a blue box",
    "a yellow cylinder",
    "a purple cross",
    "a red torus on a blue box",
)
OBJECTIVES = ("sds", "csd", "vsd", "ism")
METRICS = ("silhouette_iou", "silhouette_iou_worst", "chamfer", "named", "view_accuracy", "janus")
VIEWS = ((20.0, 15.0), (110.0, 15.0), (200.0, 40.0))  # azimuth, elevation of the pictures


def folder_of(out: Path, prompt: str, objective: str) -> Path:
    return out / f"{prompt.removeprefix('a ').replace(' ', '-')}-{objective}"


def make(out: Path, prompt: str, objective: str, overrides: list[str]) -> dict:
    """The row of one asset, run if it is not there: metrics, seconds of the whole command, peak memory in MB."""
    folder = folder_of(out, prompt, objective)
    if not (folder / "cost.json").is_file():
        recipe = folder.with_suffix(".yaml")
        resolved = variant(load("text_to_3d"), objective, [f"data.prompt={prompt}", *overrides])
        recipe.write_text(resolved.to_yaml(), encoding="utf-8")
        command = [sys.executable, "-m", "limbeck", "distill", str(recipe), "--out", str(folder), "--overwrite"]
        started = time.perf_counter()
        process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{' '.join(command)} failed with {os.waitstatus_to_exitcode(status)}")
        cost = {
            "seconds": time.perf_counter() - started,
            "cpu_seconds": used.ru_utime + used.ru_stime,
            "peak_mb": used.ru_maxrss / 1024,
        }
        (folder / "cost.json").write_text(json.dumps(cost))
    cost = json.loads((folder / "cost.json").read_text())
    student = next(row for row in Run(folder).evaluation["rows"] if row["role"] == "student")
    return {"prompt": prompt, "objective": objective, **cost, **{k: student["metrics"].get(k) for k in METRICS}}


def cameras() -> Cameras:
    azimuth, elevation = (torch.tensor(values) for values in zip(*VIEWS, strict=True))
    return Cameras(
        azimuth=azimuth, elevation=elevation, distance=torch.full_like(azimuth, 3.1), fov=torch.full_like(azimuth, 40.0)
    )


def pictures(out: Path, prompt: str, objectives: list[str], size: int = 64) -> torch.Tensor:
    """The true mesh and what each objective made of the prompt, three views each, ((1 + objectives) * 3, 3, H, W)."""
    where, white = cameras(), torch.full((len(VIEWS), 3), 0.9)
    seen = rasterise(solids.surface(solids.build(prompt)), where, size)
    shown = [over(seen.colour, seen.alpha, white)]
    for objective in objectives:
        scene = Run(folder_of(out, prompt, objective)).generator().eval()
        scene.size = size
        with torch.no_grad():
            shown.append(scene(conditions_of(encode(prompt), where, white)).image)
    return torch.cat(shown)


def shown(value: float | None, digits: int = 2) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def report(rows: list[dict]) -> str:
    lines = [
        "| prompt | objective | IoU | worst view | Chamfer | named | side | Janus | seconds | CPU seconds | peak MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        numbers = [shown(row[key], 3 if key == "chamfer" else 2) for key in METRICS]
        costs = [shown(row["seconds"], 0), shown(row["cpu_seconds"], 0), shown(row["peak_mb"], 0)]
        lines.append(f"| {row['prompt']} | {row['objective']} | {' | '.join([*numbers, *costs])} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objectives", default=",".join(OBJECTIVES))
    parser.add_argument("--prompts", default=",".join(PROMPTS))
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/text_to_3d"))
    parser.add_argument("overrides", nargs="*", help="path=value, for every run")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    objectives, prompts = chosen.objectives.split(","), chosen.prompts.split(",")
    rows = []
    for objective in objectives:
        for prompt in prompts:
            rows.append(make(chosen.out, prompt, objective, chosen.overrides))
            print(json.dumps(rows[-1]), flush=True)
    (chosen.out / "table.json").write_text(json.dumps(rows, indent=2) + "\n")
    print(report(rows))
    images = torch.cat([pictures(chosen.out, prompt, objectives) for prompt in prompts])
    heads = [name for name in ("true mesh", *objectives) for _ in VIEWS]
    image_grid(images, columns=len(heads), captions=heads * len(prompts), cell=64).save(chosen.out / "grid.png")
    print(f"pictures: {chosen.out / 'grid.png'}")


if __name__ == "__main__":
    main()
