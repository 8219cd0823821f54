"""Manifest entries of the data of scenes and of its source of cameras. Imports neither torch nor pydantic."""

from limbeck.manifest import Component

COMPONENTS = [
    Component(
        "data",
        "solids",
        "limbeck_3d.data.solids:Solids",
        summary="renders of captioned solids, alone and on pedestals, in every colour and from everywhere",
        options="limbeck_3d.options.data:SolidsOptions",
        modality="3d",
        can={"samples", "conditions", "held_out"},
        details={"extra": "meshes: true needs pip install 'limbeck-3d[meshes]'"},
        example={"views": 2},
    ),
    Component(
        "data",
        "prompt",
        "limbeck_3d.data.prompt:Prompt",
        summary="one prompt seen from everywhere, with the true mesh where there is one",
        options="limbeck_3d.options.data:PromptOptions",
        modality="3d",
        can={"samples", "conditions", "held_out"},
    ),
    Component(
        "source",
        "cameras",
        "limbeck_3d.sources.cameras:RandomCameras",
        summary="random cameras around one prompt, each in front of a random background",
        options="limbeck_3d.options.cameras:CameraOptions",
        modality="3d",
    ),
]
