"""Data of images. No torch, no pydantic."""

from limbeck.manifest import Component

COMPONENTS = [
    Component(
        "data",
        "digits",
        "limbeck_image.data.digits:Digits",
        summary="scikit-learn's 8x8 handwritten digits: 1,437 scans to train on, 360 held out",
        options="limbeck_image.options.data:DigitsDataOptions",
        modality="image",
        can={"samples", "conditions", "held_out"},
        reference="Alpaydin & Kaynak 1998 (UCI, CC BY 4.0)",
    ),
]
