"""Generators and teachers of images, pipelines of diffusers among them. No torch, no pydantic."""

from limbeck.manifest import DENOISER, Component, bundled
from limbeck_diffusion.manifest.pipelines_families import family_components

COMPONENTS = [
    Component(
        "generator",
        "digits",
        "limbeck_image.networks.unet:digits_generator",
        summary="class-conditional U-Net for digits, on any Gaussian process",
        options="limbeck_image.options.networks:DigitsGeneratorOptions",
        modality="image",
        can=DENOISER | {"flow_map_time"},
        details={"flow_map_time": "with two_times: true"},
    ),
    bundled(
        "digits",
        "limbeck_image",
        "digits_teacher.safetensors",
        generator="image/digits",
        summary="bundled class-conditional digits teacher, trained by recipe digits_teacher",
        modality="image",
    ),
    *family_components("image"),
]
