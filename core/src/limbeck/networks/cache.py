"""What a causal network keeps of finished frames: an explicit object that the caller owns, never hidden state.

A call with `cache=` reads the held frames and gives the chunk's own keys and values back by `write` only when it is
called with `write=True`, once per chunk, on the finished clean frames. What was written becomes visible with `advance`,
so a call never reads its own frames twice.

    cache = predictor.new_cache(window=9, sink=3)
    predictor(xt, t, cond, cache=cache)                    # reads; as often as one likes
    predictor(x0, zero, cond, cache=cache, write=True)     # writes; the next chunk starts behind it

Some networks do the second call and the first of the next chunk at once (`Predictor.cache_ahead`): `ahead=n` means that
the last n frames given are that chunk, which sees what this cache will hold and is not written.

Letters: B batch, F frames of a clip, f of a chunk.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Evict = Callable[[int, tuple[int, ...], Tensor, Tensor], None]
Held = tuple[Tensor, Tensor]


def held_positions(frames: int, window: int | None, sink: int = 0) -> tuple[int, ...]:
    """Which of `frames` finished frames are held: the first `sink` ones for good and the last `window` ones (None:
    all), rising."""
    if window is None:
        return tuple(range(frames))
    return tuple(range(min(sink, frames))) + tuple(range(max(frames - window, sink), frames))


def context_mask(frames: int, chunk: int, *, window: int | None = None, sink: int = 0) -> Tensor:
    """Block-causal attention between frames, (F, F), true where query frame i sees key frame j: all of its own chunk
    and what a cache with this window and sink holds when the chunk begins. One call on a whole clip under this mask
    equals the cached calls chunk by chunk."""
    mask = torch.zeros(frames, frames, dtype=torch.bool)
    for start in range(0, frames, chunk):
        rows = slice(start, start + chunk)
        mask[rows, rows] = True
        mask[rows, list(held_positions(start, window, sink))] = True
    return mask


@dataclass(frozen=True)
class Snapshot:
    """The state of a cache at one moment. Tensors are shared, not copied: a cache never changes them in place."""

    start: int
    positions: tuple[int, ...]
    layers: tuple[Held | None, ...]


class Cache:
    """Keys and values of finished frames, layer by layer, with the absolute positions of the frames.

    Args:
        layers: how many layers write.
        window: hold the last so many frames; None: all of them.
        sink: hold the first so many frames for good, beside the window.
        tag: whose calls it serves, for networks and messages that need to know: cond, uncond, reference.
        on_evict: `on_evict(layer, positions, keys, values)` sees every frame that leaves, once per layer.
    """

    def __init__(
        self,
        layers: int,
        *,
        window: int | None = None,
        sink: int = 0,
        tag: str = "cond",
        on_evict: Evict | None = None,
    ):
        if layers < 1:
            raise ValueError(f"a cache has one or more layers; got {layers}")
        if window is not None and window < 1:
            raise ValueError(f"a cache holds a window of one or more frames, or all of them (None); got {window}")
        if sink < 0 or (sink and window is None):
            raise ValueError(f"sink is how many first frames stay beside a window; got sink={sink}, window={window}")
        self.layers, self.window, self.sink, self.tag, self.on_evict = layers, window, sink, tag, on_evict
        self.clear()

    def clear(self) -> None:
        """Forget everything: the next chunk is the first."""
        self._start = 0
        self._positions: tuple[int, ...] = ()
        self._held: list[Held | None] = [None] * self.layers
        self._written: dict[int, Held] = {}

    # --- what a caller reads ---

    @property
    def start(self) -> int:
        """Absolute index of the next chunk's first frame: how many frames were written so far."""
        return self._start

    @property
    def positions(self) -> tuple[int, ...]:
        """Absolute indices of the held frames, rising."""
        return self._positions

    @property
    def frames(self) -> int:
        """How many frames are held."""
        return len(self._positions)

    @property
    def bytes(self) -> int:
        """Memory of the held tensors."""
        return sum(x.numel() * x.element_size() for held in self._held if held is not None for x in held)

    # --- what networks call ---

    def read(self, layer: int) -> Held | None:
        """Keys and values of the held frames, axis 1 is frames; None while there are none. Changes nothing."""
        return self._held[self._check(layer)]

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """The chunk's own keys and values, (B, f, ...) each; visible after `advance`."""
        if self._check(layer) in self._written:
            raise RuntimeError(f"layer {layer} wrote twice before advance(): a chunk is written once, when finished")
        self._written[layer] = keys, values

    def advance(self, frames: int) -> None:
        """The chunk of `frames` frames is written by every layer: hold it, and let go of what leaves the window."""
        missing = [layer for layer in range(self.layers) if layer not in self._written]
        wrong = [layer for layer, pair in self._written.items() if any(x.shape[1] != frames for x in pair)]
        if missing or wrong:
            self._written = {}
            fault = f"layers {missing} did not write" if missing else f"layers {wrong} wrote another number of frames"
            raise RuntimeError(f"advance({frames}): {fault}. Every layer writes all frames of a chunk, once")
        everything = (*self._positions, *range(self._start, self._start + frames))
        kept = set(held_positions(self._start + frames, self.window, self.sink))
        stay = [i for i, position in enumerate(everything) if position in kept]
        go = [i for i, position in enumerate(everything) if position not in kept]
        for layer, new in sorted(self._written.items()):
            old = self._held[layer]
            pair = new if old is None else (torch.cat([old[0], new[0]], 1), torch.cat([old[1], new[1]], 1))
            if go:
                if self.on_evict is not None:
                    self.on_evict(layer, tuple(everything[i] for i in go), *_frames(pair, go))
                pair = _frames(pair, stay)  # a copy: a view would keep what has left in memory
            self._held[layer] = pair
        self._start += frames
        self._positions = tuple(everything[i] for i in stay)
        self._written = {}

    # --- moments ---

    def snapshot(self) -> Snapshot:
        """This moment, to come back to. Costs nothing."""
        return Snapshot(self._start, self._positions, tuple(self._held))

    def restore(self, moment: Snapshot) -> None:
        """Back to a moment. (Frames that left since then have been shown to `on_evict`; a second time will show them
        again.)"""
        if len(moment.layers) != self.layers:
            raise ValueError(f"a snapshot of {len(moment.layers)} layers cannot be restored into {self.layers}")
        self._start, self._positions, self._held = moment.start, moment.positions, list(moment.layers)
        self._written = {}

    def detach(self) -> None:
        """Cut the held tensors off the graph that made them."""
        self._held = [None if held is None else (held[0].detach(), held[1].detach()) for held in self._held]

    def _check(self, layer: int) -> int:
        if not 0 <= layer < self.layers:
            raise IndexError(f"layer {layer} of a cache with {self.layers}")
        return layer

    def __repr__(self) -> str:
        policy = "all frames" if self.window is None else f"window {self.window}, sink {self.sink}"
        return f"Cache({self.tag}, {self.layers} layers, {policy}, {self.frames} frames held, next is {self.start})"


def _frames(pair: Held, index: list[int]) -> Held:
    chosen = torch.tensor(index, device=pair[0].device, dtype=torch.long)
    return pair[0].index_select(1, chosen), pair[1].index_select(1, chosen)


__all__ = ["Cache", "Snapshot", "context_mask", "held_positions"]
