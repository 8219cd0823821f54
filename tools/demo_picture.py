"""The picture of the README, from a finished run: python tools/demo_picture.py runs/demo docs/images/digits_dmd2.png

Every column starts from one noise; rows are the teacher, the teacher cut to one step, and the student.
"""

import json
import sys
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from safetensors.torch import load_file

ZOOM, GAP, LABEL, PER_CLASS = 5, 8, 190, 2
ROLES = ("teacher", "teacher_cut", "student")


def main(run: Path, out: Path) -> None:
    table = {row["role"]: row for row in json.loads((run / "evaluation.json").read_text())["rows"]}
    rows = [table[role] for role in ROLES]
    models = [load_file(run / f"samples/comparison/{role}.safetensors") for role in ROLES]
    cond = models[0]["cond"]
    chosen = torch.cat([torch.nonzero(cond == label).flatten()[:PER_CLASS] for label in range(10)])
    size = models[0]["samples"].shape[-1] * ZOOM
    sheet = Image.new("L", (LABEL + len(chosen) * (size + GAP) + GAP, len(models) * (size + GAP) + GAP), 255)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for i, (model, row) in enumerate(zip(models, rows, strict=True)):
        top = GAP + i * (size + GAP)
        calls = row["evaluations"]
        draw.text((GAP, top + 2), row["name"], fill=0, font=font)
        draw.text((GAP, top + 20), f"{calls} evaluation{'s' * (calls != 1)}", fill=110, font=font)
        for k, sample in enumerate(model["samples"][chosen]):
            pixels = ((1 - sample[0].clamp(-1, 1)) * 127.5).round().to(torch.uint8).numpy()  # ink is dark
            image = Image.fromarray(pixels).resize((size, size), Image.Resampling.NEAREST)
            sheet.paste(image, (LABEL + k * (size + GAP), top))
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out, optimize=True)
    print(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
