"""The sampler `orbit`: a scene rendered for the cameras of its conditions."""

from limbeck.errors import LimbeckError
from limbeck.interfaces import Sample, Sampler
from limbeck.networks.scenes import Scene


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


__all__ = ["Orbit"]
