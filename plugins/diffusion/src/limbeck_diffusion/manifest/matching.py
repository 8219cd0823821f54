"""Distribution matching and score distillation: methods are rows of defaults. No torch, no pydantic."""

from limbeck.manifest import Component, Needs

_OPTIONS = "limbeck_diffusion.options.matching"
_OBJECTIVES = "limbeck_diffusion.objectives.matching"
_SCENES = {"weight": "sds", "normalise": None, "reduction": "sum"}  # as papers on scenes have them

COMPONENTS = [
    Component(
        "objective",
        "dmd2",
        f"{_OBJECTIVES}.score_difference:ScoreDifference",
        summary="match the student's distribution to the teacher's with a critic trained on the student's samples",
        options=f"{_OPTIONS}:MatchingOptions",
        needs=Needs(generator={"sampling"}, teacher={"denoiser"}),
        reference="Yin et al. 2024 (DMD2); on tokens: Zhu et al. 2025 (Di[M]O)",
        details={
            "family": "distribution",
            "formula": "descend D_fake(xt, t) - D_teacher(xt, t), x0 (or token) predictions at noised samples",
            "cost": "per step: 1 student, 1 teacher, 1 critic evaluation; critic.updates times 1 student and 1 critic",
            "best for": "one step, or few; the default choice",
            "fails": "mode-seeking: recall falls when the critic lags; raise critic.updates or its learning rate",
        },
    ),
    Component(
        "objective",
        "self_forcing",
        f"{_OBJECTIVES}.score_difference:ScoreDifference",
        summary="dmd2 on clips that a causal student rolled out chunk by chunk, as it will when it streams",
        options=f"{_OPTIONS}:MatchingOptions",
        defaults={"rollout": {"kind": "chunked", "steps": 4}},
        preset_of="dmd2",
        needs=Needs(generator={"cache", "denoiser", "gaussian"}, teacher={"denoiser", "gaussian"}),
        reference="Huang et al. 2025 (Self-Forcing)",
        details={
            "family": "distribution",
            "formula": "descend D_fake(xt, t) - D_teacher(xt, t) on whole clips of the student's own chunked rollout",
            "cost": "as dmd2, with (exit + 1) student evaluations of every frame per rollout instead of one",
            "best for": "causal students of clips, that stream",
            "fails": "from a student that cannot roll out at all: start it with diffusion_forcing",
        },
    ),
    Component(
        "objective",
        "sds",
        f"{_OBJECTIVES}.score_difference:ScoreDifference",
        summary="move each render or sample to where the teacher likes it best; no critic",
        options=f"{_OPTIONS}:MatchingOptions",
        defaults={"field": {"subtract": "noise", **_SCENES}},
        preset_of="dmd2",
        needs=Needs(generator={"sampling"}, teacher={"denoiser", "gaussian"}),
        reference="Poole et al. 2023 (DreamFusion)",
        details={
            "family": "distribution",
            "formula": "descend w(t) (eps_teacher(xt, t) - eps)",
            "cost": "per step: 1 render or student call, 1 teacher evaluation (2 with guidance)",
            "best for": "one scene from a prompt; nothing else to train",
            "fails": "seeks the mode: variety collapses, and guidance over-saturates",
        },
    ),
    Component(
        "objective",
        "csd",
        f"{_OBJECTIVES}.score_difference:ScoreDifference",
        summary="move each render or sample along the teacher's guidance direction only",
        options=f"{_OPTIONS}:MatchingOptions",
        defaults={"field": {"subtract": "null", **_SCENES}},
        preset_of="dmd2",
        needs=Needs(generator={"sampling"}, teacher={"denoiser", "gaussian"}),
        reference="Yu et al. 2024",
        details={
            "family": "distribution",
            "formula": "descend w(t) (eps_teacher(xt, t) - eps_null(xt, t))",
            "cost": "per step: 1 render or student call, 2 teacher evaluations",
            "best for": "a scene that follows its prompt closely",
            "fails": "never ends: the condition can always be met a little more; stop early",
        },
    ),
    Component(
        "objective",
        "vsd",
        f"{_OBJECTIVES}.score_difference:ScoreDifference",
        summary="score distillation against a critic of the scene's own renders; several particles",
        options=f"{_OPTIONS}:MatchingOptions",
        defaults={"field": _SCENES, "critic": {"updates": 1, "loss": "eps"}},
        preset_of="dmd2",
        needs=Needs(generator={"sampling"}, teacher={"denoiser", "gaussian"}),
        reference="Wang et al. 2023 (ProlificDreamer)",
        details={
            "family": "distribution",
            "formula": "descend w(t) (eps_teacher(xt, t) - eps_critic(xt, t))",
            "cost": "per step: 1 render, 1 teacher (2 with guidance), 1 critic; critic.updates times render and critic",
            "best for": "several scenes at once, varied",
            "fails": "a critic that lags gives a wrong direction; with one particle it tends to sds",
        },
    ),
    Component(
        "objective",
        "ism",
        f"{_OBJECTIVES}.ism:ISM",
        summary="compare the teacher at two levels of a deterministic noising; no injected noise",
        options=f"{_OPTIONS}:ISMOptions",
        needs=Needs(generator={"sampling"}, teacher={"denoiser", "gaussian"}),
        reference="Liang et al. 2024 (LucidDreamer)",
        details={
            "family": "distribution",
            "formula": "descend w(t) (eps_teacher(xt, t) - eps_null(xs, s)), xs and xt by unconditional DDIM inversion",
            "cost": "per step: 1 render or student call, inversion.steps + 1 teacher evaluations (2 + with guidance)",
            "best for": "sharp scenes, no injected noise",
            "fails": "overshoots the more the shorter the interval; blind to a point-like teacher's small noise",
        },
    ),
]


__all__ = ["COMPONENTS"]
