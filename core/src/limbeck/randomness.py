"""Randomness as a function of (seed, step, phase, purpose).

Every draw names its purpose and is made for the global batch, then sliced by part (rank and micro-step), so that
neither the number of processes nor gradient accumulation changes a run, and the order of draws does not matter.
"""

import hashlib
from collections.abc import Sequence

import torch

from limbeck.phases import Phase


def _mix32(x: int) -> int:
    """Bijection of 32-bit integers (murmur3's finaliser): neighbours land far apart, no two inputs collide."""
    x &= 0xFFFFFFFF
    x = ((x ^ (x >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
    x = ((x ^ (x >> 13)) * 0xC2B2AE35) & 0xFFFFFFFF
    return x ^ (x >> 16)


def derive_seed(seed: int, step: int, phase: str, repeat: int, purpose: str) -> int:
    """A 32-bit seed. A CPU `torch.Generator` keeps only 32 bits, so a plain hash of everything would collide after some
    65,000 draws; here a stream (seed, phase, repeat, purpose) is hashed to an offset and the step is added before a
    bijection, so that two steps of one stream never share a seed."""
    stream = hashlib.blake2b(f"{seed}|{phase}|{repeat}|{purpose}".encode(), digest_size=4).digest()
    return _mix32(int.from_bytes(stream, "little") + step)


class Rng:
    """Named draws. The caller holds slice `part` of `parts` of the global batch."""

    def __init__(
        self,
        seed: int,
        step: int = 0,
        phase: Phase | str = "",
        *,
        part: int = 0,
        parts: int = 1,
        device: torch.device | str = "cpu",
    ):
        if not 0 <= part < parts:
            raise ValueError(f"part must be in [0, parts); got part={part}, parts={parts}")
        self.seed, self.step, self.part, self.parts = int(seed), int(step), part, parts
        self.phase = phase.name if isinstance(phase, Phase) else phase
        self.repeat = phase.repeat if isinstance(phase, Phase) else 0
        self.device = torch.device(device)

    def generator(self, purpose: str) -> torch.Generator:
        """A fresh generator for one purpose; the same arguments always give the same stream."""
        value = derive_seed(self.seed, self.step, self.phase, self.repeat, purpose)
        return torch.Generator(self.device).manual_seed(value)

    def _rows(self, draw, shape: Sequence[int]) -> torch.Tensor:
        rows, *event = shape
        whole = draw((rows * self.parts, *event))
        return whole[self.part * rows : (self.part + 1) * rows]

    def normal(self, purpose: str, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Standard normal, (B, ...): B is the caller's share of the batch."""
        g = self.generator(purpose)
        return self._rows(lambda s: torch.randn(s, generator=g, device=self.device, dtype=dtype), shape)

    def uniform(self, purpose: str, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Uniform on [0, 1), (B, ...)."""
        g = self.generator(purpose)
        return self._rows(lambda s: torch.rand(s, generator=g, device=self.device, dtype=dtype), shape)

    def integers(self, purpose: str, high: int, shape: Sequence[int]) -> torch.Tensor:
        """Uniform integers in [0, high), (B, ...), int64."""
        g = self.generator(purpose)
        return self._rows(lambda s: torch.randint(high, s, generator=g, device=self.device), shape)

    def shared_integer(self, purpose: str, high: int) -> int:
        """One integer in [0, high) for the whole global batch (the exit index of a rollout, for one)."""
        if high == 1:
            return 0
        g = torch.Generator("cpu").manual_seed(derive_seed(self.seed, self.step, self.phase, self.repeat, purpose))
        return int(torch.randint(high, (), generator=g))

    def seed_globally(self) -> None:
        """Seed torch's global generators (dropout, `generate`) for this step and part, on the CPU and on this device.

        Not `torch.manual_seed`: while CUDA is not in use, that formats a stack trace at every call (a millisecond).
        """
        seed = derive_seed(self.seed, self.step, self.phase, self.repeat, f"global/{self.part}")
        torch.default_generator.manual_seed(seed)
        if self.device.type != "cpu":
            torch.get_device_module(self.device).manual_seed(seed)
        elif torch.cuda.is_initialized():
            torch.cuda.manual_seed(seed)


def rng(seed: int, step: int = 0, phase: Phase | str = "", **where) -> Rng:
    """`limbeck.rng(seed, step, phase)`: the `Rng` of one phase of one step."""
    return Rng(seed, step, phase, **where)


# --- numbers of a row ------------------------------------------------------------------------------------------------


def per_row(indices: torch.Tensor, count: int, *, stream: int = 0, streams: int = 1) -> torch.Tensor:
    """`count` numbers uniform on [0, 1) for every index: splitmix64 of (index, stream, column), Steele et al. 2014.

    For data that is computed from its index: no table has to be kept, and no row depends on another.

    Args:
        indices: (B,), int64, not negative.
        stream, streams: which of so many independent sequences (the splits of a data set).

    Returns:
        (B, count), float64, on the device of the indices.
    """
    if not 0 <= stream < streams:
        raise ValueError(f"stream must be in [0, streams); got stream={stream}, streams={streams}")
    columns = torch.arange(count, device=indices.device)
    state = (indices.long()[:, None] * streams + stream) * count + columns
    z = (state + 1) * -7046029254386353131  # 0x9E3779B97F4A7C15; int64 wraps round
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
        z = (z ^ _shift_right(z, shift)) * factor
    z = z ^ _shift_right(z, 31)
    return _shift_right(z, 11).double() * 2.0**-53


def _shift_right(z: torch.Tensor, bits: int) -> torch.Tensor:
    """Logical shift of int64."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


__all__ = ["Rng", "derive_seed", "per_row", "rng"]
