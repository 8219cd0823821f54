"""The cache of causal networks: which frames it holds, what it leaves behind, who sees what leaves."""

import pytest
import torch

from limbeck.networks.cache import Cache, context_mask, held_positions


def written(cache, frames, chunk=1, layers=1):
    """Write frames 0 ... frames - 1, whose keys are their position and whose values are ten times that."""
    for start in range(cache.start, cache.start + frames, chunk):
        keys = torch.arange(start, start + chunk, dtype=torch.float64)[None, :, None]
        for layer in range(layers):
            cache.write(layer, keys + 100 * layer, 10 * keys)
        cache.advance(chunk)
    return cache


@pytest.mark.parametrize(
    "window, sink, frames, held",
    [
        (None, 0, 5, [0, 1, 2, 3, 4]),
        (3, 0, 5, [2, 3, 4]),
        (3, 2, 7, [0, 1, 4, 5, 6]),
        (3, 2, 4, [0, 1, 2, 3]),
        (3, 2, 1, [0]),
        (2, 1, 8, [0, 6, 7]),
    ],
)
@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_window_and_sink_hold_exactly_the_expected_frames(window, sink, frames, held, chunk):
    frames = -(-frames // chunk) * chunk
    cache = written(Cache(2, window=window, sink=sink), frames, chunk, layers=2)
    expected = held if frames == 5 and chunk == 1 else list(held_positions(frames, window, sink))
    assert list(cache.positions) == expected and cache.frames == len(expected) and cache.start == frames
    for layer in range(2):
        keys, values = cache.read(layer)
        assert (keys[0, :, 0] - 100 * layer).tolist() == expected
        assert values[0, :, 0].tolist() == [10 * p for p in expected]


def test_the_rule_of_held_positions_by_hand():
    assert held_positions(7, 3, 2) == (0, 1, 4, 5, 6)
    assert held_positions(4, 3, 2) == (0, 1, 2, 3)
    assert held_positions(1, 3, 2) == (0,)
    assert held_positions(6, None) == (0, 1, 2, 3, 4, 5)


def test_every_frame_that_leaves_is_seen_once_per_layer_with_its_keys():
    seen = []
    cache = Cache(
        2, window=2, sink=1, on_evict=lambda layer, where, k, v: seen.append((layer, where, k.flatten().tolist()))
    )
    written(cache, 8, chunk=2, layers=2)
    assert [where for layer, where, _ in seen if layer == 0] == [(1,), (2, 3), (4, 5)]
    assert [keys for layer, _, keys in seen if layer == 1] == [[101.0], [102.0, 103.0], [104.0, 105.0]]
    assert list(cache.positions) == [0, 6, 7]  # none of which was shown


def test_what_is_written_is_not_read_before_the_chunk_is_done():
    cache = Cache(1)
    keys = torch.ones(2, 3, 4)
    cache.write(0, keys, keys)
    assert cache.read(0) is None and cache.start == 0
    cache.advance(3)
    assert torch.equal(cache.read(0)[0], keys) and cache.start == 3


def test_reading_changes_nothing_and_a_snapshot_brings_every_moment_back():
    cache = written(Cache(1, window=2), 3)
    before = cache.snapshot()
    first = cache.read(0)
    assert cache.read(0) is first and cache.snapshot() == before
    kept = [x.clone() for x in first]
    written(cache, 4)
    assert cache.positions == (5, 6)
    cache.restore(before)
    assert cache.positions == (1, 2) and cache.start == 3
    assert all(torch.equal(a, b) for a, b in zip(cache.read(0), kept, strict=True))
    written(cache, 1)
    assert cache.positions == (2, 3)
    cache.clear()
    assert cache.start == 0 and cache.frames == 0 and cache.read(0) is None


def test_detach_cuts_the_graph_and_keeps_the_values():
    cache = Cache(1)
    keys = torch.ones(1, 2, 3, requires_grad=True)
    cache.write(0, 2 * keys, keys)
    cache.advance(2)
    assert cache.read(0)[0].requires_grad
    cache.detach()
    assert not cache.read(0)[0].requires_grad and cache.read(0)[0].sum() == 12


def test_a_window_bounds_the_memory_and_no_view_keeps_what_has_left():
    cache = Cache(1, window=4, sink=2)
    sizes = []
    for _ in range(20):
        cache.write(0, torch.zeros(1, 2, 8), torch.zeros(1, 2, 8))
        cache.advance(2)
        keys = cache.read(0)[0]
        assert keys.untyped_storage().nbytes() == keys.numel() * 4
        sizes.append(cache.bytes)
    assert sizes[0] == 2 * 2 * 8 * 4 and sizes[2:] == [2 * 6 * 8 * 4] * 18
    unbounded = Cache(1)
    written(unbounded, 20)
    assert unbounded.bytes == 2 * 20 * 8


def test_the_mask_of_a_whole_clip_shows_what_the_cache_would_hold():
    mask = context_mask(6, 2, window=2, sink=1)
    assert mask.int().tolist() == [
        [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 0, 1, 1, 1, 1],
        [1, 0, 1, 1, 1, 1],
    ]
    assert torch.equal(context_mask(4, 1), torch.ones(4, 4, dtype=torch.bool).tril())
    assert context_mask(4, 4).all()


def test_mistakes_are_named():
    cache = Cache(2)
    one = torch.zeros(1, 1, 1)
    cache.write(0, one, one)
    with pytest.raises(RuntimeError, match="layer 0 wrote twice"):
        cache.write(0, one, one)
    with pytest.raises(RuntimeError, match=r"layers \[1\] did not write"):
        cache.advance(1)
    cache.write(0, one, one)
    cache.write(1, one, one)
    with pytest.raises(RuntimeError, match=r"layers \[0, 1\] wrote another number of frames"):
        cache.advance(2)
    with pytest.raises(IndexError, match="layer 5 of a cache with 2"):
        cache.read(5)
    with pytest.raises(ValueError, match="window of one or more frames"):
        Cache(1, window=0)
    with pytest.raises(ValueError, match="sink is how many first frames stay beside a window"):
        Cache(1, sink=2)
    with pytest.raises(ValueError, match="one or more layers"):
        Cache(0)
    with pytest.raises(ValueError, match="a snapshot of 2 layers"):
        Cache(1).restore(cache.snapshot())
