"""Saved samples as fragments of the page: the fragment that the run kept, a data URI of their PNG, or what the domain's
own view makes of them."""

import re
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from limbeck.pictures.encoding import data_uri

STILL = ("pixels", "renders", "vector", "")  # domains whose PNG shows everything; others have their view


@dataclass(frozen=True)
class Frame:
    """Samples at one step."""

    step: int
    html: Markup


def fragment(stem: Path, label: str) -> Markup | None:
    """What is saved at `stem`.html / .png / .safetensors, as HTML. None when nothing is there."""
    kept, image, tensors = (stem.with_name(stem.name + suffix) for suffix in (".html", ".png", ".safetensors"))
    if kept.exists():
        return Markup(kept.read_text(encoding="utf-8"))
    domain = _domain(tensors)
    if tensors.exists() and (domain not in STILL or not image.exists()):
        shown = _viewed(tensors, domain or "vector")
        if shown is not None:
            return shown
    if image.exists():
        return Markup('<img class="grid" alt="{}" src="{}">').format(label, data_uri("image/png", image.read_bytes()))
    return None


def _domain(tensors: Path) -> str:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(tensors, framework="numpy") as file:
            return (file.metadata() or {}).get("domain", "")
    except (OSError, SafetensorError):
        return ""


def _viewed(tensors: Path, domain: str) -> Markup | None:
    """By the view of the domain; None when the plugin that brings it is gone or cannot show this."""
    try:
        from safetensors.torch import load_file

        from limbeck.pictures.views import picture

        content = load_file(tensors)
        return Markup(picture(content["samples"], content.get("cond"), domain=domain).html())
    except Exception:  # a report must be written whatever a view does; the PNG stands in
        return None


def frames(folder: Path, limit: int = 24) -> list[Frame]:
    """Sample grids over time, at most `limit` of them, first and last always among them."""
    stems: dict[int, Path] = {}
    for path in folder.glob("step-*.*"):
        match = re.fullmatch(r"step-(\d+)", path.stem)
        if match and path.suffix in (".html", ".png", ".safetensors"):
            stems[int(match[1])] = path.with_suffix("")
    steps = sorted(stems)
    if len(steps) > limit:
        steps = sorted({steps[round(k * (len(steps) - 1) / (limit - 1))] for k in range(limit)})
    shown = [(step, fragment(stems[step], f"samples at step {step}")) for step in steps]
    return [Frame(step, html) for step, html in shown if html is not None]
