"""Generators and teachers of sound, pipelines of diffusers among them. No torch, no pydantic."""

from limbeck.manifest import DENOISER, Component, bundled
from limbeck_diffusion.manifest.pipelines_families import family_components

COMPONENTS = [
    Component(
        "generator",
        "mel",
        "limbeck_audio.networks.mel_unet:mel_generator",
        summary="U-Net over mel spectrograms under the label of a word, on any Gaussian process",
        options="limbeck_audio.options.networks:MelGeneratorOptions",
        modality="audio",
        can=DENOISER | {"flow_map_time"},
        details={"flow_map_time": "with two_times: true"},
    ),
    bundled(
        "spoken_digits",
        "limbeck_audio",
        "spoken_digits_teacher.safetensors",
        generator="audio/mel",
        summary="bundled teacher of spoken digits, trained by recipe spoken_digits_teacher; on any Gaussian process",
        modality="audio",
        options="limbeck.export.teacher_options:MovableTeacherOptions",
    ),
    *family_components("audio"),
]
