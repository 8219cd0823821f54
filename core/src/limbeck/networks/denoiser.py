"""Adapters convert once: a raw network with its own prediction kind becomes a `Predictor` of x0_hat."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from limbeck.interfaces import Prediction, Predictor, Space
from limbeck.networks.cache import Cache
from limbeck.process.gaussian import GaussianProcess


class Denoiser(Predictor):
    """A network as a `Predictor` on a Gaussian process.

    `network(x, t, cond, s=..., features=...)` returns `out` (B, *event), and `(out, features)` with features.
    It sees `x` scaled to unit variance and a time in [0, 1]-like range, the shape of t ((B,), or (B, F) for one
    per frame), see `prediction`:

    - velocity, v, eps, x0: x_in = x_t / sqrt(alpha_t^2 sigma_data^2 + sigma_t^2), time = t / t_max; out is that
      quantity.
    - edm: the preconditioning of Karras et al. 2022, Tab. 1, in the frame of the process: with sigma = sigma_t/alpha_t
      and x = x_t/alpha_t, x0_hat = c_skip x + c_out out, time = log(sigma) / 4.

    Args:
        null: label (int) or tensor that means "no condition"; None if the network has no unconditional branch.
        two_times: the network accepts s (flow maps); `xs` is then the DDIM form of x0_hat(x_t, t, s).

    A causal network that can go on from finished frames has `new_cache(window, sink, tag)`, takes `cache=` and `write=`
    (see `limbeck.networks.cache`), and has `chunk`, how many frames attend to each other in a call on a whole clip (1);
    one that takes `ahead=` as well sets `cache_ahead`.
    """

    process: GaussianProcess

    def __init__(
        self,
        network: nn.Module,
        process: GaussianProcess,
        space: Space,
        *,
        prediction: Literal["velocity", "v", "eps", "x0", "edm"] = "velocity",
        sigma_data: float = 0.5,
        null: int | Tensor | None = None,
        two_times: bool = False,
    ):
        super().__init__()
        self.network, self.process, self.space = network, process, space
        self.prediction, self.sigma_data, self.null_value, self.two_times = prediction, sigma_data, null, two_times

    def forward(
        self,
        xt: Tensor,
        t: Tensor,
        cond: Any = None,
        *,
        s: Tensor | None = None,
        features: Sequence[int] = (),
        cache: Cache | None = None,
        write: bool = False,
        ahead: int = 0,
    ) -> Prediction:
        c = self.process.at(t, xt)
        scale = torch.sqrt((c.alpha_t * self.sigma_data) ** 2 + c.sigma_t**2)
        if self.prediction == "edm":
            # finite at both ends: sigma = 0 at t = 0, and infinite where alpha_t vanishes
            time = (c.sigma_t / c.alpha_t.clamp_min(1e-8)).clamp(1e-8, 1e8).log().reshape(t.shape) / 4
        else:
            time = t / self.process.t_max
        extra: dict[str, Any] = {}
        if s is not None:
            if not self.two_times:
                raise TypeError("this network takes no second time s; build it with two_times=True to learn a flow map")
            extra["s"] = s / self.process.t_max
        if features:
            extra["features"] = tuple(features)
        if cache is not None:
            extra |= {"cache": cache, "write": write} | ({"ahead": ahead} if ahead else {})
        out = self.network(xt / scale, time, cond, **extra)
        out, hidden = out if features else (out, ())
        if self.prediction == "edm":
            # c_skip x + c_out F, with x = x_t / alpha_t and c_skip = sigma_data^2 / (sigma^2 + sigma_data^2)
            x0_hat = (c.alpha_t * self.sigma_data**2 * xt + c.sigma_t * self.sigma_data * scale * out) / scale**2
        else:
            x0_hat = self.process.convert(out, self.prediction, "x0", xt, t)
        xs = self.process.ddim(xt, t, s, x0_hat) if s is not None else None
        return Prediction(x0_hat=x0_hat, xs=xs, features=tuple(hidden))

    @property
    def chunk(self) -> int:
        return getattr(self.network, "chunk", 1)

    @property
    def cache_ahead(self) -> bool:
        return getattr(self.network, "cache_ahead", False)

    def new_cache(self, window: int | None = None, sink: int = 0, tag: str = "cond") -> Cache:
        if not hasattr(self.network, "new_cache"):
            return super().new_cache(window, sink, tag)
        network: Any = self.network
        return network.new_cache(window=window, sink=sink, tag=tag)

    def null(self, cond: Any) -> Any:
        if self.null_value is None or cond is None:
            return super().null(cond)
        if isinstance(self.null_value, Tensor):
            return self.null_value.to(cond).expand_as(cond)
        return torch.full_like(cond, self.null_value)
