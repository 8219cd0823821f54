"""Exporters of language models."""

from limbeck.manifest import Component

COMPONENTS = [
    Component(
        "exporter",
        "transformers",
        "limbeck_text.exporters.transformers:export_transformers",
        summary="a folder for AutoModelForCausalLM and AutoTokenizer; adapters are merged",
        options="limbeck_text.options.exporters:TransformersExportOptions",
        modality="text",
    ),
    Component(
        "exporter",
        "peft",
        "limbeck_text.exporters.transformers:export_peft",
        summary="a folder with the low-rank adapters alone, for PeftModel.from_pretrained",
        options="limbeck_text.options.exporters:PeftExportOptions",
        modality="text",
    ),
]
