"""The part of the manifest that is about scenes and what becomes of them. Imports neither torch nor pydantic."""

from limbeck.manifest import Component

_OPTIONS = "limbeck_3d.scene_options"
_SCENE = {"sampling", "renders"}

SCENES = [
    Component(
        "generator",
        "image",
        "limbeck_3d.scenes:ImageScene",
        summary="an image as the scene: the parameter is the picture, the camera changes nothing",
        options=f"{_OPTIONS}:ImageSceneOptions",
        modality="3d",
        can=_SCENE,
    ),
    Component(
        "generator",
        "voxels",
        "limbeck_3d.scenes:Voxels",
        summary="a grid of densities and colours, by differentiable volume rendering",
        options=f"{_OPTIONS}:VoxelOptions",
        modality="3d",
        can=_SCENE,
        reference="Mildenhall et al. 2020 (rendering), Sun et al. 2022 (dense grids)",
    ),
    Component(
        "generator",
        "splats",
        "limbeck_3d.splat_scene:Splats",
        summary="Gaussians in space, by splatting in plain torch or by gsplat",
        options=f"{_OPTIONS}:SplatOptions",
        modality="3d",
        can=_SCENE,
        reference="Kerbl et al. 2023",
    ),
]
