"""Objectives whose students follow a teacher's trajectories. No torch, no pydantic."""

from limbeck.manifest import Component, Needs

_OPTIONS = "limbeck_diffusion.options.trajectory"
_OBJECTIVES = "limbeck_diffusion.objectives.trajectory"

COMPONENTS = [
    Component(
        "objective",
        "consistency",
        f"{_OBJECTIVES}.consistency:Consistency",
        summary="neighbouring states of one trajectory must map to the same sample; with a teacher or from data alone",
        options=f"{_OPTIONS}:ConsistencyOptions",
        needs=Needs(generator={"denoiser", "sampling"}),
        reference="Song et al. 2023; Song & Dhariwal 2024 (iCT); Geng et al. 2024 (ECT)",
        details={
            "family": "trajectory",
            "formula": "w(t, s) dist(x0_hat(xt, t), sg x0_hat_target(xs, s)), xs = one solver step from xt",
            "cost": "2 student and 1 (euler, ddim) or 2 (heun) teacher evaluations per step; training mode: no teacher",
            "best for": "one student for 1, 2, 4 steps",
            "fails": "errors add up from data to noise: needs many steps, and one-step samples stay softer than dmd2's",
        },
    ),
    Component(
        "objective",
        "comospeech",
        f"{_OBJECTIVES}.consistency:Consistency",
        summary="consistency distillation on 50 noise levels with the teacher's Euler step and an EMA target",
        options=f"{_OPTIONS}:ConsistencyOptions",
        defaults={
            "solver": "ddim",
            "times": {"nodes": 50, "spacing": "karras"},
            "end": {"kind": "sigma_min"},
            "metric": {"distance": "l2"},
            "target": {"decay": 0.95},
        },
        preset_of="consistency",
        needs=Needs(generator={"denoiser", "gaussian", "sampling"}),
        reference="Ye et al. 2023 (CoMoSpeech)",
        details={
            "family": "trajectory",
            "formula": "|| x0_hat(xt, t) - sg x0_hat_target(xs, s) ||^2, xs = the teacher's Euler step from xt",
            "cost": "2 student and 1 teacher evaluations per step",
            "best for": "`consistency` as published for mel spectrograms",
            "fails": "the Euler step's error adds up over the levels: samples are softer than the teacher's",
        },
    ),
    Component(
        "objective",
        "sdtt",
        f"{_OBJECTIVES}.sdtt:SDTT",
        summary="one step of a masked diffusion student learns what several steps of its teacher find out",
        options=f"{_OPTIONS}:SDTTOptions",
        needs=Needs(generator={"categorical", "denoiser"}, teacher={"categorical", "denoiser"}, data={"samples"}),
        reference="Deschenaux & Gulcehre 2024 (SDTT)",
        details={
            "family": "trajectory",
            "formula": "mean_masked D(student(xt), sg teacher's prediction at the sub-step that reveals the token)",
            "cost": "rounds.sub_steps teacher evaluations and 1 student evaluation per step",
            "best for": "masked diffusion in fewer steps",
            "fails": "predictions sharpen round by round (watch token_entropy); a perfect teacher adds nothing",
        },
    ),
]


__all__ = ["COMPONENTS"]
