"""What this plugin tells Limbeck about itself. Imports no torch: `limbeck plugins` reads it in milliseconds."""

from limbeck import Component, Needs, hookimpl

LIMBECK_API = 1


@hookimpl
def components():
    return [
        Component(
            "objective",
            "energy_distance",
            "acme_distill.energy:EnergyDistance",
            summary="makes one-step samples indistinguishable from the teacher's in energy distance; no critic",
            options="acme_distill.options:EnergyDistanceOptions",
            needs=Needs(
                generator={"gaussian", "denoiser", "sampling"},
                teacher={"gaussian", "denoiser"},
            ),
            reference="Szekely & Rizzo 2013",
            details={
                "formula": "2 E|x - y| - E|x - x'| - E|y - y'|, x from the student, y from the teacher",
                "cost": "draws times (1 generator call and teacher_steps teacher calls) per row",
                "fails": "distances say little in many dimensions: meant for small events",
            },
        ),
        Component(
            "teacher",
            "ring",
            "acme_distill.ring:ring",
            summary="Gaussians on a circle, denoised in closed form",
            options="acme_distill.options:RingOptions",
            can={"gaussian", "denoiser"},
        ),
        Component(
            "generator",
            "planar",
            "acme_distill.planar:planar",
            summary="a small perceptron on points in the plane",
            options="acme_distill.options:PlanarOptions",
            can={"gaussian", "denoiser", "sampling", "trainable_copy"},
        ),
    ]
