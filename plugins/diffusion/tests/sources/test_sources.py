"""Sources: the same batch for any number of processes, and the right distribution."""

import pytest
import torch

from limbeck.interfaces import Batch, Data, Phase, Space
from limbeck.process.gaussian import EDM, RectifiedFlow
from limbeck.randomness import Rng
from limbeck.testing import GaussianTeacher
from limbeck_diffusion.sources.sources import (
    DataSource,
    PairsSource,
    PriorSource,
    StudentSource,
    TrajectorySource,
    rows_at,
    rows_of,
)


class Numbers(Data):
    """x0 = row number, cond = row number modulo 3."""

    space = Space((1,))

    def __init__(self, count=10):
        self.count = count

    def __len__(self):
        return self.count

    def batch(self, indices):
        return Batch(x0=indices[:, None].float(), cond=indices % 3)


def teacher(process=None):
    means = torch.tensor([[-1.0], [0.0], [1.0]])
    return GaussianTeacher(process or RectifiedFlow(), mean=0.3, std=0.5, class_means=means)


def sources():
    model = teacher()
    return {
        "data": DataSource(data=Numbers()),
        "prior": PriorSource(data=Numbers(), teacher=model),
        "trajectory": TrajectorySource(data=Numbers(), teacher=model, steps=3),
        "pairs": PairsSource(data=Numbers(), teacher=model, steps=2, count=20, chunk=8),
        "student": StudentSource(data=Numbers(), generator=model, steps=2),
    }


def tensors(batch):
    named = {name: getattr(batch, name) for name in ("x0", "cond", "noise", "xt", "t")}
    return {name: value for name, value in named.items() if value is not None}


@pytest.mark.parametrize("name", ["data", "prior", "trajectory", "pairs", "student"])
def test_parts_of_a_batch_are_slices_of_the_whole(name):
    source, phase = sources()[name], Phase("critic", ("critic",), 2, 5)
    whole = tensors(source.batch(6, Rng(4, 3, phase)))
    parts = [tensors(source.batch(2, Rng(4, 3, phase, part=k, parts=3))) for k in range(3)]
    assert whole
    for field, value in whole.items():
        torch.testing.assert_close(torch.cat([p[field] for p in parts]), value, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["data", "prior", "trajectory", "pairs", "student"])
def test_a_batch_depends_on_the_step_and_not_on_the_past(name):
    phase = Phase("generator", ("generator",))
    walked, fresh = sources()[name], sources()[name]
    for step in range(3):
        walked.batch(4, Rng(0, step, phase))
    late, direct = (tensors(s.batch(4, Rng(0, 3, phase))) for s in (walked, fresh))
    before = tensors(fresh.batch(4, Rng(0, 2, phase)))
    for field in late:
        torch.testing.assert_close(late[field], direct[field], rtol=0, atol=0)
    assert any(not torch.equal(late[field], before[field]) for field in late)


def test_every_epoch_sees_every_row_once_in_another_order():
    source = DataSource(data=Numbers(10))
    rows = torch.cat([source.batch(4, Rng(0, step, "generator")).x0 for step in range(5)]).flatten()
    assert sorted(rows[:10].tolist()) == sorted(rows[10:].tolist()) == list(range(10))
    assert rows[:10].tolist() != rows[10:].tolist()


def test_every_turn_of_a_step_has_its_own_stream():
    turns = [Phase("critic", ("critic",), k, 2) for k in range(2)] + [Phase("generator", ("generator",))]
    first = [rows_of(Rng(0, 0, phase), 8, 100).tolist() for phase in turns]
    assert len({tuple(r) for r in first}) == 3
    assert rows_of(Rng(0, 0, turns[0]), 8, 100).tolist() != rows_of(Rng(1, 0, turns[0]), 8, 100).tolist()


def test_a_batch_may_be_larger_than_the_data():
    rows = rows_at(7, 25, 10, seed=0, phase="", repeat=0)
    assert len(rows) == 25 and torch.bincount(rows, minlength=10).min() >= 2
    assert rows_at(7, 5, 10, seed=0, phase="", repeat=0, shuffle=False).tolist() == [7, 8, 9, 0, 1]
    assert DataSource(data=Numbers(4), shuffle=False).batch(3, Rng(0, 1)).x0.flatten().tolist() == [3, 0, 1]


def test_the_prior_gives_the_noise_that_a_rollout_would_draw():
    model = teacher(EDM())
    batch = PriorSource(data=Numbers(), teacher=model).batch(5, Rng(2, 9, "critic"))
    torch.testing.assert_close(batch.noise, model.process.prior_sample((5, 1), Rng(2, 9, "critic")), rtol=0, atol=0)
    assert batch.x0 is None and len(batch.cond) == len(batch) == 5
    alone = PriorSource(generator=model).batch(5, Rng(2, 9, "critic"))
    assert alone.cond is None and torch.equal(alone.noise, batch.noise)


def test_trajectory_states_lie_on_the_teachers_trajectories():
    model = teacher()
    source = TrajectorySource(data=Numbers(), teacher=model, steps=40, sampler="heun")
    batch = source.batch(200, Rng(0, 5, "generator"))
    t_max = torch.ones(200)
    exact = model.flow_map(batch.noise.double(), t_max.double(), batch.t.double(), batch.cond)
    torch.testing.assert_close(batch.xt.double(), exact, rtol=0, atol=2e-3)  # the solver's error
    nodes = set((batch.t * 40).round().int().tolist())
    assert len(nodes) > 30 and min(nodes) >= 1 and max(nodes) == 40  # never t = 0
    assert torch.equal(batch.xt[batch.t == 1], batch.noise[batch.t == 1])


def test_pairs_are_the_teachers_flow_map_and_do_not_depend_on_their_number():
    model = teacher()
    source = PairsSource(data=Numbers(), teacher=model, steps=40, count=50, chunk=16)
    pairs = source.pairs()
    assert len(pairs) == 50 and source.pairs() is pairs
    t = torch.ones(50, dtype=torch.float64)
    exact = model.flow_map(pairs.noise.double(), t, torch.zeros_like(t), pairs.cond)
    torch.testing.assert_close(pairs.x0.double(), exact, rtol=0, atol=2e-3)
    fewer = PairsSource(data=Numbers(), teacher=model, steps=40, count=20, chunk=16).pairs()
    assert torch.equal(fewer.x0, pairs.x0[:20]) and torch.equal(fewer.cond, pairs.cond[:20])
    other = PairsSource(data=Numbers(), teacher=model, steps=40, count=20, chunk=16, seed=1).pairs()
    assert not torch.equal(other.noise, fewer.noise)
    batch = source.batch(8, Rng(0, 0))
    match = (pairs.noise[None] == batch.noise[:, None]).all(-1).nonzero()[:, 1]
    assert torch.equal(pairs.x0[match], batch.x0) and torch.equal(pairs.cond[match], batch.cond)


def test_the_student_source_holds_detached_samples_of_the_student():
    student = teacher().trainable_copy(predicts="flow_map")
    batch = StudentSource(data=None, generator=student).batch(4000, Rng(0))
    assert not batch.x0.requires_grad and batch.cond is None
    assert float(batch.x0.mean()) == pytest.approx(0.3, abs=0.03) and float(batch.x0.std()) == pytest.approx(
        0.5, abs=0.03
    )


def test_a_missing_partner_is_named():
    with pytest.raises(ValueError, match="source 'data' needs data, and the recipe gives none"):
        DataSource()
    with pytest.raises(ValueError, match="source 'trajectory' needs teacher"):
        TrajectorySource(data=Numbers())
    with pytest.raises(ValueError, match="source 'student' needs generator"):
        StudentSource()
    with pytest.raises(ValueError, match="sampler 'multistep' yields no intermediate states"):
        TrajectorySource(teacher=teacher(), sampler="multistep")
    with pytest.raises(ValueError, match="the data is empty"):
        DataSource(data=Numbers(0)).batch(2, Rng(0))
