"""What all objectives share that move a student's samples along a vector field. `rollouts` makes the samples,
`score_difference` and `ism` make the field.
"""

from typing import Any

from torch import Tensor

from limbeck.interfaces import Batch, Generator, Loss, Phase, Predictor, Sample, Teacher, average
from limbeck.networks.scenes import Scene
from limbeck.randomness import Rng
from limbeck.sampling.rollouts import Grad
from limbeck.scheduled import Scheduled, value_at
from limbeck_diffusion.formulas.fields import clip_field, injection_loss
from limbeck_diffusion.objectives.base import StudentObjective
from limbeck_diffusion.objectives.matching.rollouts import rollout_of


def range_at(scheduled: tuple[Scheduled, Scheduled], step: int) -> tuple[float, float]:
    """A scheduled range of times at a step."""
    low, high = scheduled
    return value_at(low, step), value_at(high, step)


class FieldObjective(StudentObjective):
    """Base class. Subclasses are named (`name`, for messages), and make a field in `loss`.

    Roles: generator. Draws: those of the rollout (`limbeck_diffusion.objectives.matching.rollouts`).
    """

    name: str
    default_source = "prior"
    options: Any
    teacher: Teacher

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.rollout = rollout_of(self.options.rollout, self.name)

    def setup(self, generator: Generator, teacher: Teacher | None = None, **named: Any) -> None:
        if teacher is None:
            raise ValueError(
                f"{self.name} needs a teacher, got None. Pass one to setup, or add a `teacher:` block to the recipe."
            )
        if not isinstance(generator, Scene | Predictor):
            raise TypeError(
                f"{self.name} moves samples of its generator, so that must be a limbeck.Predictor, which it rolls out, "
                f"or a limbeck.Scene, which it renders; got {type(generator).__name__}. "
                "Wrap a raw network with limbeck.Denoiser."
            )
        self.teacher = teacher
        teacher.space.codec.requires_grad_(False)  # gradients pass through it to a scene, and stop at its weights
        self.rollout.set_up(generator, teacher)
        self._sums = isinstance(generator, Scene)  # with reduction null
        self.add_role("generator", generator)

    def sampling(self) -> dict[str, Any]:
        """What the generator of `setup` is sampled with; before it, a few-step student's."""
        return self.rollout.sampling()

    # --- samples and their gradients ---

    def student_sample(self, phase: Phase, batch: Batch, rng: Rng, grad: Grad) -> Sample:
        return self.rollout(self.network("generator", phase), batch, rng, grad)

    def field_loss(self, sample: Sample, field: Tensor, batch: Batch, rng: Rng, count: int | None = None) -> Loss:
        """The loss whose gradient is the field (over `count` with reduction mean), and the sample's penalties: divided
        by thousands of pixels, the field of a scene would be nothing beside them."""
        how: Any = self.options.field
        if how.clip is not None:
            field = clip_field(field, value_at(how.clip, rng.step), how.clip_by)
        reduction = how.reduction or ("sum" if self._sums else "mean")
        divisor = 1 if reduction == "sum" else count
        loss = average(injection_loss(sample.at, field, divisor), batch.weight)
        terms = {"field": field.detach().abs().mean()}
        for name, penalty in sample.penalties.items():
            mean = average(penalty, batch.weight)
            loss = loss + mean
            terms[name] = mean.detach()
        return Loss(loss, terms)


__all__ = ["FieldObjective", "range_at"]
