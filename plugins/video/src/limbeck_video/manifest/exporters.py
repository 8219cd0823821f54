"""Manifest entries of views, panels and exporters of clips. Imports neither torch nor pydantic."""

from limbeck.manifest import Component

_OPTIONS = "limbeck_video.options.exporters:VideoOptions"

COMPONENTS = [
    Component(
        "view",
        "clip",
        "limbeck_video.views.clips:clip",
        summary="clips side by side, moving; as PNG a strip of frames",
        modality="video",
    ),
    Component(
        "panel",
        "drift",
        "limbeck_video.report.drift:drift",
        summary="long rollouts, window by window",
        modality="video",
    ),
    Component(
        "exporter",
        "mp4",
        "limbeck_video.exporters.video:export_mp4",
        summary="clips of the student as MP4 (H.264)",
        options=_OPTIONS,
        modality="video",
    ),
    Component(
        "exporter",
        "gif",
        "limbeck_video.exporters.video:export_gif",
        summary="clips of the student as endless GIFs",
        options=_OPTIONS,
        modality="video",
    ),
]
