"""Options of regression on stored pairs. Pydantic, no torch."""

from pydantic import Field

from limbeck.options import Options
from limbeck_diffusion.options.common import Metric


class ODEPairsOptions(Options):
    """Regression on stored pairs of noise and teacher sample."""

    metric: Metric = Field(Metric(), description="how far the prediction is from the stored sample")


__all__ = ["ODEPairsOptions"]
