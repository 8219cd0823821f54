"""Options of metrics."""

from pydantic import Field

from limbeck.options import Options


class NLLOptions(Options):
    """Negative log likelihood of held-out windows."""

    windows: int = Field(200, ge=1, description="held-out windows at the most")
    batch_size: int = Field(16, ge=1, description="windows per call")


class GenerativeNLLOptions(Options):
    """Negative log likelihood of samples under an independent model."""

    weights: str = Field(
        "limbeck_text:assets/pydocs_lm_judge.safetensors", min_length=1, description="teacher file of the judge"
    )
    batch_size: int = Field(32, ge=1, description="samples per call")


class NLLBoundOptions(Options):
    """Likelihood bound of held-out windows under a masked diffusion model."""

    windows: int = Field(200, ge=1, description="held-out windows at the most")
    draws: int = Field(4, ge=1, description="corruptions of every window")
    batch_size: int = Field(32, ge=1, description="windows per call")


class DistinctOptions(Options):
    """Share of distinct n-grams."""

    n: int = Field(2, ge=1, description="longest n: the metric gives distinct_1 to distinct_n")
