"""Manifest entries of the video data, metrics, views and exporters. Imports neither torch nor pydantic."""

from limbeck.manifest import Component

_OPTIONS = "limbeck_video.options.clips"
_PACKAGE = "limbeck_video"


def _metric(name: str, attribute: str, summary: str, options: str | None = None, reference: str = "") -> Component:
    return Component(
        "metric",
        name,
        f"{_PACKAGE}.{attribute}",
        summary=summary,
        options=f"{_OPTIONS}:{options}" if options else None,
        modality="video",
        reference=reference,
    )


COMPONENTS = [
    Component(
        "data",
        "moving_digits",
        f"{_PACKAGE}.data.moving_digits:MovingDigits",
        summary="two of scikit-learn's handwritten digits per clip, bouncing; scans, speeds and starts are held out",
        options=f"{_OPTIONS}:MovingDigitsOptions",
        modality="video",
        can={"samples", "conditions", "held_out"},
        reference="Alpaydin & Kaynak 1998 (UCI, CC BY 4.0); in motion after Srivastava et al. 2015",
        example={"clips": 200},
    ),
    Component(
        "data",
        "video_folder",
        f"{_PACKAGE}.data.folder:VideoFolder",
        summary="any folder of videos, cut into clips; whole files are held out",
        options=f"{_OPTIONS}:VideoFolderOptions",
        modality="video",
        can={"samples", "held_out"},
        example=None,
    ),
    _metric(
        "frame_frechet",
        "metrics.trajectory:FrameFrechet",
        "Frechet distance of single frames to training clips, and its ratio to that of held-out clips",
        "FrechetOptions",
        "Heusel et al. 2017",
    ),
    _metric(
        "motion_frechet",
        "metrics.trajectory:MotionFrechet",
        "Frechet distance of windows of 12 frames to training clips, and its ratio to that of held-out clips",
        "FrechetOptions",
        "Unterthiner et al. 2018",
    ),
    _metric("label_accuracy", "metrics.trajectory:LabelAccuracy", "share of clips that show both digits asked for"),
    _metric(
        "trajectory_error",
        "metrics.trajectory:TrajectoryError",
        "distance of the digits from the best paths of bouncing bodies, in pixels",
        "TrajectoryOptions",
    ),
    _metric("flicker", "metrics.trajectory:Flicker", "how much brightness jumps from frame to frame"),
    _metric(
        "drift",
        "metrics.drift:Drift",
        "rolls a streaming model out to five times the length trained on: distance by window, frozen and empty clips",
        "RolloutOptions",
    ),
    _metric(
        "streaming_speed",
        "metrics.speed:StreamingSpeed",
        "frames per second and milliseconds to the first frame, with and without decoding",
        "SpeedOptions",
    ),
    Component(
        "view",
        "clip",
        f"{_PACKAGE}.views.clips:clip",
        summary="clips side by side, moving; as PNG a film strip",
        modality="video",
    ),
    Component(
        "panel",
        "drift",
        f"{_PACKAGE}.report.drift:drift",
        summary="long rollouts, window by window",
        modality="video",
    ),
    Component(
        "exporter",
        "mp4",
        f"{_PACKAGE}.exporters.video:export_mp4",
        summary="clips of the student as MP4 (H.264)",
        options=f"{_OPTIONS}:FilmOptions",
        modality="video",
    ),
    Component(
        "exporter",
        "gif",
        f"{_PACKAGE}.exporters.video:export_gif",
        summary="clips of the student as endless GIFs",
        options=f"{_OPTIONS}:FilmOptions",
        modality="video",
    ),
]
