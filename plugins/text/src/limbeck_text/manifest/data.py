"""Data of text."""

from limbeck.manifest import Component

COMPONENTS = [
    Component(
        "data",
        "pydocs",
        "limbeck_text.data.pydocs:Pydocs",
        summary="text that ships with CPython, or a folder of your own, in windows of tokens",
        options="limbeck_text.options.data:PydocsOptions",
        modality="text",
        can={"samples", "conditions", "held_out"},
        details={"conditions": "with prompt: N, the first N tokens of a window", "licence": "PSF-2.0 (CPython)"},
        example={"length": 32},
    ),
]
