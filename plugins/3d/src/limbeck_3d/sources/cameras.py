"""The source `cameras`: one prompt, seen by random cameras."""

from typing import Any

from limbeck.errors import LimbeckError
from limbeck.interfaces import Batch, Data, Source
from limbeck.randomness import Rng
from limbeck_3d.data.cameras import conditions_of, random_cameras
from limbeck_3d.data.prompt import Prompt
from limbeck_3d.options.cameras import CameraOptions


class RandomCameras(Source):
    """Cameras all around the prompt of the data, each in front of a background of its own.

    Draws: azimuth, elevation, distance, fov, background.
    """

    Options = CameraOptions

    def __init__(self, data: Data | None = None, teacher: Any = None, generator: Any = None, **options: Any):
        options.pop("objective", None)  # a partner that this source does not need
        if not isinstance(data, Prompt):
            raise LimbeckError(
                f"the source 'cameras' looks at one prompt; the recipe's data is {type(data).__name__}. "
                "Use data: {use: 3d/prompt, prompt: 'a red torus'}"
            )
        self.options = CameraOptions(**options)
        self.data = data

    def batch(self, size: int, rng: Rng) -> Batch:
        cameras = random_cameras(rng, size, self.options)
        background = 2 * rng.uniform("background", (size, 3)) - 1
        tokens = self.data.tokens.to(rng.device)
        return Batch(cond=self.data.with_captions(conditions_of(tokens, cameras, background, self.options.view_words)))


__all__ = ["RandomCameras"]
