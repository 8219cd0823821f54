"""How renders are looked at, and how a scene is asked for them: the view `renders` and the sampler `orbit`."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from limbeck.conditions import Conditions
from limbeck.errors import LimbeckError
from limbeck.interfaces import Sample, Sampler
from limbeck.networks.scenes import Scene
from limbeck.pictures.grids import ImageGrid, image_grid

COLUMNS = 8  # `data.orbit_cameras` goes around once in so many views


def renders(samples: Tensor, cond: Any = None, *, captions: Sequence[str] | None = None) -> ImageGrid:
    """Renders (N, 3, H, W) in [-1, 1], eight in a row, with the cameras' angles below."""
    if captions is None and isinstance(cond, Conditions) and {"azimuth", "elevation"} <= set(cond):
        angles = zip(cond["azimuth"].tolist(), cond["elevation"].tolist(), strict=True)
        captions = [f"{azimuth:.0f}, {elevation:.0f}" for azimuth, elevation in angles]
    return image_grid(samples, captions=captions, columns=min(COLUMNS, len(samples)), cell=64)


class Orbit(Sampler):
    """Renders a scene for the cameras among the conditions: one render per sample, and nothing random."""

    def __call__(self, predictor, cond, *, steps=1, rng=None, batch_size=None, noise=None) -> Sample:
        if not isinstance(predictor, Scene):
            raise LimbeckError(
                f"the sampler 'orbit' renders scenes; {type(predictor).__name__} is none. Sample it with heun"
            )
        image = predictor(cond).image
        return Sample(value=image, at=image, t_from=0.0, t_to=0.0, evaluations=1)

    def evaluations(self, steps: int) -> int:
        return 1
