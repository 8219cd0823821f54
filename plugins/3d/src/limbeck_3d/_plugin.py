"""Manifest of limbeck-3d. Imports neither torch nor pydantic."""

from limbeck.manifest import Component, hookimpl
from limbeck_3d.scene_components import SCENES

LIMBECK_API = 1

_OPTIONS = "limbeck_3d.options"
_PACKAGE = "limbeck_3d"
_DENOISER = {"gaussian", "denoiser", "features", "trainable_copy", "null_condition", "sampling"}


def _recipe(name: str, summary: str) -> Component:
    return Component("recipe", name, f"{_PACKAGE}:recipes/{name}.yaml", summary=summary, modality="3d")


_COMPONENTS = [
    Component(
        "data",
        "solids",
        f"{_PACKAGE}.data:Solids",
        summary="renders of captioned solids, alone and on pedestals, in every colour and from everywhere",
        options=f"{_OPTIONS}:SolidsOptions",
        modality="3d",
        can={"samples", "conditions", "held_out"},
        details={"extra": "meshes: true needs pip install 'limbeck-3d[meshes]'"},
    ),
    Component(
        "data",
        "prompt",
        f"{_PACKAGE}.data:Prompt",
        summary="one prompt seen from everywhere, with the true mesh where there is one",
        options=f"{_OPTIONS}:PromptOptions",
        modality="3d",
        can={"samples", "conditions", "held_out"},
    ),
    Component(
        "source",
        "cameras",
        f"{_PACKAGE}.data:RandomCameras",
        summary="random cameras around one prompt, each in front of a random background",
        options=f"{_OPTIONS}:CameraOptions",
        modality="3d",
    ),
    Component(
        "teacher",
        "views",
        f"{_PACKAGE}.teacher:views_teacher",
        summary="bundled teacher of views: prompt, camera and background in, 32-pixel image out",
        options=f"{_OPTIONS}:ViewsTeacherOptions",
        modality="3d",
        can=_DENOISER,
    ),
    Component(
        "teacher",
        "oracle",
        f"{_PACKAGE}.oracle:OracleViews",
        summary="closed-form teacher: a Gaussian around the true render of a known mesh, from every side",
        options=f"{_PACKAGE}.oracle_options:OracleOptions",
        modality="3d",
        can={"gaussian", "denoiser", "trainable_copy", "null_condition"},
    ),
    Component(
        "generator",
        "views",
        f"{_PACKAGE}.teacher:views_generator",
        summary="U-Net of views, conditioned on prompt, camera and background",
        options=f"{_OPTIONS}:ViewsGeneratorOptions",
        modality="3d",
        can=_DENOISER,
    ),
    _recipe("solids_teacher", "trains the bundled teacher of views (flow matching)"),
]


@hookimpl
def components():
    return [*_COMPONENTS, *SCENES]
