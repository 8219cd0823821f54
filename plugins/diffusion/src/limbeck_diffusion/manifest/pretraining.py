"""Objectives that train teachers, by the same engine as students. No torch, no pydantic."""

from limbeck.manifest import Component, Needs

_OPTIONS = "limbeck_diffusion.options.pretraining"
_OBJECTIVES = "limbeck_diffusion.objectives.pretraining"

COMPONENTS = [
    Component(
        "objective",
        "flow_matching",
        f"{_OBJECTIVES}.denoising:Denoising",
        summary="regress the velocity on noised data; trains teachers, and reflow on stored pairs",
        options=f"{_OPTIONS}:DenoisingOptions",
        needs=Needs(generator={"denoiser", "gaussian"}, data={"samples"}),
        reference="Lipman et al. 2023; Liu et al. 2023",
        details={
            "family": "pretraining",
            "formula": "|| velocity_hat(xt, t) - (d_alpha_t x0 + d_sigma_t eps) ||^2",
            "cost": "1 network evaluation per step",
            "best for": "training a teacher",
            "fails": "needs many sampling steps: the velocity is an average, and one step gives the mean of the data",
        },
    ),
    Component(
        "objective",
        "denoising",
        f"{_OBJECTIVES}.denoising:Denoising",
        summary="denoising score matching with the x0, eps, v, velocity or EDM weight; trains teachers",
        options=f"{_OPTIONS}:DenoisingOptions",
        defaults={"error": "edm", "times": {"kind": "log_normal", "mean": -1.2, "std": 1.2}},
        preset_of="flow_matching",
        needs=Needs(generator={"denoiser", "gaussian"}, data={"samples"}),
        reference="Karras et al. 2022",
        details={
            "family": "pretraining",
            "formula": "w(t) || x0_hat(xt, t) - x0 ||^2",
            "cost": "1 network evaluation per step",
            "best for": "training a teacher, with EDM's weights",
            "fails": "error=x0 spends little on small noise, error=eps little on large noise",
        },
    ),
    Component(
        "objective",
        "diffusion_forcing",
        f"{_OBJECTIVES}.diffusion_forcing:DiffusionForcing",
        summary="denoising with a level of noise for every frame; trains causal networks",
        options=f"{_OPTIONS}:DiffusionForcingOptions",
        needs=Needs(generator={"denoiser", "frame_time", "gaussian"}, data={"samples"}),
        reference="Chen et al. 2024 (Diffusion Forcing)",
        details={
            "family": "pretraining",
            "formula": "mean_f w(t_f) || x0_hat_f(xt, t) - x0_f ||^2, t_f independent",
            "cost": "1 network evaluation per step",
            "best for": "training causal networks of clips; their start before `self_forcing`",
            "fails": "clean pasts are rare among random levels (clean_context); its own errors it never sees",
        },
    ),
    Component(
        "objective",
        "mdlm",
        f"{_OBJECTIVES}.mdlm:MDLM",
        summary="pretrain a masked diffusion model by its likelihood bound",
        options=f"{_OPTIONS}:MDLMOptions",
        needs=Needs(generator={"categorical", "denoiser"}, data={"samples"}),
        reference="Sahoo et al. 2024 (MDLM)",
        details={
            "family": "pretraining",
            "formula": "-d_alpha_t / (1 - alpha_t) sum_masked -log p(x0_i | xt), a bound on -log p(x0)",
            "cost": "1 network evaluation per step",
            "best for": "training a masked diffusion teacher of tokens",
            "fails": "the bound is noisy at small t; tokens that move in one sampling step do so independently",
        },
    ),
]


__all__ = ["COMPONENTS"]
