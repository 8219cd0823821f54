r"""Mixtures of isotropic Gaussians: non-linear, multimodal, and still exact.

x0 ~ sum_k w_k N(m_k, c_k^2 I). With S_k^2 = alpha_t^2 c_k^2 + sigma_t^2 and r_k(x_t) the posterior of component k,

    x0_hat  = sum_k r_k [m_k + alpha_t c_k^2 (x_t - alpha_t m_k) / S_k^2]
    eps_hat = sum_k r_k sigma_t (x_t - alpha_t m_k) / S_k^2

In one dimension the flow map is exact by quantiles: P_s^{-1}(P_t(x)), P_t the distribution function of x_t.
Letters: B batch, D elements of one event, K components. Tensors (B, *event).
"""

import copy
import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from limbeck.interfaces import Prediction, Predictor, Space
from limbeck.process.gaussian import GaussianProcess
from limbeck.randomness import Rng


class GaussianMixtureTeacher(Predictor):
    """A mixture of K isotropic Gaussians. Conditional by component: cond k means component k alone, K the whole
    mixture.

    It is a `Predictor`, so `trainable_copy` is the same closed form with learnable means, log-standard-deviations and
    log-weights.

    Args:
        process: any Gaussian process.
        means: (K, *event), or (K,) for an event of one element.
        stds: float or (K,), positive.
        weights: (K,), normalised here; equal when None.
    """

    process: GaussianProcess

    def __init__(
        self,
        process: GaussianProcess,
        means: Tensor | Sequence[float],
        stds: float | Tensor | Sequence[float],
        weights: Tensor | Sequence[float] | None = None,
        *,
        space: Space | None = None,
    ):
        super().__init__()
        centres = torch.as_tensor(means, dtype=torch.float64).detach()
        if space is None:
            space = Space(tuple(centres.shape[1:]) or (1,))
        count = len(centres)
        scales = torch.as_tensor(stds, dtype=torch.float64).detach().expand(count)
        shares = torch.ones(count) if weights is None else torch.as_tensor(weights, dtype=torch.float64).detach()
        if scales.min() <= 0 or shares.min() <= 0 or len(shares) != count:
            raise ValueError(f"a mixture of {count} needs {count} positive stds and weights; got {stds} and {weights}")
        self.process, self.space = process, space
        self.means = nn.Parameter(centres.reshape(count, *space.event).clone())
        self.log_stds = nn.Parameter(scales.log())
        self.logits = nn.Parameter(shares.double().log())
        self.freeze()

    @property
    def stds(self) -> Tensor:
        return self.log_stds.exp()

    @property
    def weights(self) -> Tensor:
        return self.logits.softmax(0)

    def null(self, cond: Any) -> Any:
        return super().null(cond) if cond is None else torch.full_like(cond, len(self.logits))

    def trainable_copy(self, mode: Literal["full", "lora"] = "full", **options: Any) -> "GaussianMixtureTeacher":
        if mode != "full":
            raise TypeError(f"GaussianMixtureTeacher can only be copied in mode 'full'; got {mode!r}")
        return copy.deepcopy(self).train().requires_grad_(True)

    # --- pieces: everything about components is (B, K, ...) ---

    def _log_weights(self, x: Tensor, cond: Any) -> Tensor:
        """(B or 1, K): log weights, or certainty of one component where cond fixes it."""
        free = self.logits.to(x).log_softmax(0)[None]
        if cond is None:
            return free
        one = nn.functional.one_hot(cond, len(self.logits) + 1)[:, :-1].to(x.device)
        chosen = torch.where(one.bool(), 0.0, -math.inf).to(x)
        return torch.where((cond == len(self.logits))[:, None].to(x.device), free, chosen)

    def _levels(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """alpha_t, sigma_t, both (B, 1, 1)."""
        if t.ndim > 1:
            raise ValueError(f"a mixture has one time per sample, (B,); got {tuple(t.shape)}")
        c = self.process.at(t, x.flatten(1)[:, None])
        return c.alpha_t, c.sigma_t

    def _components(self, x: Tensor, alpha: Tensor, sigma: Tensor, cond: Any) -> tuple[Tensor, Tensor]:
        """log(w_k density_k) (B, K) and S_k^{-2} (x - alpha m_k), (B, K, D)."""
        y = x.flatten(1)[:, None] - alpha * self.means.to(x).flatten(1)
        variance = (alpha * self.stds.to(x)[:, None]) ** 2 + sigma**2  # (B, K, 1)
        p = y / variance
        log_p = -0.5 * ((y * p).sum(-1) + y.shape[-1] * torch.log(2 * math.pi * variance[..., 0]))
        return self._log_weights(x, cond) + log_p, p

    def responsibilities(self, xt: Tensor, t: Tensor, cond: Any = None) -> Tensor:
        """Posterior of the components, (B, K)."""
        return self._components(xt, *self._levels(xt, t), cond)[0].softmax(1)

    def log_density(self, x: Tensor, t: Tensor | None = None, cond: Any = None) -> Tensor:
        """log p_t(x), (B,); of the data when t is None."""
        t = torch.zeros(len(x), dtype=x.dtype, device=x.device) if t is None else t
        return self._components(x, *self._levels(x, t), cond)[0].logsumexp(1)

    def _parts(self, xt: Tensor, alpha: Tensor, sigma: Tensor, cond: Any) -> tuple[Tensor, Tensor]:
        """x0_hat and minus the score, both (B, *event)."""
        log_p, p = self._components(xt, alpha, sigma, cond)
        r = log_p.softmax(1).unsqueeze(-1)
        x0 = self.means.to(xt).flatten(1) + alpha * self.stds.to(xt)[:, None] ** 2 * p
        return (r * x0).sum(1).reshape(xt.shape), (r * p).sum(1).reshape(xt.shape)

    # --- the closed forms ---

    def x0_hat(self, xt: Tensor, t: Tensor, cond: Any = None) -> Tensor:
        return self._parts(xt, *self._levels(xt, t), cond)[0]

    def score(self, xt: Tensor, t: Tensor, cond: Any = None) -> Tensor:
        return -self._parts(xt, *self._levels(xt, t), cond)[1]

    def eps(self, xt: Tensor, t: Tensor, cond: Any = None) -> Tensor:
        return self.process.at(t, xt).sigma_t * self._parts(xt, *self._levels(xt, t), cond)[1]

    def velocity(self, xt: Tensor, t: Tensor, cond: Any = None) -> Tensor:
        c, (x0, p) = self.process.at(t, xt), self._parts(xt, *self._levels(xt, t), cond)
        return c.d_alpha_t * x0 + c.d_sigma_t * c.sigma_t * p

    def v(self, xt: Tensor, t: Tensor, cond: Any = None) -> Tensor:
        c, (x0, p) = self.process.at(t, xt), self._parts(xt, *self._levels(xt, t), cond)
        return c.alpha_t * c.sigma_t * p - c.sigma_t * x0

    def forward(
        self, xt: Tensor, t: Tensor, cond: Any = None, *, s: Tensor | None = None, features: Sequence[int] = ()
    ) -> Prediction:
        """x0_hat; xs by the flow map when s is given; features 0 and 1: x0_hat (B, D) and responsibilities (B, K)."""
        x0_hat = self.x0_hat(xt, t, cond)
        hidden = (x0_hat.flatten(1), self.responsibilities(xt, t, cond)) if features else ()
        xs = self.flow_map(xt, t, s, cond) if s is not None else None
        return Prediction(x0_hat=x0_hat, xs=xs, features=tuple(hidden[k] for k in features))

    # --- distribution and trajectories ---

    def sample(
        self, n: int, rng: Rng, cond: Any = None, *, t: float | None = None, purpose: str = "sample",
        dtype: torch.dtype = torch.float64,
    ) -> Tensor:  # fmt: skip
        """`n` draws of x0, or of x_t at time t, (n, *event). Draws normal `purpose` and uniform `purpose/component`."""
        z = rng.normal(purpose, (n, *self.space.event), dtype)
        weights = self._log_weights(z, cond).exp().expand(n, -1)
        u = rng.uniform(f"{purpose}/component", (n, 1), dtype)
        k = (u > weights.cumsum(1)).sum(1).clamp_max(len(self.logits) - 1)
        c = self.process.at(torch.full((n,), 0.0 if t is None else t, dtype=torch.float64, device=z.device), z)
        std = self.stds.to(z)[k].reshape(-1, *[1] * (z.ndim - 1))
        return c.alpha_t * self.means.to(z)[k] + ((c.alpha_t * std) ** 2 + c.sigma_t**2).sqrt() * z

    def nearest(self, x: Tensor) -> Tensor:
        """Which component x (N, *event) belongs to most probably, (N,): for counting the mass of modes."""
        return self.responsibilities(x, torch.zeros(len(x), dtype=x.dtype, device=x.device)).argmax(1)

    def flow_map(self, xt: Tensor, t: Tensor, s: Tensor, cond: Any = None, *, steps: int = 400) -> Tensor:
        """Where the probability-flow ODE takes xt from t to s: by quantiles in one dimension (exact), else
        `integrate`."""
        if self.means[0].numel() == 1:
            return self._quantile_map(xt, t, s, cond)
        return self.integrate(xt, t, s, cond, steps=steps)

    def _tails(self, x: Tensor, t: Tensor, cond: Any) -> tuple[Tensor, Tensor, Tensor]:
        """log P_t(x) and log(1 - P_t(x)), both (B,), and the scores z_k = (x - alpha_t m_k) / S_k, (B, K)."""
        c = self.process.at(t, x.flatten(1))
        root = ((c.alpha_t * self.stds.to(x)) ** 2 + c.sigma_t**2).sqrt()
        z = (x.flatten(1) - c.alpha_t * self.means.to(x).flatten()) / root
        log_w = self._log_weights(x, cond)
        below = torch.logsumexp(log_w + torch.special.log_ndtr(z), 1)
        return below, torch.logsumexp(log_w + torch.special.log_ndtr(-z), 1), z

    def _quantile_map(self, xt: Tensor, t: Tensor, s: Tensor, cond: Any) -> Tensor:
        with torch.no_grad():
            below, above, z = self._tails(xt, t, cond)
            aim = below - above  # the logit of the quantile keeps its digits in both tails
            at_s = self.process.at(s, xt.flatten(1))
            root = ((at_s.alpha_t * self.stds.to(xt)) ** 2 + at_s.sigma_t**2).sqrt()
            # component k alone would map x to this; the mixture's end lies between the extremes
            each = at_s.alpha_t * self.means.to(xt).flatten() + root * z
            possible = self._log_weights(xt, cond).isfinite().expand_as(each)
            low = torch.where(possible, each, math.inf).amin(1)
            high = torch.where(possible, each, -math.inf).amax(1)
            for _ in range(80 if xt.dtype == torch.float64 else 40):
                middle = (low + high) / 2
                b, a, _ = self._tails(middle.reshape(xt.shape), s, cond)
                less = (b - a) < aim
                low, high = torch.where(less, middle, low), torch.where(less, high, middle)
            y = ((low + high) / 2).reshape(xt.shape)
        if not torch.is_grad_enabled():
            return y
        # one Newton step adds the implicit derivative: P_s(y) = P_t(x)
        density = self.log_density(y, s, cond).detach().exp().reshape(xt.shape)
        difference = self._tails(xt, t, cond)[0].exp() - self._tails(y, s, cond)[0].exp()
        return y + (difference - difference.detach()).reshape(xt.shape) / density

    def integrate(self, xt: Tensor, t: Tensor, s: Tensor, cond: Any = None, *, steps: int = 400) -> Tensor:
        """The same by Runge-Kutta of order 4 in the angle a = atan(sigma_t / alpha_t), where nothing is singular:
        x / sqrt(alpha^2 + sigma^2) moves with da by its v-prediction, d/da = (alpha eps_hat - sigma x0_hat) / norm."""
        c_t, c_s = self.process.at(t, xt), self.process.at(s, xt)
        start, stop = torch.atan2(c_t.sigma_t, c_t.alpha_t), torch.atan2(c_s.sigma_t, c_s.alpha_t)
        x = xt / torch.hypot(c_t.alpha_t, c_t.sigma_t)
        h = (stop - start) / steps

        def slope(x: Tensor, angle: Tensor) -> Tensor:
            cos, sin = torch.cos(angle), torch.sin(angle)
            x0, p = self._parts(x, cos.reshape(-1, 1, 1), sin.reshape(-1, 1, 1), cond)
            return cos * sin * p - sin * x0

        for i in range(steps):
            a = start + i * h
            k1 = slope(x, a)
            k2 = slope(x + h / 2 * k1, a + h / 2)
            k3 = slope(x + h / 2 * k2, a + h / 2)
            k4 = slope(x + h * k3, a + h)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return x * torch.hypot(c_s.alpha_t, c_s.sigma_t)
