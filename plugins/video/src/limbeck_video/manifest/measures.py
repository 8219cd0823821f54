"""Manifest entries of the metrics of clips. Imports neither torch nor pydantic."""

from limbeck.manifest import Component

_OPTIONS = "limbeck_video.options.measures"


def _metric(name: str, attribute: str, summary: str, options: str | None = None, reference: str = "") -> Component:
    return Component(
        "metric",
        name,
        f"limbeck_video.metrics.{attribute}",
        summary=summary,
        options=f"{_OPTIONS}:{options}" if options else None,
        modality="video",
        reference=reference,
    )


COMPONENTS = [
    _metric(
        "frame_frechet",
        "frechet:FrameFrechet",
        "Frechet distance of single frames to training clips, and its ratio to that of held-out clips",
        "FrechetOptions",
        "Heusel et al. 2017",
    ),
    _metric(
        "motion_frechet",
        "frechet:MotionFrechet",
        "Frechet distance of windows of 12 frames to training clips, and its ratio to that of held-out clips",
        "FrechetOptions",
        "Unterthiner et al. 2018",
    ),
    _metric("label_accuracy", "label_accuracy:LabelAccuracy", "share of clips that show both requested digits"),
    _metric(
        "trajectory_error",
        "trajectory:TrajectoryError",
        "distance of the digits from the best paths of bouncing bodies, in pixels",
        "TrajectoryOptions",
    ),
    _metric("flicker", "flicker:Flicker", "how much brightness jumps from frame to frame"),
    _metric(
        "drift",
        "drift:Drift",
        "rolls a streaming model out to five times the length trained on: distance by window, frozen and empty clips",
        "RolloutOptions",
    ),
    _metric(
        "streaming_speed",
        "speed:StreamingSpeed",
        "frames per second and milliseconds to the first frame, with and without decoding",
        "SpeedOptions",
    ),
]
