"""Manifest entries of the network of views and of the teachers. Imports neither torch nor pydantic."""

from limbeck.manifest import DENOISER, Component, bundled

COMPONENTS = [
    bundled(
        "views",
        "limbeck_3d",
        "solids_teacher.safetensors",
        generator="3d/views",
        summary="bundled teacher of views: prompt, camera and background in, 32-pixel image out",
        modality="3d",
    ),
    Component(
        "teacher",
        "oracle",
        "limbeck_3d.teachers.oracle:OracleViews",
        summary="closed-form teacher: a Gaussian around the true render of a known mesh, from every side",
        options="limbeck_3d.options.teachers:OracleOptions",
        modality="3d",
        can={"gaussian", "denoiser", "trainable_copy", "null_condition"},
    ),
    Component(
        "generator",
        "views",
        "limbeck_3d.networks.view_unet:views_generator",
        summary="U-Net of views, conditioned on prompt, camera and background",
        options="limbeck_3d.options.networks:ViewsGeneratorOptions",
        modality="3d",
        can=DENOISER,
    ),
]
