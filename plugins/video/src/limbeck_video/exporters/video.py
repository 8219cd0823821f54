"""Clips of a student as video files: MP4 that every player reads, and GIF.

An exporter is `exporter(run, directory, **options) -> list of files`. Videos are made in memory and files written aside
and renamed, so an interruption leaves whole files only.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import LimbeckError, NonFinite
from limbeck.export.folder import prepare
from limbeck.files import write_whole
from limbeck.sampling.samples import balanced_conditions, evaluating
from limbeck_video.encoding import video
from limbeck_video.options.exporters import VideoOptions
from limbeck_video.samplers.rollouts import long_rollout, streams


def export_mp4(run: Any, directory: Path | str, **options: Any) -> list[Path]:
    """clip-01.mp4, ... (H.264), and clips.json: labels, frames, rate, how they were sampled."""
    return _written(run, directory, ".mp4", video.mp4, VideoOptions(**options))


def export_gif(run: Any, directory: Path | str, **options: Any) -> list[Path]:
    """clip-01.gif, ..., endless, and clips.json."""
    return _written(run, directory, ".gif", video.gif, VideoOptions(**options))


def _written(
    run: Any, directory: Path | str, suffix: str, made: Callable[..., bytes], chosen: VideoOptions
) -> list[Path]:
    clips, cond = sampled(run, chosen)
    directory = prepare(directory, chosen.overwrite)
    digits = max(2, len(str(chosen.count)))
    zoom = video.zoom_to(chosen.size, *clips.shape[-2:])
    paths, clips_json = [], []
    for k, clip in enumerate(clips):
        path = write_whole(directory / f"clip-{k + 1:0{digits}}{suffix}", made(video.pictures(clip, zoom), chosen.fps))
        paths.append(path)
        label = cond[k].tolist() if isinstance(cond, Tensor) else cond[k] if cond is not None else None
        clips_json.append({"file": path.name, "condition": label})
    facts = {
        "frames": clips.shape[1],
        "fps": chosen.fps,
        "pixels": list(clips.shape[-2:]),
        "enlarged": zoom,
        "seed": chosen.seed,
        "clips": clips_json,
    }
    text = json.dumps(facts, indent=2, default=str) + "\n"
    return [*paths, write_whole(directory / "clips.json", text)]


def sampled(run: Any, chosen: VideoOptions) -> tuple[Tensor, Any]:
    """Decoded clips (N, F, C, H, W) of the student, and their conditions."""
    if chosen.frames is None or chosen.frames == run.built.generator.space.event[0]:
        found = run.sample(chosen.count, seed=chosen.seed)
        clips, cond = found.seen(), found.cond
    else:
        sampler, network = run.built.sampler, run.generator()
        if not streams(sampler):
            raise LimbeckError(
                f"the student is sampled in whole clips of {run.built.generator.space.event[0]} frames, so "
                f"{chosen.frames} are not possible. Leave frames out, or train one that streams: sampling: "
                "{use: streaming}"
            )
        cond = balanced_conditions(run.built.data, chosen.count, chosen.seed)
        with evaluating(network):
            steps = run.built.sampling_steps
            made = long_rollout(
                network, sampler, cond, frames=chosen.frames, steps=steps, seed=chosen.seed, rows=chosen.count
            )
            clips = network.space.codec.decode(made)
    if clips.ndim != 5:
        raise LimbeckError(
            f"videos are made of clips (N, F, C, H, W), and this student makes {tuple(clips.shape)}. For an exporter "
            "that fits: limbeck list exporters"
        )
    if not bool(torch.isfinite(clips).all()):
        raise NonFinite("the student makes values that are not finite. Export an earlier checkpoint")
    return clips, cond


__all__ = ["export_gif", "export_mp4", "sampled"]
