"""Self forcing: distribution matching on clips that a causal student rolled out by itself, as it will when it is used.

The score difference is that of `dmd2`; only how the sample is made differs. Teacher and critic are bidirectional and
see the whole clip at one level of noise.
"""

from dataclasses import replace
from typing import Any

from limbeck.interfaces import Batch, Phase, Predictor, Sample, Teacher
from limbeck.manifest import Needs
from limbeck.randomness import Rng
from limbeck.sampling.chunks import chunk_size, chunked_rollout
from limbeck.sampling.rollouts import Grad
from limbeck_diffusion.objectives.matching.score_difference import ScoreDifference
from limbeck_diffusion.options.clips import SelfForcingOptions
from limbeck_diffusion.samplers.streaming import chunk_plan


class SelfForcing(ScoreDifference):
    """Self Forcing, Huang et al. 2025: chunked rollout with a cache, one random exit for all chunks, gradient through
    the last call of each chunk and never across chunks.

    Draws: length (with `frames`); exit, noise/k, renoise/k/i, context/k of the rollout; those of the score difference.
    """

    name = "self_forcing"
    Options = SelfForcingOptions
    needs = Needs(generator={"gaussian", "denoiser", "cache"}, teacher={"gaussian", "denoiser"})

    def _check_predictor(self, generator: Predictor, teacher: Teacher) -> None:
        super()._check_predictor(generator, teacher)
        o, clip = self.options, generator.space.event[0]
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
        shared = ("chunk", "times", "shift", "window", "sink", "context_time")
        told = {k: getattr(o, k) for k in shared if getattr(o, k) != type(o).model_fields[k].default}
        return {"use": "streaming", "steps": o.steps, **told}

    def student_sample(self, phase: Phase, batch: Batch, rng: Rng, grad: Grad) -> Sample:
        o = self.options
        clip = self.teacher.space.event[0]
        frames = clip
        if longer := ((o.frames or clip) - clip) // self.chunk:  # lengths beyond the clip's own
            frames += self.chunk * max(0, rng.shared_integer("length", 2 * longer) - longer + 1)
        sample = chunked_rollout(
            self.network("generator", phase), batch.cond, plan=self.plan, rng=rng, batch_size=len(batch),
            noise=batch.noise, frames=frames, chunk=self.chunk, window=o.window, sink=o.sink,
            context_time=o.context_time * self.teacher.process.t_max, grad=grad, tail=min(o.tail or clip, clip),
        )  # fmt: skip
        judged = sample.value[:, -clip:]
        return replace(sample, value=judged, at=judged)
