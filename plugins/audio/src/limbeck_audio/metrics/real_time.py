"""Sound against the clock."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from limbeck.evaluation.timing import median_seconds
from limbeck.interfaces import Data, ModelMetric, Sampler, unwrap
from limbeck.randomness import Rng
from limbeck.sampling.samples import device_of, generate
from limbeck_audio.options.measures import RealTimeOptions
from limbeck_audio.signal.mel import HOP, RATE


class RealTimeFactor(ModelMetric):
    """Seconds of work for a second of sound, `batch` clips at once; below 1 is faster than they are played.

    `real_time_factor`: the network's calls and the vocoder (the codec's decode: Griffin-Lim);
    `real_time_factor_network`: the network's calls alone. Medians after one run to warm up, by the wall's clock, on the
    device and with the threads that the run has.
    """

    Options = RealTimeOptions
    samples = True
    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {
        "real_time_factor": "lower",
        "real_time_factor_network": "lower",
    }

    def __init__(self, batch: int = 1, repeats: int = 5):
        self.batch, self.repeats = batch, repeats

    def __call__(
        self, model: Any, teacher: Any, reference: Data, *, sampler: Sampler | None = None, steps: int = 1
    ) -> dict[str, float]:
        if sampler is None:
            return {}
        network: Any = unwrap(model)
        cond = reference.conditions(self.batch, Rng(0, phase="timing"))
        made = generate(
            network, sampler, steps=steps, count=self.batch, cond=cond, batch_size=self.batch, timed=True
        )  # fmt: skip
        assert made.ms_per_sample is not None
        network_seconds = made.ms_per_sample / 1000 * self.batch
        value = made.samples.value.to(device_of(network))
        vocoder_seconds = median_seconds(lambda: network.space.codec.decode(value), self.repeats, value.device)
        played = self.batch * network.space.event[-1] * HOP / RATE
        return {
            "real_time_factor": (network_seconds + vocoder_seconds) / played,
            "real_time_factor_network": network_seconds / played,
        }
