"""Objectives that regress stored pairs. No torch, no pydantic."""

from limbeck.manifest import Component, Needs

_OPTIONS = "limbeck_diffusion.options.regression"
_OBJECTIVES = "limbeck_diffusion.objectives.regression"

COMPONENTS = [
    Component(
        "objective",
        "ode_pairs",
        f"{_OBJECTIVES}.ode_pairs:ODEPairs",
        summary="regress the teacher's sample from the noise it started at",
        options=f"{_OPTIONS}:ODEPairsOptions",
        needs=Needs(generator={"denoiser", "gaussian", "sampling"}, teacher={"denoiser", "gaussian"}),
        reference="Luhman & Luhman 2021",
        details={
            "family": "regression",
            "formula": "dist(x0_hat(noise, t_max), sample), sample = the teacher's ODE from noise",
            "cost": "1 student evaluation per step; the pairs cost the teacher's sampler once, up front",
            "best for": "a simple baseline, a warm start",
            "fails": "blurs where the map from noise to sample is rough; limited by the number of pairs",
        },
    ),
]


__all__ = ["COMPONENTS"]
