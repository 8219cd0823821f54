import pytest
import torch

import limbeck
from limbeck.interfaces import Space
from limbeck.sampling.chunks import chunked_rollout
from limbeck.sampling.rollouts import Plan
from limbeck_video.data.moving_digits import SPACE
from limbeck_video.networks.clip_transformer import ClipTransformer
from limbeck_video.networks.moving_digits import moving_digits_generator

SMALL = {"width": 16, "depth": 2, "heads": 2, "patch": 10}


def awake(module, seed=0):
    """Every parameter random: what starts at zero would hide what it does."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return module.double().eval()


def network(**options):
    return awake(ClipTransformer(SPACE, **{**SMALL, **options}))


def clip(frames=12, rows=2):
    return torch.randn(rows, frames, 1, 20, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


LABELS = torch.tensor([[1, 3], [4, 10]])


def by_chunks(net, x, time, chunk, window=None, sink=0, context=None):
    """The clip chunk by chunk: each is answered, then its `context` (itself) is written."""
    cache, out = net.new_cache(window=window, sink=sink), []
    for start in range(0, x.shape[1], chunk):
        part = x[:, start : start + chunk]
        t = time[:, start : start + chunk] if time.ndim == 2 else time
        out.append(net(part, t, LABELS, cache=cache))
        net(part, t, LABELS, cache=cache, write=True)
    return torch.cat(out, 1), cache


# --- one time per frame ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ["full", "causal", "block_causal"])
def test_equal_times_of_all_frames_are_the_scalar_time(attention):
    net, x, time = network(attention=attention), clip(), torch.tensor([0.3, 0.8], dtype=torch.float64)
    torch.testing.assert_close(net(x, time[:, None].expand(2, 12), LABELS), net(x, time, LABELS), rtol=0, atol=1e-12)


def test_a_frames_time_matters_to_it():
    net, x = network(), clip()
    time = torch.full((2, 12), 0.5, dtype=torch.float64)
    other = time.clone()
    other[:, 4] = 0.9
    change = (net(x, other, LABELS) - net(x, time, LABELS)).abs().amax(dim=(0, 2, 3, 4))
    assert change.argmax() == 4 and change.min() > 0


def test_labels_matter_and_none_means_the_null_label():
    net, x, time = network(), clip(), torch.full((2,), 0.5, dtype=torch.float64)
    bare = net(x, time)
    assert torch.equal(bare, net(x, time, torch.full((2, 2), 10)))
    assert (net(x, time, LABELS) - bare).abs().max() > 1e-3
    with pytest.raises(ValueError, match="2 labels per clip"):
        net(x, time, torch.tensor([1, 2]))


def test_times_of_another_number_of_frames_are_refused():
    with pytest.raises(ValueError, match=r"one per frame, \(2, 12\); got \(2, 3\)"):
        network()(clip(), torch.zeros(2, 3, dtype=torch.float64))


# --- causal ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("attention", "chunk"), [("causal", 1), ("block_causal", 3), ("block_causal", 2)])
@pytest.mark.parametrize(("window", "sink"), [(None, 0), (3, 0), (4, 2)])
def test_chunk_by_chunk_with_a_cache_is_one_call_under_the_mask(attention, chunk, window, sink):
    net = network(attention=attention, chunk=chunk, window=window, sink=sink)
    x, time = clip(), torch.rand(2, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    cached, cache = by_chunks(net, x, time, chunk, window, sink)
    torch.testing.assert_close(cached, net(x, time, LABELS), rtol=0, atol=1e-10)
    assert cache.start == 12 and cache.frames == (12 if window is None else window + sink)


def test_a_call_of_several_chunks_at_once_keeps_their_order():
    net, x, time = network(attention="block_causal", chunk=3), clip(), torch.full((2,), 0.4, dtype=torch.float64)
    torch.testing.assert_close(by_chunks(net, x, time, 6)[0], net(x, time, LABELS), rtol=0, atol=1e-10)


def test_a_later_chunk_leaves_earlier_ones_bit_identical():
    net, x, time = network(attention="block_causal", chunk=3), clip(), torch.full((2,), 0.4, dtype=torch.float64)
    other = x.clone()
    other[:, 6:9] += 1
    before, after = net(x, time, LABELS), net(other, time, LABELS)
    assert torch.equal(before[:, :6], after[:, :6])
    assert all(not torch.equal(before[:, f], after[:, f]) for f in range(6, 12))


def test_a_bidirectional_network_sees_later_frames_and_refuses_a_cache():
    net, x, time = network(), clip(), torch.full((2,), 0.4, dtype=torch.float64)
    other = x.clone()
    other[:, -1] += 1
    assert not torch.equal(net(x, time, LABELS)[:, 0], net(other, time, LABELS)[:, 0])
    with pytest.raises(TypeError, match="attention: block_causal"):
        net.new_cache()


def test_frames_beyond_the_length_of_training_are_welcome():
    net, x = network(attention="block_causal", chunk=3), clip(frames=30)
    time = torch.full((2,), 0.4, dtype=torch.float64)
    cached, cache = by_chunks(net, x, time, 3, window=6, sink=3)
    assert cached.shape == x.shape and cached.isfinite().all() and cache.positions == (0, 1, 2, *range(24, 30))


def test_the_same_frames_later_in_a_clip_look_the_same():
    net, x = network(attention="block_causal", chunk=3, window=3), clip(frames=24)
    x[:, 12:] = x[:, :12]
    out = net(x, torch.full((2,), 0.4, dtype=torch.float64), LABELS)
    # two layers with a window of a chunk reach two chunks back: from the third chunk on the past is the same
    torch.testing.assert_close(out[:, 18:], out[:, 6:12], rtol=0, atol=1e-12)


def test_a_rollout_with_a_cache_is_a_recomputation_of_everything():
    predictor = awake(moving_digits_generator(**SMALL, attention="block_causal", chunk=3))
    plan, rng = Plan((1.0, 0.6)), limbeck.rng(3)
    noise = torch.cat([rng.normal(f"noise/{k}", (2, 3, 1, 20, 20)).double() for k in range(4)], 1)
    rolled = chunked_rollout(predictor, LABELS, plan=plan, rng=rng, noise=noise, grad="none").value
    finished = torch.zeros_like(rolled)
    for k in range(4):  # the clip so far at t = 0, this chunk at t, nothing cached
        x = noise[:, 3 * k : 3 * k + 3]
        for i, level in enumerate(plan.times):
            time = torch.zeros(2, 3 * k + 3, dtype=torch.float64)
            time[:, 3 * k :] = level
            x0 = predictor(torch.cat([finished[:, : 3 * k], x], 1), time, LABELS).x0_hat[:, 3 * k :]
            if i + 1 < len(plan.times):
                s = torch.full((2,), plan.times[i + 1], dtype=torch.float64)
                x = predictor.process.add_noise(x0, rng.normal(f"renoise/{k}/{i}", x0.shape, x0.dtype), s)
        finished[:, 3 * k : 3 * k + 3] = x0
    torch.testing.assert_close(rolled, finished, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("attention", "own", "chunk"), [("causal", 1, 3), ("block_causal", 3, 3), ("block_causal", 4, 2)]
)
@pytest.mark.parametrize(("window", "sink"), [(None, 0), (3, 0), (4, 2)])
def test_a_write_that_begins_the_next_chunk_is_two_calls(attention, own, chunk, window, sink):
    net, x = network(attention=attention, chunk=own), clip(frames=4 * chunk)
    one, two = net.new_cache(window=window, sink=sink), net.new_cache(window=window, sink=sink)
    zero, late = torch.zeros(2, dtype=torch.float64), torch.full((2,), 0.7, dtype=torch.float64)
    times = torch.cat([zero[:, None].expand(-1, chunk), late[:, None].expand(-1, chunk)], 1)
    for k in range(3):
        done, new = x[:, k * chunk : (k + 1) * chunk], x[:, (k + 1) * chunk : (k + 2) * chunk]
        both = net(torch.cat([done, new], 1), times, LABELS, cache=one, write=True, ahead=chunk)
        apart = net(done, zero, LABELS, cache=two, write=True), net(new, late, LABELS, cache=two)
        torch.testing.assert_close(both, torch.cat(apart, 1), rtol=0, atol=1e-10)
        assert (one.start, one.positions) == (two.start, two.positions)
        for layer in range(SMALL["depth"]):
            for held, expected in zip(one.read(layer), two.read(layer), strict=True):
                torch.testing.assert_close(held, expected, rtol=0, atol=1e-10)


# --- the rest of what it promises ------------------------------------------------------------------------------------


def test_features_are_maps_of_blocks():
    net, x, time = network(), clip(), torch.full((2,), 0.4, dtype=torch.float64)
    out, (first, last) = net(x, time, LABELS, features=(0, -1))
    assert first.shape == last.shape == (2, 16, 12, 2, 2)
    assert not torch.equal(first, last) and torch.equal(out, net(x, time, LABELS))
    with pytest.raises(ValueError, match="ask for 0 to 1"):
        net(x, time, LABELS, features=(2,))


def test_a_second_time_begins_without_influence_and_gains_it():
    net, x = ClipTransformer(SPACE, **SMALL, two_times=True), clip().float()
    time = torch.full((2,), 0.6)
    awake(net.unfold).float()
    assert torch.equal(net(x, time, LABELS, s=0.2 * time), net(x, time, LABELS))
    awake(net)
    x, time = x.double(), time.double()
    apart = net(x, time, LABELS, s=0.2 * time) - net(x, time, LABELS, s=0.5 * time)
    assert apart.abs().max() > 1e-4


def test_overlapping_patches_cover_every_pixel():
    for patch in (2, 4, 5, 10):
        net = awake(ClipTransformer(SPACE, **{**SMALL, "patch": patch}))
        x = clip(frames=1, rows=1)
        assert net(x, torch.ones(1, dtype=torch.float64)).shape == x.shape
        pixel = x.clone()
        pixel[..., 19, 0] += 1
        assert not torch.equal(net.fold(pixel[:, 0]), net.fold(x[:, 0]))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="cannot be cut into patches of 3"):
        ClipTransformer(SPACE, width=16, heads=2, patch=3)
    with pytest.raises(ValueError, match="multiple of 3"):
        ClipTransformer(SPACE, width=16, heads=3)
    with pytest.raises(ValueError, match="takes no conditions"):
        ClipTransformer(Space((2, 1, 4, 4), "clip"), width=16, heads=2, patch=2, labels=None)(
            torch.zeros(2, 2, 1, 4, 4), torch.zeros(2), LABELS
        )
