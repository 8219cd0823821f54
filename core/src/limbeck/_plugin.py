"""Core's own manifest: built-ins come through the same door as everyone else's."""

from limbeck.manifest import Component, hookimpl

LIMBECK_API = 1


@hookimpl
def components():
    return [
        Component(
            "exporter",
            "torch",
            "limbeck.export.torch_program:export_torch",
            summary="a torch.export program that samples with plain PyTorch, the weights and a model card",
        ),
        Component(
            "exporter",
            "safetensors",
            "limbeck.export.safetensors:export_safetensors",
            summary="the student's weights as one safetensors file, with the recipe and versions in its header",
        ),
        Component(
            "exporter",
            "teacher",
            "limbeck.export.teacher_files:export",
            summary="a run's network as one teacher file, with configuration, provenance and hash in its header",
        ),
        Component(
            "view",
            "vector",
            "limbeck.pictures.views:vector",
            summary="points in the plane, or a histogram; for every domain without a view of its own",
        ),
    ]
