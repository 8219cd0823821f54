"""Manifest of limbeck-diffusion. Imports neither torch nor pydantic."""

from limbeck.manifest import Component, Needs, hookimpl
from limbeck_diffusion.manifest.pipelines import PIPELINES

LIMBECK_API = 1

_OPTIONS = "limbeck_diffusion.options.base"
_TOKEN_OPTIONS = "limbeck_diffusion.options.tokens"
_CLIP_OPTIONS = "limbeck_diffusion.options.clips"
_PACKAGE = "limbeck_diffusion"

_PRETRAINING = Needs(generator={"gaussian", "denoiser"}, data={"samples"})

_OBJECTIVES = [
    Component(
        "objective",
        "flow_matching",
        f"{_PACKAGE}.objectives.pretraining.denoising:FlowMatching",
        summary="regress the velocity on noised data; trains teachers, and reflow on stored pairs",
        options=f"{_OPTIONS}:FlowMatchingOptions",
        needs=_PRETRAINING,
        reference="Lipman et al. 2023; Liu et al. 2023",
        details={
            "family": "pretraining",
            "formula": "|| velocity_hat(xt, t) - (d_alpha_t x0 + d_sigma_t eps) ||^2",
            "cost": "1 network evaluation per step",
            "fails": "needs many sampling steps: the velocity is an average, and one step gives the mean of the data",
        },
    ),
    Component(
        "objective",
        "denoising",
        f"{_PACKAGE}.objectives.pretraining.denoising:Denoising",
        summary="denoising score matching with the x0, eps, v, velocity or EDM weight; trains teachers",
        options=f"{_OPTIONS}:DenoisingOptions",
        needs=_PRETRAINING,
        reference="Karras et al. 2022",
        details={
            "family": "pretraining",
            "formula": "w(t) || x0_hat(xt, t) - x0 ||^2",
            "cost": "1 network evaluation per step",
            "fails": "error=x0 spends little on small noise, error=eps little on large noise",
        },
    ),
    Component(
        "objective",
        "diffusion_forcing",
        f"{_PACKAGE}.objectives.pretraining.diffusion_forcing:DiffusionForcing",
        summary="denoising with a level of noise for every frame; trains causal networks",
        options=f"{_CLIP_OPTIONS}:DiffusionForcingOptions",
        needs=Needs(generator={"gaussian", "denoiser", "frame_time"}, data={"samples"}),
        reference="Chen et al. 2024 (Diffusion Forcing)",
        details={
            "family": "pretraining",
            "formula": "mean_f w(t_f) || x0_hat_f(xt, t) - x0_f ||^2, t_f independent",
            "cost": "1 network evaluation per step",
            "fails": "clean pasts are rare among random levels (clean_context); its own errors it never sees",
        },
    ),
    Component(
        "objective",
        "consistency",
        f"{_PACKAGE}.objectives.trajectory.consistency:Consistency",
        summary="neighbouring states of one trajectory must map to the same sample; with a teacher or from data alone",
        options=f"{_OPTIONS}:ConsistencyOptions",
        needs=Needs(generator={"denoiser", "sampling"}),
        reference="Song et al. 2023; Song & Dhariwal 2024 (iCT); Geng et al. 2024 (ECT)",
        details={
            "family": "trajectory",
            "formula": "w(t, s) dist(x0_hat(xt, t), sg x0_hat_target(xs, s)), xs = one solver step from xt",
            "cost": "2 student and 1 (euler, ddim) or 2 (heun) teacher evaluations per step; training mode: no teacher",
            "fails": "errors add up from data to noise: needs many steps, and one-step samples stay softer than dmd2's",
        },
    ),
    Component(
        "objective",
        "comospeech",
        f"{_PACKAGE}.objectives.trajectory.comospeech:CoMoSpeech",
        summary="consistency distillation on 50 noise levels with the teacher's Euler step and an EMA target",
        options=f"{_OPTIONS}:CoMoSpeechOptions",
        needs=Needs(generator={"gaussian", "denoiser", "sampling"}),
        reference="Ye et al. 2023 (CoMoSpeech)",
        details={
            "family": "trajectory",
            "formula": "|| x0_hat(xt, t) - sg x0_hat_target(xs, s) ||^2, xs = the teacher's Euler step from xt",
            "cost": "2 student and 1 teacher evaluations per step",
            "fails": "the Euler step's error adds up over the levels: samples are softer than the teacher's",
        },
    ),
    Component(
        "objective",
        "dmd2",
        f"{_PACKAGE}.objectives.matching.score_difference:DMD2",
        summary="match the student's distribution to the teacher's with a critic trained on the student's samples",
        options=f"{_OPTIONS}:DMD2Options",
        needs=Needs(generator={"sampling"}, teacher={"denoiser"}),
        reference="Yin et al. 2024 (DMD2); on tokens: Zhu et al. 2025 (Di[M]O)",
        details={
            "family": "distribution",
            "formula": "descend D_fake(xt, t) - D_teacher(xt, t), x0 predictions (or token laws) at noised samples",
            "cost": "per step: 1 student, 1 teacher, 1 critic evaluation; critic_updates times 1 student and 1 critic",
            "fails": "mode-seeking: recall falls when the critic lags; raise critic_updates or its learning rate",
        },
    ),
    Component(
        "objective",
        "self_forcing",
        f"{_PACKAGE}.objectives.matching.self_forcing:SelfForcing",
        summary="dmd2 on clips that a causal student rolled out chunk by chunk, as it will when it streams",
        options=f"{_CLIP_OPTIONS}:SelfForcingOptions",
        needs=Needs(generator={"gaussian", "denoiser", "cache"}, teacher={"gaussian", "denoiser"}),
        reference="Huang et al. 2025 (Self-Forcing)",
        details={
            "family": "distribution",
            "formula": "descend D_fake(xt, t) - D_teacher(xt, t) on whole clips of the student's own chunked rollout",
            "cost": "as dmd2, with (exit + 1) student evaluations of every frame per rollout instead of one",
            "fails": "from a student that cannot roll out at all: start it with diffusion_forcing",
        },
    ),
    *(
        Component(
            "objective",
            name,
            f"{_PACKAGE}.{target}",
            summary=summary,
            options=f"{_OPTIONS}:{name.upper()}Options",
            needs=Needs(generator={"sampling"}, teacher={"gaussian", "denoiser"}),
            reference=reference,
            details={"family": "distribution", "formula": formula, "cost": cost, "fails": fails},
        )
        for name, target, summary, reference, formula, cost, fails in (
            (
                "sds",
                "objectives.matching.score_difference:SDS",
                "move each render or sample to where the teacher likes it best; no critic",
                "Poole et al. 2023 (DreamFusion)",
                "descend w(t) (eps_teacher(xt, t) - eps)",
                "per step: 1 render or student call, 1 teacher evaluation (2 with guidance)",
                "seeks the mode: variety collapses, and guidance over-saturates",
            ),
            (
                "csd",
                "objectives.matching.score_difference:CSD",
                "move each render or sample along the teacher's guidance direction only",
                "Yu et al. 2024",
                "descend w(t) (eps_teacher(xt, t) - eps_null(xt, t))",
                "per step: 1 render or student call, 2 teacher evaluations",
                "never ends: the condition can always be met a little more; stop early",
            ),
            (
                "vsd",
                "objectives.matching.score_difference:VSD",
                "score distillation against a critic of the scene's own renders; several particles",
                "Wang et al. 2023 (ProlificDreamer)",
                "descend w(t) (eps_teacher(xt, t) - eps_critic(xt, t))",
                "per step: 1 render, 1 teacher (2 with guidance), 1 critic; critic_updates times 1 render, 1 critic",
                "a critic that lags gives a wrong direction; with one particle it tends to sds",
            ),
            (
                "ism",
                "objectives.matching.ism:ISM",
                "compare the teacher at two levels of a deterministic noising; no injected noise",
                "Liang et al. 2024 (LucidDreamer)",
                "descend w(t) (eps_teacher(xt, t) - eps_null(xs, s)), xs and xt by unconditional DDIM inversion",
                "per step: 1 render or student call, inversion_steps + 1 teacher evaluations (2 + with guidance)",
                "overshoots the more the shorter the interval; blind to what a point-like teacher says of small noise",
            ),
        )
    ),
    Component(
        "objective",
        "ode_pairs",
        f"{_PACKAGE}.objectives.regression.ode_pairs:ODEPairs",
        summary="regress the teacher's sample from the noise it started at",
        options=f"{_OPTIONS}:ODEPairsOptions",
        needs=Needs(generator={"gaussian", "denoiser", "sampling"}, teacher={"gaussian", "denoiser"}),
        reference="Luhman & Luhman 2021",
        details={
            "family": "regression",
            "formula": "dist(x0_hat(noise, t_max), sample), sample = the teacher's ODE from noise",
            "cost": "1 student evaluation per step; the pairs cost the teacher's sampler once, up front",
            "fails": "blurs where the map from noise to sample is rough; limited by the number of pairs",
        },
    ),
    Component(
        "objective",
        "mdlm",
        f"{_PACKAGE}.objectives.pretraining.mdlm:MDLM",
        summary="pretrain a masked diffusion model by its likelihood bound",
        options=f"{_TOKEN_OPTIONS}:MDLMOptions",
        needs=Needs(generator={"categorical", "denoiser"}, data={"samples"}),
        reference="Sahoo et al. 2024 (MDLM)",
        details={
            "family": "pretraining",
            "formula": "-d_alpha_t / (1 - alpha_t) sum_masked -log p(x0_i | xt), a bound on -log p(x0)",
            "cost": "1 network evaluation per step",
            "fails": "the bound is noisy at small t; tokens that move in one sampling step do so independently",
        },
    ),
    Component(
        "objective",
        "sdtt",
        f"{_PACKAGE}.objectives.trajectory.sdtt:SDTT",
        summary="one step of a masked diffusion student learns what several steps of its teacher find out",
        options=f"{_TOKEN_OPTIONS}:SDTTOptions",
        needs=Needs(generator={"categorical", "denoiser"}, teacher={"categorical", "denoiser"}, data={"samples"}),
        reference="Deschenaux & Gulcehre 2024 (SDTT)",
        details={
            "family": "trajectory",
            "formula": "mean_masked D(student(xt), sg teacher's prediction at the sub-step that reveals the token)",
            "cost": "sub_steps teacher evaluations and 1 student evaluation per step",
            "fails": "predictions sharpen round by round (watch token_entropy); a perfect teacher adds nothing",
        },
    ),
]

_SOURCES = [
    Component(
        "source",
        name,
        f"{_PACKAGE}.sources.sources:{cls}",
        summary=summary,
        options=f"{_OPTIONS}:{cls}Options",
        can=can,
        example=example,
    )
    for name, cls, summary, can, example in (
        ("data", "DataSource", "real examples, epoch by epoch", {"samples"}, {}),
        ("prior", "PriorSource", "noise and conditions only", (), {}),
        ("trajectory", "TrajectorySource", "states of teacher trajectories that start at noise", {"trajectory"}, {}),
        (
            "pairs",
            "PairsSource",
            "pairs of noise and teacher sample, made once",
            {"pairs", "samples"},
            {"count": 16, "chunk": 16},
        ),
        ("student", "StudentSource", "samples of the current student", {"samples"}, {}),
    )
]

_SAMPLERS = [
    Component(
        "sampler",
        name,
        f"{_PACKAGE}.samplers.gaussian:{cls}",
        summary=summary,
        options=f"{_OPTIONS}:{options}",
        reference=reference,
        details={"evaluations": evaluations, "order": order},
    )
    for name, cls, options, summary, reference, evaluations, order in (
        ("euler", "Euler", "ODEOptions", "straight steps along the velocity", "", "n", "1"),
        ("heun", "Heun", "ODEOptions", "trapezoidal rule", "Karras et al. 2022", "2 n - 1", "2"),
        ("ddim", "DDIM", "GridOptions", "x0 prediction held fixed over a step", "Song et al. 2021", "n", "1"),
        (
            "dpmpp_2m",
            "DPMSolverPP2M",
            "MultistepDPMOptions",
            "second order from the last two predictions",
            "Lu et al. 2022",
            "n",
            "2",
        ),
        (
            "edm_stochastic",
            "EDMStochastic",
            "EDMStochasticOptions",
            "Heun with noise added and removed, on any process",
            "Karras et al. 2022",
            "2 n - 1",
            "2 without churn",
        ),
        (
            "multistep",
            "Multistep",
            "MultistepOptions",
            "few calls of a student with fresh noise between them",
            "Song et al. 2023",
            "n",
            "-",
        ),
    )
]

_CLIP_SAMPLERS = [
    Component(
        "sampler",
        name,
        f"{_PACKAGE}.samplers.streaming:{cls}",
        summary=summary,
        options=f"{_CLIP_OPTIONS}:{options}",
        can=can,
        reference=reference,
        details={"evaluations": evaluations, "order": order},
    )
    for name, cls, options, can, summary, reference, evaluations, order in (
        (
            "streaming",
            "Streaming",
            "StreamingOptions",
            {"cache"},
            "chunk by chunk behind a cache, as long as one likes",
            "Huang et al. 2025 (Self-Forcing)",
            "n + 1 per frame",
            "-",
        ),
        (
            "diffusion_forcing",
            "DiffusionForcingSampler",
            "DiffusionForcingSamplerOptions",
            {"frame_time"},
            "a level of noise per frame that falls at its own pace: whole clip, pyramid, one by one",
            "Chen et al. 2024 (Diffusion Forcing)",
            "n + floor(uncertainty (chunks - 1))",
            "1",
        ),
    )
]

_TOKEN_SAMPLERS = [
    Component(
        "sampler",
        name,
        f"{_PACKAGE}.samplers.categorical:{cls}",
        summary=summary,
        options=f"{_TOKEN_OPTIONS}:{cls}Options",
        can={"categorical"},
        reference=reference,
        details={"evaluations": "n", "order": "-"},
    )
    for name, cls, summary, reference in (
        (
            "ancestral",
            "Ancestral",
            "tokens by reverse steps of a masked or uniform process",
            "Sahoo et al. 2024; Austin et al. 2021",
        ),
        (
            "confidence",
            "Confidence",
            "tokens of a masked process, the most confident predictions first",
            "Chang et al. 2022; Nie et al. 2025",
        ),
    )
]


_TOKEN_SAMPLERS.append(
    Component(
        "sampler",
        "one_call",
        f"{_PACKAGE}.samplers.one_call:OneCall",
        summary="all tokens of a sequence from one call, as dmd2 trains its students on tokens",
        options=f"{_OPTIONS}:OneCallOptions",
        can={"categorical"},
        reference="Zhu et al. 2025 (Di[M]O)",
        details={"evaluations": "1", "order": "-"},
    )
)


@hookimpl
def components():
    return [*_OBJECTIVES, *_SOURCES, *_SAMPLERS, *_CLIP_SAMPLERS, *_TOKEN_SAMPLERS, *PIPELINES]
