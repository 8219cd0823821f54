"""Samplers of Gaussian processes, of clips and of tokens. No torch, no pydantic."""

from limbeck.manifest import Component

_PACKAGE = "limbeck_diffusion"
_OPTIONS = f"{_PACKAGE}.options.samplers"

_GAUSSIAN = [
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

_CLIPS = [
    Component(
        "sampler",
        name,
        f"{_PACKAGE}.samplers.streaming:{cls}",
        summary=summary,
        options=f"{_OPTIONS}:{options}",
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

_TOKENS = [
    *(
        Component(
            "sampler",
            name,
            f"{_PACKAGE}.samplers.categorical:{cls}",
            summary=summary,
            options=f"{_OPTIONS}:{cls}Options",
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
    ),
    Component(
        "sampler",
        "one_call",
        f"{_PACKAGE}.samplers.one_call:OneCall",
        summary="all tokens of a sequence from one call, as dmd2 trains its students on tokens",
        options=f"{_OPTIONS}:OneCallOptions",
        can={"categorical"},
        reference="Zhu et al. 2025 (Di[M]O)",
        details={"evaluations": "1", "order": "-"},
    ),
]


COMPONENTS = [*_GAUSSIAN, *_CLIPS, *_TOKENS]


__all__ = ["COMPONENTS"]
