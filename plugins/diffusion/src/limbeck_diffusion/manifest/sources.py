"""Where training batches come from. No torch, no pydantic."""

from limbeck.manifest import Component

COMPONENTS = [
    Component(
        "source",
        name,
        f"limbeck_diffusion.sources.sources:{cls}",
        summary=summary,
        options=f"limbeck_diffusion.options.sources:{cls}Options",
        can=can,
        example=example,
    )
    for name, cls, summary, can, example in (
        ("data", "DataSource", "real examples, epoch by epoch", {"samples"}, {}),
        ("prior", "PriorSource", "noise and conditions only", set(), {}),
        ("trajectory", "TrajectorySource", "states of teacher trajectories that start at noise", {"trajectory"}, {}),
        (
            "pairs",
            "PairsSource",
            "pairs of noise and teacher sample, made once",
            {"pairs", "samples"},
            {"count": 8, "chunk": 8, "steps": 4},
        ),
        ("student", "StudentSource", "samples of the current student", {"samples"}, {}),
    )
]


__all__ = ["COMPONENTS"]
