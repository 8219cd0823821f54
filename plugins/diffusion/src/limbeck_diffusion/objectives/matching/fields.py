"""What all objectives share that move a student's samples along a vector field: rollouts of few-step students, renders
of scenes, tokens. How the field is made is the business of `score_difference` and `ism`.
"""

from typing import Any

import torch
from torch import Tensor

from limbeck.interfaces import Batch, Generator, Loss, Objective, Phase, Predictor, Sample, Teacher, average
from limbeck.networks.scenes import Scene
from limbeck.process.categorical import CategoricalProcess
from limbeck.randomness import Rng
from limbeck.sampling.rollouts import Grad, Plan, produce
from limbeck.scheduled import Scheduled, value_at
from limbeck_diffusion.formulas.fields import clip_field, injection_loss


def range_at(scheduled: tuple[Scheduled, Scheduled], step: int) -> tuple[float, float]:
    """A scheduled range of times at a step."""
    low, high = scheduled
    return value_at(low, step), value_at(high, step)


class FieldObjective(Objective):
    """Base class. Subclasses are named (`name`, for messages), and make a field in `loss`.

    Roles: generator. Draws: noise, exit, renoise/k (rollouts); noise, random, token (tokens).
    """

    name: str
    default_source = "prior"
    teacher: Teacher
    plan: Plan | None = None

    def setup(self, generator: Generator, teacher: Teacher | None = None, **named: Any) -> None:
        if teacher is None:
            raise ValueError(
                f"{self.name} needs a teacher, got None. Pass one to setup, or add a `teacher:` block to the recipe."
            )
        self.teacher = teacher
        teacher.space.codec.requires_grad_(False)  # gradients pass through it to a scene, and stop at its weights
        if isinstance(generator, Scene):
            self._check_scene(generator, teacher)
        elif isinstance(generator, Predictor):
            self._check_predictor(generator, teacher)
        else:
            raise TypeError(
                f"{self.name} moves samples of its generator, so that must be a limbeck.Predictor, which it rolls out, "
                f"or a limbeck.Scene, which it renders; got {type(generator).__name__}. "
                "Wrap a raw network with limbeck.Denoiser."
            )
        self.add_role("generator", generator)
        self._kind = "scene" if isinstance(generator, Scene) else "steps" if self.plan else "tokens"

    def _check_predictor(self, generator: Predictor, teacher: Teacher) -> None:
        steps = self.options.steps
        if generator.process != teacher.process:
            raise ValueError(
                f"{self.name} compares both models at one noise level, but the generator lives on {generator.process} "
                f"and the teacher on {teacher.process}. Give the generator the teacher's process (init: teacher)."
            )
        if generator.space.event != teacher.space.event:
            raise ValueError(
                f"{self.name} shows the generator's samples to the teacher, but they have shape "
                f"{generator.space.event} and the teacher's {teacher.space.event}. Use a generator of the teacher's "
                "size (init: teacher)."
            )
        if isinstance(teacher.process, CategoricalProcess):
            if steps > 1:
                raise ValueError(f"{self.name} trains one call on tokens: steps is 1; got {steps}")
        else:
            exits = self.options.exit if steps > 1 else "last"
            self.plan = Plan.uniform(teacher.process, steps, exit=exits)

    def _check_scene(self, scene: Scene, teacher: Teacher) -> None:
        if isinstance(teacher.process, CategoricalProcess):
            raise ValueError(f"{self.name}: a scene renders pictures, but the teacher predicts tokens")
        if self.options.steps > 1:
            raise ValueError(f"{self.name}: a scene is one render, so steps is 1; got {self.options.steps}")
        codec = teacher.space.codec
        tensors = (*codec.parameters(), *codec.buffers())
        like = tensors[0] if tensors else torch.zeros(())
        blank = torch.zeros(1, *scene.space.event, device=like.device, dtype=like.dtype)
        with torch.no_grad():
            try:
                shown = tuple(codec.encode(blank).shape)
            except RuntimeError as error:
                raise ValueError(
                    f"{self.name}: the teacher's codec cannot encode renders {scene.space.event}: {error}"
                ) from error
        if shown[1:] != teacher.space.event:
            via = "" if shown[1:] == scene.space.event else f", which its codec turns into {shown[1:]}"
            raise ValueError(
                f"{self.name} shows the scene's renders {scene.space.event} to the teacher{via}, whose samples have "
                f"shape {teacher.space.event}. Render at the teacher's resolution (generator.size)."
            )

    def sampling(self) -> dict[str, Any]:
        """What the generator of `setup` is sampled with; before it, a few-step student's."""
        kind = getattr(self, "_kind", "steps")
        if kind == "scene":
            return {"use": "orbit"}
        if kind == "tokens":
            return {"use": "one_call", "steps": 1, "random_tokens": getattr(self.options, "random_tokens", 0.0)}
        return {"use": "multistep", "steps": self.options.steps}

    # --- samples and their gradients ---

    def student_sample(self, phase: Phase, batch: Batch, rng: Rng, grad: Grad) -> Sample:
        return produce(
            self.network("generator", phase), batch, plan=self.plan, rng=rng, grad=grad, space=self.teacher.space,
            random_tokens=getattr(self.options, "random_tokens", 0.0),
        )  # fmt: skip

    def field_loss(self, sample: Sample, field: Tensor, batch: Batch, rng: Rng, count: int | None = None) -> Loss:
        """The loss whose gradient is the field (over `count` with reduction mean), and the sample's penalties: divided
        by thousands of pixels, the field of a scene would be nothing beside them."""
        options = self.options
        if options.clip is not None:
            field = clip_field(field, value_at(options.clip, rng.step), options.clip_by)
        reduction = options.reduction or ("sum" if self._kind == "scene" else "mean")
        divisor = 1 if reduction == "sum" else count
        loss = average(injection_loss(sample.at, field, divisor), batch.weight)
        terms = {"field": field.detach().abs().mean()}
        for name, penalty in sample.penalties.items():
            mean = average(penalty, batch.weight)
            loss = loss + mean
            terms[name] = mean.detach()
        return Loss(loss, terms)
