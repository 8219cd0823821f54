"""Manifest entries of the metrics of scenes. Imports neither torch nor pydantic."""

from limbeck.manifest import Component

_OPTIONS = "limbeck_3d.options.measures"

COMPONENTS = [
    Component(
        "metric",
        "silhouette_iou",
        "limbeck_3d.metrics.silhouette:SilhouetteIoU",
        summary="overlap of the scene's silhouettes with the true mesh's, over held-out views",
        options=f"{_OPTIONS}:SilhouetteOptions",
        modality="3d",
    ),
    Component(
        "metric",
        "chamfer",
        "limbeck_3d.metrics.surface:Chamfer",
        summary="distance between the scene's surface and the true mesh's",
        options=f"{_OPTIONS}:ChamferOptions",
        modality="3d",
    ),
    Component(
        "metric",
        "view_accuracy",
        "limbeck_3d.metrics.views:ViewAccuracy",
        summary="shapes, colours and sides that a classifier finds in renders; fronts seen from the back (Janus)",
        modality="3d",
    ),
]
