r"""Gaussian data, where every quantity of every Gaussian process has a closed form.

x0 ~ N(m, Sigma). At (alpha_t, sigma_t) the marginal is N(alpha_t m, C_t) with C_t = alpha_t^2 Sigma + sigma_t^2 I, and
with y = x_t - alpha_t m everything follows from P = C_t^{-1} y:

    x0_hat = m + alpha_t Sigma P,   eps_hat = sigma_t P,   score = -P
    flow map t -> s:  alpha_s m + C_s^{1/2} C_t^{-1/2} y

The tests hold these against finite differences and integration. Letters: B batch, D elements of one event, K classes.
Tensors (B, *event); parameters are float64 and are cast to the precision of the input.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from limbeck.interfaces import Prediction, Space
from limbeck.process.gaussian import Coefficients, GaussianProcess
from limbeck.randomness import Rng
from limbeck.testing._conditional import Conditional, event_of


class _Gaussian(Conditional):
    """What teacher and critic share. Subclasses know the covariance: `_precision`, `_spread`, `_root`, `_log_det`."""

    process: GaussianProcess
    predicts: Literal["denoiser", "flow_map"] = "denoiser"

    @abstractmethod
    def _precision(self, y: Tensor, c: Coefficients, frames: bool) -> Tensor:
        """C_t^{-1} y, (B, *event)."""

    @abstractmethod
    def _spread(self, y: Tensor) -> Tensor:
        """Sigma y, (B, *event)."""

    @abstractmethod
    def _roots(self, y: Tensor, of: Coefficients, over: Coefficients) -> Tensor:
        """C_s^{1/2} C_t^{-1/2} y, (B, *event)."""

    @abstractmethod
    def _log_det(self, y: Tensor, c: Coefficients) -> Tensor:
        """log det C_t, (B,)."""

    @property
    @abstractmethod
    def covariance(self) -> Tensor:
        """Sigma, (D, D), float64."""

    def _centred(self, xt: Tensor, t: Tensor, cond: Any) -> tuple[Tensor, Tensor, Tensor, Coefficients]:
        """(m, y, P, coefficients)."""
        c, mean = self.process.at(t, xt), self.mean_of(cond, xt)
        y = xt - c.alpha_t * mean
        return mean, y, self._precision(y, c, t.ndim > 1), c

    # --- the closed forms: (xt, t, cond) -> (B, *event) ---

    def x0_hat(self, xt: Tensor, t: Tensor, cond: Any = None) -> Tensor:
        """m + alpha_t Sigma C_t^{-1} y = E[x0 | xt]."""
        mean, _, p, c = self._centred(xt, t, cond)
        return mean + self._spread(c.alpha_t * p)

    def eps(self, xt: Tensor, t: Tensor, cond: Any = None) -> Tensor:
        """sigma_t C_t^{-1} y = E[eps | xt]."""
        _, _, p, c = self._centred(xt, t, cond)
        return c.sigma_t * p

    def score(self, xt: Tensor, t: Tensor, cond: Any = None) -> Tensor:
        """-C_t^{-1} y = grad log p_t(xt)."""
        return -self._centred(xt, t, cond)[2]

    def velocity(self, xt: Tensor, t: Tensor, cond: Any = None) -> Tensor:
        """d_alpha_t x0_hat + d_sigma_t eps_hat, the right-hand side of the probability-flow ODE."""
        mean, _, p, c = self._centred(xt, t, cond)
        return c.d_alpha_t * (mean + self._spread(c.alpha_t * p)) + c.d_sigma_t * c.sigma_t * p

    def v(self, xt: Tensor, t: Tensor, cond: Any = None) -> Tensor:
        """alpha_t eps_hat - sigma_t x0_hat."""
        mean, _, p, c = self._centred(xt, t, cond)
        return c.alpha_t * c.sigma_t * p - c.sigma_t * (mean + self._spread(c.alpha_t * p))

    def flow_map(self, xt: Tensor, t: Tensor, s: Tensor, cond: Any = None) -> Tensor:
        """Where the probability-flow ODE takes xt from t to s: alpha_s m + C_s^{1/2} C_t^{-1/2} y. t, s (B,)."""
        if t.ndim > 1:
            raise ValueError(f"a flow map has one time per sample, (B,); got {tuple(t.shape)}")
        at_t, at_s, mean = self.process.at(t, xt), self.process.at(s, xt), self.mean_of(cond, xt)
        return at_s.alpha_t * mean + self._roots(xt - at_t.alpha_t * mean, at_s, at_t)

    def consistency(self, xt: Tensor, t: Tensor, cond: Any = None) -> Tensor:
        """f(xt, t), the end of the trajectory: the flow map to 0."""
        return self.flow_map(xt, t, torch.zeros_like(t), cond)

    # --- the distribution ---

    def marginal(self, t: Tensor, cond: Any = None) -> tuple[Tensor, Tensor]:
        """Mean (B, *event) and covariance (B, D, D) of x_t, float64."""
        t = t.double()
        like = torch.zeros(len(t), *self.space.event, dtype=torch.float64, device=t.device)
        c = self.process.at(t, like)
        eye = torch.eye(like[0].numel(), dtype=torch.float64, device=t.device)
        variance = c.sigma_t.reshape(-1, 1, 1) ** 2 * eye
        return c.alpha_t * self.mean_of(cond, like), c.alpha_t.reshape(-1, 1, 1) ** 2 * self.covariance + variance

    def log_density(self, x: Tensor, t: Tensor | None = None, cond: Any = None) -> Tensor:
        """log p_t(x), (B,); of the data when t is None."""
        t = torch.zeros(len(x), dtype=x.dtype, device=x.device) if t is None else t
        _, y, p, c = self._centred(x, t, cond)
        return -0.5 * ((y * p).flatten(1).sum(1) + self._log_det(y, c) + y[0].numel() * math.log(2 * math.pi))

    def forward(
        self, xt: Tensor, t: Tensor, cond: Any = None, *, s: Tensor | None = None, features: Sequence[int] = ()
    ) -> Prediction:
        """x0_hat; xs when s is given; features 0 and 1: the predictions x0_hat and eps_hat, flattened, (B, D)."""
        x0_hat = self.consistency(xt, t, cond) if self.predicts == "flow_map" else self.x0_hat(xt, t, cond)
        xs = self.flow_map(xt, t, s, cond) if s is not None else None
        hidden = (x0_hat.flatten(1), self.eps(xt, t, cond).flatten(1)) if features else ()
        return Prediction(x0_hat=x0_hat, xs=xs, features=tuple(hidden[k] for k in features))


class GaussianTeacher(_Gaussian):
    """x0 ~ N(mean, diag(std^2)) or N(mean, covariance); with classes, N(class_means[cond], same covariance).

    Guidance has an oracle, because all classes share the covariance: `Guided(teacher, g)` is exactly the teacher whose
    mean is `mean + g (class_mean - mean)`; see `guided`. The null condition is the label K; it and `cond=None` mean
    `mean`.

    Args:
        process: any Gaussian process.
        mean: float or (*event); the event is taken from it unless `space` gives it, and is (1,) for a float.
        std: float or (*event), standard deviations of independent elements (0 is a point mass).
        covariance: (D, D) over the flattened event, instead of std.
        class_means: (K, *event), one mean per class.
    """

    def __init__(
        self,
        process: GaussianProcess,
        mean: float | Tensor,
        std: float | Tensor | None = None,
        *,
        covariance: Tensor | None = None,
        class_means: Tensor | None = None,
        space: Space | None = None,
    ):
        if (std is None) == (covariance is None):
            raise ValueError("give either std (independent elements) or covariance (D, D); got both or neither")
        space = space or Space(
            event_of(mean, (len(covariance),) if covariance is not None else torch.as_tensor(std).shape)
        )
        super().__init__(process, space, mean, class_means)
        self.basis: Tensor | None
        self.variance: Tensor  # (*event): variances, or eigenvalues of the covariance in event shape
        if covariance is None:
            assert std is not None
            variance = torch.as_tensor(std, dtype=torch.float64).square().expand(space.event).clone()
            self.register_buffer("basis", None)
        else:
            variance, basis = torch.linalg.eigh(torch.as_tensor(covariance, dtype=torch.float64))
            if variance.min() < -1e-12 * variance.max():
                raise ValueError(
                    f"covariance must be positive semidefinite; its smallest eigenvalue is {variance.min():.3g}"
                )
            variance = variance.clamp_min(0).reshape(space.event)
            self.register_buffer("basis", basis)
        self.register_buffer("variance", variance)
        self.freeze()

    def _apply_spectrum(self, gain: Tensor, y: Tensor) -> Tensor:
        """g(Sigma) y where `gain` holds g(eigenvalue), broadcastable to y."""
        if self.basis is None:
            return gain * y
        basis = self.basis.to(y.dtype)
        return ((y.flatten(1) @ basis * gain.expand_as(y).flatten(1)) @ basis.T).reshape(y.shape)

    def _precision(self, y: Tensor, c: Coefficients, frames: bool) -> Tensor:
        if frames and self.basis is not None:
            a = c.alpha_t.expand_as(y).flatten(1)
            return _solve(a.unsqueeze(2) * self.covariance.to(y) * a.unsqueeze(1), c.sigma_t, y)
        total = c.alpha_t**2 * self.variance.to(y) + c.sigma_t**2
        return self._apply_spectrum(torch.where(total == 0, 0.0, 1 / torch.where(total == 0, 1.0, total)), y)

    def _spread(self, y: Tensor) -> Tensor:
        return self._apply_spectrum(self.variance.to(y), y)

    def _roots(self, y: Tensor, of: Coefficients, over: Coefficients) -> Tensor:
        return self._apply_spectrum(_ratio_of_roots(self.variance.to(y), of, over), y)

    def _log_det(self, y: Tensor, c: Coefficients) -> Tensor:
        return (c.alpha_t**2 * self.variance.to(y) + c.sigma_t**2).expand_as(y).log().flatten(1).sum(1)

    @property
    def covariance(self) -> Tensor:
        variance = self.variance.double().flatten()
        return torch.diag(variance) if self.basis is None else (self.basis * variance) @ self.basis.T

    @property
    def factor(self) -> Tensor:
        """The symmetric root of the covariance: (*event) when diagonal, (D, D) otherwise."""
        root = self.variance.double().sqrt()
        return root if self.basis is None else (self.basis * root.flatten()) @ self.basis.T

    def sample(
        self, n: int, rng: Rng, cond: Any = None, *, t: float | None = None, purpose: str = "sample",
        dtype: torch.dtype = torch.float64,
    ) -> Tensor:  # fmt: skip
        """`n` draws of x0, or of x_t at time t, (n, *event). Draws normal `purpose`."""
        z = rng.normal(purpose, (n, *self.space.event), dtype)
        c = self.process.at(torch.full((n,), 0.0 if t is None else t, dtype=torch.float64, device=z.device), z)
        root = (c.alpha_t**2 * self.variance.to(z) + c.sigma_t**2).sqrt()
        return c.alpha_t * self.mean_of(cond, z) + self._apply_spectrum(root, z)

    def guided(self, scale: float) -> "GaussianTeacher":
        """The exact guided teacher: class means moved to mean + scale (class_mean - mean)."""
        mean = self.means[-1]
        same: dict[str, Any] = {"std": self.factor} if self.basis is None else {"covariance": self.covariance}
        moved = mean + scale * (self.means[:-1] - mean)
        return GaussianTeacher(self.process, mean, class_means=moved, space=self.space, **same)

    def trainable_copy(self, mode: Literal["full", "lora"] = "full", **options: Any) -> "GaussianPredictor":
        """A `GaussianPredictor` that starts as this distribution."""
        if mode != "full":
            raise TypeError(f"GaussianTeacher can only be copied in mode 'full'; got {mode!r}")
        return GaussianPredictor(
            self.process, self.means[-1], self.factor, class_means=self._class_means(), space=self.space, **options
        )


class _Factored(Conditional):
    """A distribution N(m, A A^T) with a learnable `factor` A, (*event) when diagonal or (D, D)."""

    factor: nn.Parameter

    @property
    def diagonal(self) -> bool:
        return not _is_matrix(self.factor, self.space)

    @property
    def covariance(self) -> Tensor:
        a = self.factor.double()
        return torch.diag(a.flatten().square()) if self.diagonal else a @ a.T


class GaussianPredictor(_Factored, _Gaussian):
    """A trainable Gaussian N(m, A A^T) that predicts in closed form; with `GaussianGenerator`, the perfect critic.

    Learnable: `means` (K + 1, *event), one per class and, last, the unconditional one; `factor` A, (*event) when
    diagonal or (D, D). As a critic of a Gaussian student it can be exactly right; `predicts="flow_map"` makes the same
    Gaussian predict f(xt, t), the end of the trajectory, as a consistency model does, with the trajectory's exact
    boundary at t = 0.
    """

    def __init__(
        self,
        process: GaussianProcess,
        mean: float | Tensor,
        factor: float | Tensor,
        *,
        class_means: Tensor | None = None,
        space: Space | None = None,
        predicts: Literal["denoiser", "flow_map"] = "denoiser",
    ):
        space = space or Space(event_of(mean, torch.as_tensor(factor).shape[:1]))
        super().__init__(process, space, mean, class_means)
        self.predicts = predicts
        self.factor = nn.Parameter(_factor(factor, space))

    def _precision(self, y: Tensor, c: Coefficients, frames: bool) -> Tensor:
        if self.diagonal:
            return y / (c.alpha_t**2 * self.factor.to(y).square() + c.sigma_t**2)
        a = c.alpha_t.expand_as(y).flatten(1)
        return _solve(a.unsqueeze(2) * self.covariance.to(y) * a.unsqueeze(1), c.sigma_t, y)

    def _spread(self, y: Tensor) -> Tensor:
        return _multiply(self.factor.to(y).square() if self.diagonal else self.covariance.to(y), y, self.diagonal)

    def _roots(self, y: Tensor, of: Coefficients, over: Coefficients) -> Tensor:
        if self.diagonal:
            return _ratio_of_roots(self.factor.to(y).square(), of, over) * y
        # eigenvectors have gradients only where eigenvalues differ: start a full factor away from a multiple of I
        variance, basis = torch.linalg.eigh(self.covariance.to(y))
        gain = _ratio_of_roots(variance.reshape(self.space.event), of, over)
        return ((y.flatten(1) @ basis * gain.expand_as(y).flatten(1)) @ basis.T).reshape(y.shape)

    def _log_det(self, y: Tensor, c: Coefficients) -> Tensor:
        if self.diagonal:
            return (c.alpha_t**2 * self.factor.to(y).square() + c.sigma_t**2).expand_as(y).log().flatten(1).sum(1)
        a, sigma = c.alpha_t.expand_as(y).flatten(1), c.sigma_t.expand_as(y).flatten(1)
        matrix = a.unsqueeze(2) * self.covariance.to(y) * a.unsqueeze(1) + torch.diag_embed(sigma**2)
        return torch.linalg.slogdet(matrix).logabsdet


class GaussianGenerator(_Factored):
    """x = m + A z with z = xt / prior_std, whatever the time: a one-step generator with distribution N(m, A A^T).

    A `Predictor`, so that rollouts and objectives take it: x0_hat = m + A xt / prior_std. Learnable: `means`, `factor`
    (as in `GaussianPredictor`). `denoiser()` is the critic that is exactly right about it.
    """

    process: GaussianProcess

    def __init__(
        self,
        process: GaussianProcess,
        mean: float | Tensor,
        factor: float | Tensor,
        *,
        class_means: Tensor | None = None,
        space: Space | None = None,
    ):
        space = space or Space(event_of(mean, torch.as_tensor(factor).shape[:1]))
        super().__init__(process, space, mean, class_means)
        self.factor = nn.Parameter(_factor(factor, space))

    def forward(
        self, xt: Tensor, t: Tensor, cond: Any = None, *, s: Tensor | None = None, features: Sequence[int] = ()
    ) -> Prediction:
        """m + A xt / prior_std, (B, *event); xs by the DDIM form of it; features 0: x0_hat, flattened."""
        x0_hat = self.mean_of(cond, xt) + _multiply(self.factor.to(xt), xt / self.process.prior_std, self.diagonal)
        xs = self.process.ddim(xt, t, s, x0_hat) if s is not None else None
        return Prediction(x0_hat=x0_hat, xs=xs, features=tuple(x0_hat.flatten(1) for _ in features))

    def denoiser(self) -> GaussianPredictor:
        """The denoiser of this generator's own distribution, as it is now (a copy)."""
        values = self.means.detach(), self.factor.detach()
        return GaussianPredictor(
            self.process, values[0][-1].clone(), values[1].clone(), class_means=self._class_means(), space=self.space
        )


# --- linear algebra --------------------------------------------------------------------------------------------------


def _is_matrix(factor: Tensor, space: Space) -> bool:
    """A (D, D) factor; an event of shape (D, D) with one element is the only ambiguity, and there both agree."""
    count = math.prod(space.event)
    return factor.shape == (count, count) and space.event != (count, count)


def _factor(factor: float | Tensor, space: Space) -> Tensor:
    value = torch.as_tensor(factor, dtype=torch.float64).detach()
    return value.clone() if _is_matrix(value, space) else value.expand(space.event).clone()


def _multiply(factor: Tensor, y: Tensor, diagonal: bool) -> Tensor:
    return factor * y if diagonal else (y.flatten(1) @ factor.T).reshape(y.shape)


def _ratio_of_roots(variance: Tensor, of: Coefficients, over: Coefficients) -> Tensor:
    """sqrt((alpha_s^2 v + sigma_s^2) / (alpha_t^2 v + sigma_t^2)), 1 where both vanish."""
    above, below = (c.alpha_t**2 * variance + c.sigma_t**2 for c in (of, over))
    zero = below == 0
    return torch.where(zero, 1.0, above / torch.where(zero, 1.0, below)).sqrt()


def _solve(scaled: Tensor, sigma_t: Tensor, y: Tensor) -> Tensor:
    """(scaled + diag(sigma^2))^{-1} y; scaled (B, D, D), y (B, *event)."""
    dtype = torch.promote_types(y.dtype, torch.float32)
    matrix = scaled.to(dtype) + torch.diag_embed(sigma_t.expand_as(y).flatten(1).to(dtype) ** 2)
    return torch.linalg.solve(matrix, y.flatten(1).to(dtype)).to(y.dtype).reshape(y.shape)
