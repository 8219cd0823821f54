"""Core's own manifest: built-ins come through the same door as everyone else's."""

from limbeck.manifest import Component, hookimpl

LIMBECK_API = 1


@hookimpl
def components():
    return [
        Component(
            "exporter",
            "torch",
            "limbeck.exporters:export_torch",
            summary="weights, a self-contained module and a note on how to call it, for plain PyTorch",
        ),
        Component(
            "exporter",
            "safetensors",
            "limbeck.exporters:export_safetensors",
            summary="the student's weights as one safetensors file, with the recipe and versions in its header",
        ),
    ]
