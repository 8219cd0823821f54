r"""Diffusion from a prior with a mean: x_t = alpha_t x0 + sigma_t (mu + z), z ~ N(0, I) (Grad-TTS; CoMoSpeech).

With y_t = x_t - sigma_t mu this is the zero-mean problem, state by state: dy/dt = velocity(y, t) of the same x0, so
teachers, solvers, losses and samplers that know y need not know of mu. Only the network does: it is called at x. That
is what `PriorMeanDenoiser` does.
"""

from typing import Any

import torch
from torch import Tensor

from limbeck.interfaces import Prediction
from limbeck.networks.denoiser import Denoiser
from limbeck.process.gaussian import GaussianProcess


def with_prior_mean(process: GaussianProcess, y: Tensor, t: Tensor, mu: Tensor) -> Tensor:
    """x_t = y_t + sigma_t mu; y, mu (B, *event), t (B,) or (B, F)."""
    return y + process.at(t, y).sigma_t * mu


def without_prior_mean(process: GaussianProcess, x: Tensor, t: Tensor, mu: Tensor) -> Tensor:
    """y_t = x_t - sigma_t mu; the inverse of `with_prior_mean`."""
    return x - process.at(t, x).sigma_t * mu


class PriorMeanDenoiser(Denoiser):
    """A `Denoiser` whose network sees x = y + sigma_t mu(cond); it is called, and predicts, in y like any other.

    Args:
        means: (K + 1, *event), mu of every label and, last, of "no label". Not saved: they belong to the construction.
        the others as in `Denoiser`; `cond` must be labels (B,) int64 or None.
    """

    means: Tensor

    def __init__(self, *args: Any, means: Tensor, **options: Any):
        super().__init__(*args, **options)
        self.register_buffer("means", means, persistent=False)

    def prior_mean(self, cond: Tensor | None, rows: int) -> Tensor:
        """mu, (B, *event)."""
        labels = torch.full((rows,), len(self.means) - 1, device=self.means.device) if cond is None else cond
        return self.means[labels]

    def forward(self, xt: Tensor, t: Tensor, cond: Any = None, *, s: Tensor | None = None, **more: Any) -> Prediction:
        mu = self.prior_mean(cond, len(xt)).to(xt.dtype)
        out = super().forward(with_prior_mean(self.process, xt, t, mu), t, cond, s=s, **more)
        if out.xs is None or s is None:
            return out
        xs = without_prior_mean(self.process, out.xs, s, mu)
        return Prediction(x0_hat=out.x0_hat, xs=xs, features=out.features)
