"""Data and exporters of pipelines of diffusers. Imports neither torch nor pydantic.

The teachers are listed by the plugins of their modalities: image/diffusers, video/diffusers, audio/diffusers.
"""

from limbeck.manifest import Component

_PACKAGE = "limbeck_diffusion.pipelines"
_OPTIONS = f"{_PACKAGE}.data_options"

COMPONENTS = [
    Component(
        "data",
        "prompts",
        f"{_PACKAGE}.data:Prompts",
        summary="prompts of a file, as the embeddings that the teacher's pipeline makes of them; kept on disk",
        options=f"{_OPTIONS}:PromptsOptions",
        can={"conditions"},
        details={"files": "txt, jsonl, json, csv, parquet; fields caption, negative, class"},
        example=None,  # it needs the teacher of a pipeline
    ),
    Component(
        "data",
        "image_folder",
        f"{_PACKAGE}.data:ImageFolder",
        summary="images of a folder as latents of the teacher's pipeline, with captions or classes; kept on disk",
        options=f"{_OPTIONS}:ImageFolderOptions",
        modality="image",
        can={"samples", "conditions"},
        details={"captions": "metadata.jsonl (file_name, text), NAME.txt beside NAME.png, or subfolders as classes"},
        example=None,  # it needs the teacher of a pipeline
    ),
    Component(
        "exporter",
        "diffusers",
        f"{_PACKAGE}.exporters:export_diffusers",
        summary="a whole pipeline with the student in it and the scheduler of its few steps",
        options=f"{_OPTIONS}:PipelineExportOptions",
    ),
    Component(
        "exporter",
        "lora",
        f"{_PACKAGE}.exporters:export_lora",
        summary="the student's adapters in diffusers' own format, for pipe.load_lora_weights",
        options=f"{_OPTIONS}:LoRAExportOptions",
    ),
]
