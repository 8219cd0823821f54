"""Manifest of limbeck-3d. Imports neither torch nor pydantic."""

from limbeck.manifest import Component, hookimpl
from limbeck_3d.manifest.scenes import SCENES

LIMBECK_API = 1

_OPTIONS = "limbeck_3d.options.models"
_PACKAGE = "limbeck_3d"
_DENOISER = {"gaussian", "denoiser", "features", "trainable_copy", "null_condition", "sampling"}


def _recipe(name: str, summary: str, **details: str) -> Component:
    file = f"{_PACKAGE}:recipes/{name}.yaml"
    return Component("recipe", name, file, summary=summary, modality="3d", details=details)


_COMPONENTS = [
    Component(
        "data",
        "solids",
        f"{_PACKAGE}.data.views:Solids",
        summary="renders of captioned solids, alone and on pedestals, in every colour and from everywhere",
        options=f"{_OPTIONS}:SolidsOptions",
        modality="3d",
        can={"samples", "conditions", "held_out"},
        details={"extra": "meshes: true needs pip install 'limbeck-3d[meshes]'"},
        example={"views": 2},
    ),
    Component(
        "data",
        "prompt",
        f"{_PACKAGE}.data.views:Prompt",
        summary="one prompt seen from everywhere, with the true mesh where there is one",
        options=f"{_OPTIONS}:PromptOptions",
        modality="3d",
        can={"samples", "conditions", "held_out"},
    ),
    Component(
        "source",
        "cameras",
        f"{_PACKAGE}.data.views:RandomCameras",
        summary="random cameras around one prompt, each in front of a random background",
        options=f"{_OPTIONS}:CameraOptions",
        modality="3d",
    ),
    Component(
        "teacher",
        "views",
        f"{_PACKAGE}.networks.view_unet:views_teacher",
        summary="bundled teacher of views: prompt, camera and background in, 32-pixel image out",
        options=f"{_OPTIONS}:ViewsTeacherOptions",
        modality="3d",
        can=_DENOISER,
    ),
    Component(
        "teacher",
        "oracle",
        f"{_PACKAGE}.teachers.oracle:OracleViews",
        summary="closed-form teacher: a Gaussian around the true render of a known mesh, from every side",
        options=f"{_PACKAGE}.options.oracle:OracleOptions",
        modality="3d",
        can={"gaussian", "denoiser", "trainable_copy", "null_condition"},
    ),
    Component(
        "generator",
        "views",
        f"{_PACKAGE}.networks.view_unet:views_generator",
        summary="U-Net of views, conditioned on prompt, camera and background",
        options=f"{_OPTIONS}:ViewsGeneratorOptions",
        modality="3d",
        can=_DENOISER,
    ),
    Component(
        "sampler",
        "orbit",
        f"{_PACKAGE}.views.renders:Orbit",
        summary="renders a scene for the cameras asked for",
        modality="3d",
        can={"renders"},
    ),
    Component(
        "view",
        "renders",
        f"{_PACKAGE}.views.renders:renders",
        summary="a grid of renders, eight in a row, with the cameras' angles",
        modality="3d",
    ),
    Component(
        "metric",
        "silhouette_iou",
        f"{_PACKAGE}.metrics.scenes:SilhouetteIoU",
        summary="overlap of the scene's silhouettes with the true mesh's, over held-out views",
        options=f"{_OPTIONS}:SilhouetteOptions",
        modality="3d",
    ),
    Component(
        "metric",
        "chamfer",
        f"{_PACKAGE}.metrics.scenes:Chamfer",
        summary="distance between the scene's surface and the true mesh's",
        options=f"{_OPTIONS}:ChamferOptions",
        modality="3d",
    ),
    Component(
        "metric",
        "view_accuracy",
        f"{_PACKAGE}.metrics.scenes:ViewAccuracy",
        summary="shapes, colours and sides that a classifier reads in renders; fronts seen from the back (Janus)",
        modality="3d",
    ),
    _recipe("solids_teacher", "trains the bundled teacher of views (flow matching)"),
    _recipe("oracle_to_3d", "a mesh back from closed-form views of it: what score distillation itself can do"),
    _recipe("text_to_3d", "a mesh from a prompt: limbeck distill text_to_3d prompt='a red torus'", tour="4"),
    _recipe("solids_compare", "what objectives are compared on: text_to_3d with variants", compare="solids"),
]


@hookimpl
def components():
    return [*_COMPONENTS, *SCENES]
