"""How fast clips come: frames per second, and how long until the first frame is there."""

import statistics
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from limbeck import conditions
from limbeck.interfaces import Data, ModelMetric, Sampler, unwrap
from limbeck.randomness import Rng
from limbeck.sampling.samples import device_of
from limbeck_video.options.measures import SpeedOptions
from limbeck_video.samplers.rollouts import streams


class StreamingSpeed(ModelMetric):
    """One clip at a time, after one to warm up: the median over clips.

    `frames_per_second` and `first_frame_ms`: with every frame decoded to what people see. `frames_per_second_undecoded`
    and `first_frame_ms_undecoded`: of the network alone. A model that makes whole clips shows its first frame when the
    clip is done. The clock is the wall's, on the device and with the threads that the run has.
    """

    Options = SpeedOptions
    samples = True
    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {
        "frames_per_second": "higher", "first_frame_ms": "lower", "frames_per_second_undecoded": "higher",
        "first_frame_ms_undecoded": "lower",
    }  # fmt: skip

    def __init__(self, frames: int = 24, repeats: int = 3):
        self.frames, self.repeats = frames, repeats

    def __call__(
        self, model: Any, teacher: Any, reference: Data, *, sampler: Sampler | None = None, steps: int = 1
    ) -> dict[str, float]:
        if sampler is None:
            return {}
        found: dict[str, float] = {}
        cond = reference.batch(torch.arange(1)).cond
        for suffix, decoding in (("", True), ("_undecoded", False)):
            runs = [
                timed(model, sampler, cond, steps=steps, frames=self.frames, decoding=decoding, seed=seed)
                for seed in range(self.repeats + 1)
            ][1:]
            found[f"frames_per_second{suffix}"] = statistics.median(run[0] for run in runs)
            found[f"first_frame_ms{suffix}"] = 1000 * statistics.median(run[1] for run in runs)
        return found


@torch.no_grad()
def timed(
    model: Any, sampler: Any, cond: Any, *, steps: int, frames: int, decoding: bool, seed: int = 0
) -> tuple[float, float]:
    """Frames per second over `frames` frames or one whole clip, and seconds to the first frame, of one row."""
    network: Any = unwrap(model)
    device, codec = device_of(network), network.space.codec
    given = conditions.to(cond, device)
    rng = Rng(seed, phase="timing", device=device)

    def parts() -> Iterator[Tensor]:
        if not streams(sampler):
            yield sampler(network, given, steps=steps, rng=rng, batch_size=1).value
            return
        stream, count = sampler.stream(network, given, steps=steps, rng=rng, batch_size=1), 0
        try:
            for chunk in stream:
                yield chunk
                count += chunk.shape[1]
                if count >= frames:
                    return
        finally:
            stream.close()

    _wait(device)
    started, first, count = time.perf_counter(), 0.0, 0
    for part in parts():
        if decoding:
            codec.decode(part)
        _wait(device)
        first = first or time.perf_counter() - started
        count += part.shape[1]
    return count / (time.perf_counter() - started), first


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


__all__ = ["StreamingSpeed", "timed"]
