r"""A teacher of views that is exact: for every camera a Gaussian around the true render of a known mesh.

    p(x0 | view, prompt) = N(render(view), v^2 I),      p(x0 | view) = N(background, v^2 I)

with the same v > 0, so that guidance of scale G is again such a teacher, of mean background + G (render - background).
What an objective makes of it is known on paper, and a scene that it distils can be measured against the mesh: whatever
fails here is not the fault of a learned teacher. Letters: B views, H W pixels.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from limbeck.conditions import Conditions
from limbeck.errors import LimbeckError
from limbeck.interfaces import Prediction, Predictor, Teacher
from limbeck.networks.scenes import Cameras
from limbeck.process.gaussian import GaussianProcess, process_named
from limbeck_3d.geometry.shapes import checked, fit
from limbeck_3d.geometry.solids import build, surface
from limbeck_3d.networks.view_unet import SIGMA_DATA, ViewEmbedding
from limbeck_3d.options.teachers import OracleOptions
from limbeck_3d.prompts import captions
from limbeck_3d.rendering.rasterise import Surface, over, rasterise
from limbeck_3d.rendering.space import render_space
from limbeck_diffusion.networks.unet import UNet


def gaussian_x0(process: GaussianProcess, xt: Tensor, t: Tensor, mean: Tensor, std: float) -> Tensor:
    """E[x0 | xt] for x0 ~ N(mean, std^2): mean + alpha std^2 / (alpha^2 std^2 + sigma^2) (xt - alpha mean)."""
    c = process.at(t, xt)
    gain = c.alpha_t * std**2 / (c.alpha_t**2 * std**2 + c.sigma_t**2)
    return mean + gain * (xt - c.alpha_t * mean)


class OracleViews(Teacher):
    """The teacher of this module. Conditions as those of `3d/views`: cameras, background and text. The text names
    the mesh (unless option `mesh` does); where it is all zero there is none, only the background.
    """

    Options = OracleOptions
    process: GaussianProcess

    def __init__(self, **options: Any):
        super().__init__()
        self.options = OracleOptions(**options)
        self.process, self.space = process_named(self.options.process), render_space(self.options.size)
        self.std = self.options.std
        self._surfaces: dict[tuple[int, ...], Surface] = {}
        self._file = _from_file(self.options.mesh) if self.options.mesh else None
        self._last: tuple[Conditions, Tensor] | None = None
        self.freeze()

    def means(self, cond: Any) -> Tensor:
        """Mean of every row, (B, 3, H, W) float32: the true render, or the background where there is no prompt."""
        if not isinstance(cond, Conditions):
            raise LimbeckError(
                "the oracle of views needs cameras, background and text among its conditions; got "
                f"{type(cond).__name__}"
            )
        if self._last is not None and self._last[0] == cond:
            return self._last[1]
        background, size = cond["background"].float(), self.options.size
        mean = background[:, :, None, None].expand(-1, 3, size, size).clone()
        words = cond["text"][:, 1:].cpu()  # the first token names the view
        for prompt in words.unique(dim=0):
            if not bool(prompt.any()):
                continue
            rows = (words == prompt).all(dim=1).nonzero()[:, 0].to(background.device)
            seen = rasterise(self.surface_of(prompt), Cameras.of(cond[rows].to("cpu")).float(), size)
            mean[rows] = over(seen.colour.to(mean), seen.alpha.to(mean), background[rows])
        self._last = (cond, mean)
        return mean

    def surface_of(self, words: Tensor) -> Surface:
        """The mesh that tokens (L - 1,) describe, without the one for the view."""
        if self._file is not None:
            return self._file
        key = tuple(words.tolist())
        if key not in self._surfaces:
            prompt = captions.decode(torch.tensor([[0, *key]]))[0]
            self._surfaces[key] = surface(build(prompt), prompt)
        return self._surfaces[key]

    def forward(self, xt: Tensor, t: Tensor, cond: Any = None, *, features: Sequence[int] = ()) -> Prediction:
        return Prediction(x0_hat=gaussian_x0(self.process, xt, t, self.means(cond).to(xt), self.std))

    def null(self, cond: Any) -> Any:
        return cond.but(text=torch.zeros_like(cond["text"]))

    def trainable_copy(self, mode: Literal["full", "lora"] = "full", **options: Any) -> "OracleCritic":
        """The closed form with a small network added to it, which starts at zero: a critic."""
        if mode != "full":
            raise TypeError(f"the oracle of views has no weights to adapt, only mode 'full'; got {mode!r}")
        return OracleCritic(self)


class OracleCritic(Predictor):
    """x0_hat = closed form + c(t) network(xt, t, cond): starts as the oracle and can learn another distribution of
    views."""

    process: GaussianProcess

    def __init__(self, oracle: OracleViews):
        super().__init__()
        self.process, self.space = oracle.process, oracle.space
        self._oracle = [oracle]  # in a list: a frozen partner, no part of what is trained and saved
        self.network = UNet(
            self.space, channels=oracle.options.critic_channels, patch=2, embedding=64,
            condition=lambda width: ViewEmbedding(width, 8),
        )  # fmt: skip

    def forward(
        self, xt: Tensor, t: Tensor, cond: Any = None, *, s: Tensor | None = None, features: Sequence[int] = ()
    ) -> Prediction:
        oracle, c = self._oracle[0], self.process.at(t, xt)
        mean = oracle.means(cond).to(xt)
        known = gaussian_x0(self.process, xt, t, mean, oracle.std)
        scale = torch.sqrt((c.alpha_t * SIGMA_DATA) ** 2 + c.sigma_t**2)
        # the network sees what it has to correct: where the noised view differs from the known mean
        out = self.network((xt - c.alpha_t * mean) / scale, t / self.process.t_max, cond)
        return Prediction(x0_hat=known + SIGMA_DATA * c.sigma_t / scale * out)

    def null(self, cond: Any) -> Any:
        return self._oracle[0].null(cond)

    def trainable_copy(self, mode: Literal["full", "lora"] = "full", **options: Any) -> "OracleCritic":
        if mode != "full":
            raise TypeError(f"OracleCritic can only be copied in mode 'full'; got {mode!r}")
        twin = OracleCritic(self._oracle[0])
        twin.load_state_dict(self.state_dict())
        return twin.train().requires_grad_(True)


def _from_file(path: str) -> Surface:
    import trimesh

    try:
        mesh = trimesh.load(path, force="mesh")
    except (OSError, ValueError) as error:
        raise LimbeckError(f"the mesh {path} cannot be read: {error}") from error
    return surface(fit(checked(mesh, path)), path)


__all__ = ["OracleCritic", "OracleViews", "gaussian_x0"]
