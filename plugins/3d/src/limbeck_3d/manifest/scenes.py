"""Manifest entries of scenes, how they are rendered, and what watches them. Imports neither torch nor pydantic."""

from limbeck.manifest import Component

_OPTIONS = "limbeck_3d.options.scenes"
_SCENE = {"sampling", "renders"}

COMPONENTS = [
    Component(
        "generator",
        "image",
        "limbeck_3d.scenes.image:ImageScene",
        summary="an image as the scene: the parameter is the picture, the camera changes nothing",
        options=f"{_OPTIONS}:ImageSceneOptions",
        modality="3d",
        can=_SCENE,
    ),
    Component(
        "generator",
        "voxels",
        "limbeck_3d.scenes.voxels:Voxels",
        summary="a grid of densities and colours, by differentiable volume rendering",
        options=f"{_OPTIONS}:VoxelOptions",
        modality="3d",
        example={"grid": 8, "samples": 8},
        can=_SCENE,
        reference="Mildenhall et al. 2020 (rendering), Sun et al. 2022 (dense grids)",
    ),
    Component(
        "generator",
        "splats",
        "limbeck_3d.scenes.splats:Splats",
        summary="Gaussians in space, by splatting in plain torch or by gsplat",
        options=f"{_OPTIONS}:SplatOptions",
        modality="3d",
        example={"count": 16},
        can=_SCENE,
        reference="Kerbl et al. 2023",
    ),
    Component(
        "sampler",
        "orbit",
        "limbeck_3d.samplers.orbit:Orbit",
        summary="renders a scene for the cameras of the conditions",
        modality="3d",
        can={"renders"},
    ),
    Component(
        "callback",
        "collapse",
        "limbeck_3d.callbacks.collapse:Collapse",
        summary="warns early that a field became empty or full, with what to change",
        options="limbeck_3d.options.callbacks:CollapseOptions",
        modality="3d",
    ),
]
