"""How a student's samples are made: a few calls, a render, all tokens at once, or a clip chunk by chunk."""

from dataclasses import replace
from typing import Any, Protocol

import torch

from limbeck.interfaces import Batch, Predictor, Sample, Teacher
from limbeck.networks.scenes import Scene
from limbeck.process.categorical import CategoricalProcess
from limbeck.randomness import Rng
from limbeck.sampling.chunks import chunk_size, chunked_rollout
from limbeck.sampling.rollouts import Grad, Plan, produce
from limbeck_diffusion.options.rollouts import ChunkedRollout, Chunks, FewStepRollout
from limbeck_diffusion.samplers.streaming import chunk_plan


class Rollout(Protocol):
    """Made from its options and the objective's name (for messages); `set_up` comes before any call."""

    def set_up(self, generator: Any, teacher: Teacher) -> None:
        """Refuse a generator that cannot be rolled out, or that this teacher cannot judge."""

    def sampling(self) -> dict[str, Any]:
        """The sampler that makes samples as they are trained; before `set_up`, that of a few-step student."""

    def __call__(self, network: Any, batch: Batch, rng: Rng, grad: Grad) -> Sample:
        """A sample for every row, (B, *event)."""


def check_partners(name: str, generator: Predictor, teacher: Teacher) -> None:
    """Teacher and generator must share process and shape, as one judges the samples of the other."""
    if generator.process != teacher.process:
        raise ValueError(
            f"{name} compares both models at one noise level, but the generator lives on {generator.process} "
            f"and the teacher on {teacher.process}. Give the generator the teacher's process (init: teacher)."
        )
    if generator.space.event != teacher.space.event:
        raise ValueError(
            f"{name} shows the generator's samples to the teacher, but they have shape "
            f"{generator.space.event} and the teacher's {teacher.space.event}. Use a generator of the teacher's "
            "size (init: teacher)."
        )


class FewStep:
    """A few calls of a predictor (`steps`), one call on tokens, one render of a scene.

    Draws: noise, exit, renoise/k; noise, random, token (tokens).
    """

    def __init__(self, options: FewStepRollout, name: str):
        self.options, self.name = options, name
        self.plan: Plan | None = None
        self._sampler = "multistep"

    def set_up(self, generator: Any, teacher: Teacher) -> None:
        self.space = teacher.space
        if isinstance(generator, Scene):
            self._sampler = "orbit"
            self._check_scene(generator, teacher)
            return
        check_partners(self.name, generator, teacher)
        steps = self.options.steps
        if isinstance(teacher.process, CategoricalProcess):
            self._sampler = "one_call"
            if steps > 1:
                raise ValueError(f"{self.name} trains one call on tokens: rollout.steps is 1; got {steps}")
        else:
            exits = self.options.exit if steps > 1 else "last"
            self.plan = Plan.uniform(teacher.process, steps, exit=exits)

    def _check_scene(self, scene: Scene, teacher: Teacher) -> None:
        if isinstance(teacher.process, CategoricalProcess):
            raise ValueError(f"{self.name}: a scene renders pictures, but the teacher predicts tokens")
        if self.options.steps > 1:
            raise ValueError(f"{self.name}: a scene is one render, so rollout.steps is 1; got {self.options.steps}")
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
        match self._sampler:
            case "orbit":
                return {"use": "orbit"}
            case "one_call":
                return {"use": "one_call", "steps": 1, "random_tokens": self.options.random_tokens}
        return {"use": self._sampler, "steps": self.options.steps}

    def __call__(self, network: Any, batch: Batch, rng: Rng, grad: Grad) -> Sample:
        return produce(
            network, batch, plan=self.plan, rng=rng, grad=grad, space=self.space,
            random_tokens=self.options.random_tokens,
        )  # fmt: skip


class Chunked:
    """Self Forcing, Huang et al. 2025: chunk by chunk behind a cache, one random exit for all chunks, gradient through
    the last call of each chunk and never across chunks. Teacher and critic are bidirectional and see the whole clip at
    one level of noise.

    Draws: length (with `frames`); exit, noise/k, renoise/k/i, context/k.
    """

    def __init__(self, options: ChunkedRollout, name: str):
        self.options, self.name = options, name

    def set_up(self, generator: Any, teacher: Teacher) -> None:
        if isinstance(generator, Scene):
            raise ValueError(f"{self.name}: a scene is one render and has no chunks. Use rollout.kind: few_step")
        check_partners(self.name, generator, teacher)
        o, clip = self.options, generator.space.event[0]
        self.clip, self.t_max = clip, teacher.process.t_max
        self.chunk = chunk_size(generator, clip, o.chunk)
        self.plan = chunk_plan(o, generator.process, o.steps, exit=o.exit)
        tail = clip if o.tail is None else o.tail
        if tail < self.chunk:
            raise ValueError(
                f"{self.name}: tail={tail} is less than a chunk of {self.chunk} frames: nothing would learn"
            )
        if o.frames is not None and (o.frames < clip or o.frames % self.chunk):
            raise ValueError(
                f"{self.name}: frames is the longest rollout, at least the clip's {clip} frames and a whole number of "
                f"chunks of {self.chunk}; got {o.frames}"
            )
        generator.new_cache(o.window, o.sink)  # refuses a generator without one now, and not at the first step

    def sampling(self) -> dict[str, Any]:
        o = self.options
        chosen = {k: getattr(o, k) for k, field in Chunks.model_fields.items() if getattr(o, k) != field.default}
        return {"use": "streaming", "steps": o.steps, **chosen}

    def __call__(self, network: Any, batch: Batch, rng: Rng, grad: Grad) -> Sample:
        o, clip = self.options, self.clip
        frames = clip
        if longer := ((o.frames or clip) - clip) // self.chunk:  # lengths beyond the clip's own
            frames += self.chunk * max(0, rng.shared_integer("length", 2 * longer) - longer + 1)
        sample = chunked_rollout(
            network, batch.cond, plan=self.plan, rng=rng, batch_size=len(batch), noise=batch.noise, frames=frames,
            chunk=self.chunk, window=o.window, sink=o.sink, context_time=o.context_time * self.t_max, grad=grad,
            tail=min(o.tail or clip, clip),
        )  # fmt: skip
        judged = sample.value[:, -clip:]
        return replace(sample, value=judged, at=judged)


def rollout_of(options: FewStepRollout | ChunkedRollout, name: str) -> FewStep | Chunked:
    """The rollout that the options describe; `name` is the objective's, for messages."""
    return Chunked(options, name) if isinstance(options, ChunkedRollout) else FewStep(options, name)


__all__ = ["Chunked", "FewStep", "Rollout", "rollout_of"]
