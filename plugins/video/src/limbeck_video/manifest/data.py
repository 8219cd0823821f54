"""Manifest entries of the video data. Imports neither torch nor pydantic."""

from limbeck.manifest import Component

_OPTIONS = "limbeck_video.options.data"

COMPONENTS = [
    Component(
        "data",
        "moving_digits",
        "limbeck_video.data.moving_digits:MovingDigits",
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
        "limbeck_video.data.folder:VideoFolder",
        summary="any folder of videos, cut into clips; whole files are held out",
        options=f"{_OPTIONS}:VideoFolderOptions",
        modality="video",
        can={"samples", "held_out"},
        example=None,
    ),
]
