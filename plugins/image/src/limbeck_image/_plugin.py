"""Manifest of limbeck-image. Imports neither torch nor pydantic."""

from limbeck.manifest import Component, hookimpl
from limbeck_image.manifest import pipelines as _diffusers_manifest

LIMBECK_API = 1

_OPTIONS = "limbeck_image.options.digits"
_PACKAGE = "limbeck_image"
_DENOISER = {"gaussian", "denoiser", "features", "trainable_copy", "null_condition", "sampling"}


def _recipe(name: str, summary: str, **details: str) -> Component:
    file = f"{_PACKAGE}:recipes/{name}.yaml"
    return Component("recipe", name, file, summary=summary, modality="image", details=details)


_COMPONENTS = [
    Component(
        "data",
        "digits",
        f"{_PACKAGE}.data.digits:Digits",
        summary="scikit-learn's 8x8 handwritten digits: 1,437 scans to train on, 360 held out",
        options=f"{_OPTIONS}:DigitsDataOptions",
        modality="image",
        can={"samples", "conditions", "held_out"},
        reference="Alpaydin & Kaynak 1998 (UCI, CC BY 4.0)",
    ),
    Component(
        "teacher",
        "digits",
        f"{_PACKAGE}.networks.unet:digits_teacher",
        summary="bundled class-conditional digits teacher, trained by recipe digits_teacher",
        options=f"{_OPTIONS}:DigitsTeacherOptions",
        modality="image",
        can=_DENOISER,
    ),
    Component(
        "generator",
        "digits",
        f"{_PACKAGE}.networks.unet:digits_generator",
        summary="class-conditional U-Net for digits, on any Gaussian process",
        options=f"{_OPTIONS}:DigitsGeneratorOptions",
        modality="image",
        can=_DENOISER | {"flow_map_time"},
        details={"flow_map_time": "with two_times: true"},
    ),
    Component(
        "metric",
        "frechet",
        f"{_PACKAGE}.metrics.digits:Frechet",
        summary="Frechet distance to the training scans (and to the held-out ones) in classifier features",
        modality="image",
        reference="Heusel et al. 2017",
    ),
    Component(
        "metric",
        "precision_recall",
        f"{_PACKAGE}.metrics.digits:PrecisionRecall",
        summary="samples among the scans, scans among the samples, by nearest-neighbour balls",
        options=f"{_OPTIONS}:PrecisionRecallOptions",
        modality="image",
        reference="Kynkaanniemi et al. 2019",
    ),
    Component(
        "metric",
        "class_accuracy",
        f"{_PACKAGE}.metrics.digits:ClassAccuracy",
        summary="share of samples that the classifier reads as the label asked for",
        modality="image",
    ),
    Component(
        "metric",
        "nearest_neighbour",
        f"{_PACKAGE}.metrics.digits:NearestNeighbour",
        summary="distance to the nearest training scan against that of held-out scans: memorising shows",
        options=f"{_OPTIONS}:NearestNeighbourOptions",
        modality="image",
    ),
    Component(
        "view",
        "pixels",
        f"{_PACKAGE}.views.grids:pixels",
        summary="a grid of images",
        modality="image",
    ),
    _recipe("digits_teacher", "trains the bundled digits teacher (flow matching)"),
    _recipe("digits_dmd2", "distils the digits teacher into one step by distribution matching", tour="1"),
    _recipe("digits_dmd2_gan", "digits_dmd2 with a discriminator and real scans"),
    _recipe("digits_dmd2_4step", "distils the digits teacher into four steps, by backward simulation"),
    _recipe("digits_ode_pairs", "distils the digits teacher into one step by regression on stored pairs"),
    _recipe("digits_consistency", "distils the digits teacher into few steps by consistency distillation"),
    _recipe("digits_compare", "what objectives are compared on: digits_dmd2 with variants", compare="digits"),
]


@hookimpl
def components():
    return [*_COMPONENTS, *_diffusers_manifest.COMPONENTS]
