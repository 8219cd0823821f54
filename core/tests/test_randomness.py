"""Randomness as a function of (seed, step, phase, purpose)."""

import pytest
import torch

import limbeck
from limbeck.interfaces import Phase
from limbeck.randomness import Rng, _mix32, derive_seed, per_row


def test_no_two_steps_of_a_stream_share_a_seed_in_a_million_steps():
    seeds = {derive_seed(0, step, "generator", 0, "noise") for step in range(1_000_000)}
    assert len(seeds) == 1_000_000 and max(seeds) < 2**32


def test_the_mixer_is_a_bijection_and_neighbours_land_far_apart():
    # inverted step by step: x ^= x >> 16 is an involution, x ^ (x >> 13) needs two terms, multipliers are odd
    def unmix(x):
        x ^= x >> 16
        x = (x * pow(0xC2B2AE35, -1, 2**32)) & 0xFFFFFFFF
        x ^= (x >> 13) ^ (x >> 26)
        x = (x * pow(0x85EBCA6B, -1, 2**32)) & 0xFFFFFFFF
        return x ^ (x >> 16)

    for x in (0, 1, 2, 12345, 2**31, 2**32 - 1):
        assert unmix(_mix32(x)) == x
    flips = [bin(_mix32(x) ^ _mix32(x + 1)).count("1") for x in range(1000)]
    assert 14 < sum(flips) / len(flips) < 18


def test_the_same_arguments_give_the_same_draw_and_any_other_gives_another():
    def value(seed=0, step=3, phase="critic", purpose="eps"):
        return limbeck.rng(seed, step, phase).normal(purpose, (4, 2))

    assert torch.equal(value(), value())
    for other in (value(seed=1), value(step=4), value(phase="generator"), value(purpose="noise")):
        assert not torch.equal(other, value())


def test_repeats_of_a_phase_draw_anew():
    first, second = (limbeck.rng(0, 7, Phase("critic", ("critic",), k, 5)).normal("eps", (4,)) for k in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(first, limbeck.rng(0, 7, "critic").normal("eps", (4,)))  # a bare name is repeat 0


def test_purposes_and_steps_are_uncorrelated():
    n = 20_000
    streams = [limbeck.rng(0, step).normal(purpose, (n,)) for step in (0, 1, 2) for purpose in ("noise", "eps", "t")]
    correlation = torch.corrcoef(torch.stack(streams)) - torch.eye(len(streams))
    assert float(correlation.abs().max()) < 5 / n**0.5
    across = torch.stack(
        [limbeck.rng(0, step).normal("noise", (1,))[0] for step in range(4000)]
    )  # first draws of many steps
    assert abs(float(across.mean())) < 0.08 and float(across.std()) == pytest.approx(1, abs=0.06)
    assert abs(float((across[1:] * across[:-1]).mean())) < 0.08


def test_the_order_of_draws_does_not_matter():
    a, b = limbeck.rng(0), limbeck.rng(0)
    first = a.normal("noise", (3,)), a.uniform("t", (3,))
    second = b.uniform("t", (3,)), b.normal("noise", (3,))
    assert torch.equal(first[0], second[1]) and torch.equal(first[1], second[0])


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_are_slices_of_the_whole(parts):
    whole = limbeck.rng(5, 2, "generator")
    pieces = [Rng(5, 2, "generator", part=k, parts=parts) for k in range(parts)]
    share = 8 // parts
    for draw in (
        lambda r, n: r.normal("eps", (n, 3, 2)),
        lambda r, n: r.normal("eps", (n,), torch.float64),
        lambda r, n: r.uniform("t", (n,)),
        lambda r, n: r.integers("k", 1000, (n, 2)),
    ):
        assert torch.equal(torch.cat([draw(piece, share) for piece in pieces]), draw(whole, 8))
    assert len({piece.shared_integer("exit", 1000) for piece in pieces}) == 1


def test_a_shared_integer_covers_its_range_evenly():
    counts = torch.bincount(torch.tensor([limbeck.rng(0, step).shared_integer("exit", 4) for step in range(2000)]))
    assert counts.shape == (4,) and int(counts.min()) > 420
    assert limbeck.rng(0).shared_integer("exit", 1) == 0


def test_distributions_have_their_moments_and_types():
    rng = limbeck.rng(1)
    z, u, k = rng.normal("z", (50_000,)), rng.uniform("u", (50_000,)), rng.integers("k", 7, (50_000,))
    assert float(z.mean()) == pytest.approx(0, abs=0.02) and float(z.std()) == pytest.approx(1, abs=0.02)
    assert float(u.min()) >= 0 and float(u.max()) < 1 and float(u.mean()) == pytest.approx(0.5, abs=0.01)
    assert k.dtype == torch.int64 and k.unique().tolist() == list(range(7))
    assert rng.normal("z", (2,), torch.float64).dtype == torch.float64


def test_the_global_state_is_left_alone_unless_asked():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    limbeck.rng(0).normal("z", (100,))
    assert torch.equal(torch.get_rng_state(), before)
    limbeck.rng(0, 5).seed_globally()
    first = torch.rand(3)
    limbeck.rng(0, 5).seed_globally()
    assert torch.equal(torch.rand(3), first)
    Rng(0, 5, part=1, parts=2).seed_globally()
    assert not torch.equal(torch.rand(3), first)


def test_a_part_outside_its_parts_is_refused():
    with pytest.raises(ValueError, match=r"part must be in \[0, parts\); got part=2, parts=2"):
        Rng(0, part=2, parts=2)


# --- numbers of a row ------------------------------------------------------------------------------------------------


def test_numbers_of_a_row_are_those_of_splitmix64():
    # the first outputs of the reference implementation (Vigna, splitmix64.c) from state 0, their upper 53 bits
    known = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC]
    expected = torch.tensor([[(x >> 11) * 2.0**-53 for x in known]], dtype=torch.float64)
    assert torch.equal(per_row(torch.tensor([0]), 4), expected)
    assert torch.equal(per_row(torch.tensor([0, 1]), 2), expected.view(2, 2))


def test_numbers_of_a_row_depend_on_no_other_row_and_differ_between_streams():
    indices = torch.tensor([5, 0, 123_456_789])
    whole = per_row(indices, 3, stream=1, streams=2)
    assert torch.equal(per_row(indices[2:], 3, stream=1, streams=2), whole[2:])
    both = torch.cat([per_row(torch.arange(1000), 5, stream=k, streams=2) for k in range(2)])
    assert len(both.unique()) == both.numel() and both.min() >= 0 and both.max() < 1
    assert both.mean().item() == pytest.approx(0.5, abs=0.01)
    with pytest.raises(ValueError, match=r"stream must be in \[0, streams\); got stream=2, streams=2"):
        per_row(indices, 3, stream=2, streams=2)
