"""The values that pass between data, networks and objectives.

Letters: B batch, F frames, L sequence, V vocabulary. Tensors are (B, *event); time is (B,), or (B, F) when every frame
has its own noise level, which is why frames are the first event axis. t = 0 is data, t = `process.t_max` is noise.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn

from limbeck import conditions


class Codec(nn.Module):
    """Moves between the space a model lives in and the domain people see. The identity by default."""

    def encode(self, seen: Tensor) -> Tensor:
        return seen

    def decode(self, value: Tensor) -> Any:
        """What people see: a tensor, or a list of texts for tokens."""
        return value

    def shown(self, value: Tensor) -> Any:
        """What the domain's view is given: what `decode` returns, unless a view can do with less (a spectrogram is
        drawn as it is, and only the sounds that are played are decoded)."""
        return self.decode(value)

    def fingerprint(self) -> str | None:
        """What the values mean, where numbers alone do not show it (token ids): equal for codecs that agree. None: no
        such thing. `build` refuses partners that disagree."""
        return None


@dataclass(frozen=True)
class Space:
    """Where samples live: the shape of one event, the domain that views and metrics know, the codec to it."""

    event: tuple[int, ...]
    domain: str = "vector"  # pixels, mel, clip, tokens, vector, ...: `view` components are named after it
    codec: Codec = field(default_factory=Codec, compare=False)


@dataclass(frozen=True)
class Prediction:
    """What a predictor returns at (xt, t): `x0_hat` (B, *event) on a Gaussian process, `logits` (B, L, V) on a
    categorical one, `xs` (B, *event) at a second time s; hidden `features` by request, one tensor each."""

    x0_hat: Tensor | None = None
    logits: Tensor | None = None
    xs: Tensor | None = None
    features: tuple[Tensor, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What a source yields. Every tensor has B rows; a source fills what it has.

    x0 clean samples; cond conditions (`limbeck.conditions`: class labels (B,), captions, named tensors); noise the
    prior noise paired with x0 (stored pairs); xt, t a state of a teacher trajectory; weight (B,) averaging weights that
    sum to one over the global batch (quadrature; None means 1/B each).

    Sequences, x0 (B, L) tokens: attention_mask (B, L), true where a token is real and not padding; loss_mask (B, L),
    true where a token is to be learned (a completion, not its prompt). None means everywhere.
    """

    x0: Tensor | None = None
    cond: Any = None
    noise: Tensor | None = None
    xt: Tensor | None = None
    t: Tensor | None = None
    weight: Tensor | None = None
    attention_mask: Tensor | None = None
    loss_mask: Tensor | None = None

    def __len__(self) -> int:
        for f in fields(self):
            value = getattr(self, f.name)
            if value is not None:
                return len(value)
        raise ValueError("an empty batch has no length: the source filled no field")

    def to(self, device: torch.device | str) -> "Batch":
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return Batch(**{k: conditions.to(v, device) for k, v in moved.items()})


@dataclass(frozen=True)
class Sample:
    """What a rollout produced.

    value: (B, *event), the sample; at: the tensor at which gradients are injected (the value itself when continuous,
    the render of a scene, the logits of tokens); t_from, t_to: times of the call that carries the gradient;
    evaluations: network calls per sample; penalties (B,) each: regularisers of a scene, to be added to its loss.
    """

    value: Tensor
    at: Tensor
    t_from: float
    t_to: float
    evaluations: int
    penalties: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Loss:
    """`value` is the scalar to descend; `terms` are named scalars to log, detached.

    `count`, (): `value` is a mean over so many items (valid tokens), and the engine averages over the
    items of the global batch, however unevenly micro-batches and processes hold them. None: over samples.
    `explain` is called when the value or its gradient is not finite, and raises if it knows why: a check that would
    make every step wait for the device.
    """

    value: Tensor
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    count: Tensor | None = None
    explain: Callable[[], None] | None = None

    def backward(self) -> None:
        self.value.backward()


def average(per_sample: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean over the batch, (B,) -> (): the one place where per-sample losses become a scalar."""
    return per_sample.mean() if weight is None else (weight * per_sample).sum()
