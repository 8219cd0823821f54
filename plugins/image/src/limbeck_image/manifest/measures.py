"""Metrics and views of images. No torch, no pydantic."""

from limbeck.manifest import Component

COMPONENTS = [
    Component(
        "metric",
        "frechet",
        "limbeck_image.metrics.frechet:Frechet",
        summary="Frechet distance to the training scans (and to the held-out ones) in classifier features",
        modality="image",
        reference="Heusel et al. 2017",
    ),
    Component(
        "metric",
        "precision_recall",
        "limbeck_image.metrics.precision_recall:PrecisionRecall",
        summary="samples among the scans, scans among the samples, by nearest-neighbour balls",
        options="limbeck_image.options.measures:PrecisionRecallOptions",
        modality="image",
        reference="Kynkaanniemi et al. 2019",
    ),
    Component(
        "metric",
        "class_accuracy",
        "limbeck_image.metrics.class_accuracy:ClassAccuracy",
        summary="share of samples that the classifier assigns to the wanted label",
        modality="image",
    ),
    Component(
        "metric",
        "nearest_neighbour",
        "limbeck_image.metrics.nearest_neighbour:NearestNeighbour",
        summary="distance to the nearest training scan against that of held-out scans: memorising shows",
        options="limbeck_image.options.measures:NearestNeighbourOptions",
        modality="image",
    ),
    Component(
        "view",
        "pixels",
        "limbeck.pictures.grids:image_grid",
        summary="a grid of images",
        modality="image",
    ),
]
