"""Steps of solvers that are no sampler's."""

from torch import Tensor

from limbeck.process.gaussian import GaussianProcess


def noise_along(process: GaussianProcess, xs: Tensor, s: Tensor, t: Tensor, eps_hat: Tensor) -> Tensor:
    r"""One DDIM step upwards, s <= t, along a predicted noise: Euler's step in x / alpha, finite at sigma_s = 0.

    x_t = (alpha_t / alpha_s) x_s + (sigma_t - sigma_s alpha_t / alpha_s) eps_hat; exactly x_s where s = t.
    """
    a, b = process.at(s, xs), process.at(t, xs)
    ratio = b.alpha_t / a.alpha_t
    return ratio * xs + (b.sigma_t - ratio * a.sigma_t) * eps_hat


__all__ = ["noise_along"]
