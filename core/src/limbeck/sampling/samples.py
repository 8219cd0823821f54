"""Drawing samples: from which noise, under which conditions, and how to look at them.

Samples are a function of the seed (and of the batch size, for samplers that draw noise on the way). Everything that is
sampled with one seed starts from the same noise, so that teacher and student can be laid side by side.
"""

import json
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck import conditions
from limbeck.errors import LimbeckError
from limbeck.files import write_whole
from limbeck.interfaces import Data, Sample, Sampler, Space, Teacher, unwrap
from limbeck.networks.guidance import Guided
from limbeck.pictures.views import picture
from limbeck.process.categorical import CategoricalProcess
from limbeck.process.gaussian import GaussianProcess
from limbeck.randomness import Rng


@dataclass(frozen=True)
class Samples:
    """What a model produced: `value` (N, *event) on the CPU, `cond` as it was given, and how to look at it."""

    value: Tensor
    cond: Any = None
    space: Space | None = None

    def __len__(self) -> int:
        return len(self.value)

    @property
    def domain(self) -> str:
        return self.space.domain if self.space is not None else "vector"

    def seen(self) -> Any:
        """In the domain people see, decoded by the space's codec: (N, *seen), or N texts."""
        return self._by_codec("decode")

    def picture(self, *, captions: Sequence[str] | None = None):
        return picture(self._by_codec("shown"), self.cond, domain=self.domain, captions=captions)

    def _by_codec(self, method: str) -> Any:
        if self.space is None:
            return self.value
        with torch.no_grad():
            seen = getattr(self.space.codec, method)(self.value)
        return seen.cpu() if isinstance(seen, Tensor) else seen

    def save(self, path: Any) -> Path:
        """Write .safetensors (samples and conditions), .npy (samples), or what the domain's view can save (.png)."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".safetensors":
            from safetensors.torch import save

            tensors = {"samples": self.value.contiguous()}
            if isinstance(self.cond, Tensor):
                tensors["cond"] = self.cond.cpu().contiguous()
            metadata = {"domain": self.domain}
            if self.cond is not None and not isinstance(self.cond, Tensor):
                metadata["cond"] = json.dumps(list(map(str, self.cond)))
            write_whole(path, save(tensors, metadata=metadata))
        elif path.suffix == ".npy":
            import numpy

            numpy.save(path, self.value.numpy(), allow_pickle=False)
        elif not path.suffix:
            raise LimbeckError(f"cannot save samples to '{path}': no suffix. Use .png, .safetensors or .npy")
        else:
            self.picture().save(path)
        return path

    def _repr_html_(self) -> str:
        return self.picture().html()


def device_of(network: nn.Module) -> torch.device:
    tensor = next(chain(network.parameters(), network.buffers()), None)
    return tensor.device if tensor is not None else torch.device("cpu")


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """No gradients, evaluation mode; every module gets its own mode back, so that a run is not changed by being looked
    at."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


class OneCall(Sampler):
    """x0_hat from pure noise in a single network call: what is left of any sampler of continuous noise that is cut to
    one step. (Samplers of tokens take one step themselves.)"""

    def walk(self, predictor: Teacher, cond: Any, x: Tensor, *, steps: int, rng: Rng) -> Sample:
        t_max = unwrap(predictor).process.t_max
        x0_hat = predictor(x, torch.full(x.shape[:1], t_max, device=x.device), cond).x0_hat
        return Sample(value=x0_hat, at=x0_hat, t_from=t_max, t_to=0.0, evaluations=1)

    def evaluations(self, steps: int) -> int:
        return 1


def balanced_conditions(data: Data | None, count: int, seed: int) -> Any:
    """`count` conditions in the proportions of the data's own distribution, without the luck of the draw.

    Class labels are taken at equally spaced ranks of the sorted labels and shuffled; conditions without an order are
    simply drawn. None if there are none.
    """
    if data is None:
        return None
    rng = Rng(seed, phase="evaluation")
    if not are_labels(data.conditions(1, rng)):  # what is drawn follows from its name alone, however often it is drawn
        return data.conditions(count, rng)  # no more than needed: embeddings of prompts are megabytes a row
    pool = data.conditions(max(count, 2000), rng)
    if len(data) <= 20_000:  # small enough to know the proportions exactly
        pool = data.batch(torch.arange(len(data))).cond
    ranks = ((torch.arange(count) + 0.5) / count * len(pool)).long()
    even = pool.cpu().sort().values[ranks]
    return even[torch.randperm(count, generator=rng.generator("shuffle"))]


def grid_conditions(data: Data | None, count: int, seed: int) -> Any:
    """Conditions of a picture: every class in turn, or a draw when conditions are not labels."""
    cond = balanced_conditions(data, count, seed)
    if not are_labels(cond):
        return cond
    cond = balanced_conditions(data, max(count, 1000), seed)
    classes = cond.unique()
    return classes[torch.arange(count) % len(classes)]


def are_labels(cond: Any) -> bool:
    """Class labels: integers, (N,)."""
    return isinstance(cond, Tensor) and cond.ndim == 1 and not cond.is_floating_point()


TIMED_BATCHES = 15


@dataclass(frozen=True)
class Generated:
    """Samples and what they cost: network evaluations and milliseconds per sample (None when not timed)."""

    samples: Samples
    evaluations: int
    ms_per_sample: float | None = None


def generate(
    network: Any,
    sampler: Sampler,
    *,
    steps: int,
    count: int,
    cond: Any = None,
    seed: int = 0,
    batch_size: int = 500,
    timed: bool = False,
) -> Generated:
    """Draw `count` samples in batches, from prior noise that depends on the seed only.

    Times are the median over batches of seconds per sample, after one batch to warm up, with the device synchronised. A
    model that is done too soon to be timed well goes through its first batch again (for a second at the most).
    """
    network = unwrap(network)  # a Teacher: has a process and a space
    device = device_of(network)
    noise = None
    process = getattr(network, "process", None)  # neither scenes nor language models have one
    if isinstance(process, GaussianProcess | CategoricalProcess):
        noise = process.prior_sample((count, *network.space.event), Rng(seed, phase="evaluation"))

    def one_batch(index: int, start: int, stop: int) -> tuple[Tensor, float]:
        rng = Rng(seed, step=index, phase="evaluation", device=device)
        given = conditions.to(conditions.rows(cond, slice(start, stop)), device)
        begin = noise[start:stop].to(device) if noise is not None else None
        _synchronise(device)
        started = time.perf_counter()
        value = sampler(network, given, steps=steps, rng=rng, batch_size=stop - start, noise=begin).value
        _synchronise(device)
        return value, time.perf_counter() - started

    values, per_sample = [], []
    with evaluating(network):
        if timed:
            one_batch(0, 0, min(batch_size, count))
        for index, start in enumerate(range(0, count, batch_size)):
            stop = min(start + batch_size, count)
            value, seconds = one_batch(index, start, stop)
            values.append(value.cpu())
            if stop - start == min(batch_size, count):  # a short last batch is not comparable
                per_sample.append(1000 * seconds / (stop - start))
        rows = min(batch_size, count)
        while timed and len(per_sample) < TIMED_BATCHES and sum(per_sample) * rows < 1000:
            per_sample.append(1000 * one_batch(0, 0, rows)[1] / rows)
    return Generated(
        Samples(torch.cat(values), cond, network.space),
        evaluations=sampler.evaluations(steps) * calls_per_evaluation(network),
        ms_per_sample=statistics.median(per_sample) if timed else None,
    )


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def calls_per_evaluation(network: nn.Module) -> int:
    """Rows that go through the network for each sample: two under classifier-free guidance."""
    return 2 * calls_per_evaluation(network.teacher) if isinstance(network, Guided) else 1
