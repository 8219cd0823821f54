"""The likelihood bound of masked diffusion, against likelihoods that are known."""

import itertools
import math

import numpy
import pytest
import token_models as models
import torch

import limbeck
from limbeck.interfaces import Batch, Phase
from limbeck.process.categorical import MaskedProcess, UniformProcess
from limbeck.testing import FixedDraws, MarkovChainTeacher
from limbeck.testing.conformance import ObjectiveConformance
from limbeck_diffusion.formulas.masked import bound, masked_cross_entropy
from limbeck_diffusion.formulas.times import stratified_time
from limbeck_diffusion.objectives.pretraining.mdlm import MDLM

PHASE = Phase("generator", ("generator",))
CHAIN = torch.tensor([[0.8, 0.2], [0.35, 0.65]], dtype=torch.float64)
START = torch.tensor([0.3, 0.7], dtype=torch.float64)


def chain(schedule="linear", length=3):
    return MarkovChainTeacher(MaskedProcess(2, schedule), CHAIN, START, length=length)


def exactly(objective, x, nodes=24):
    """The objective's loss on one sequence (L,), by quadrature over t and enumeration of the masks; nats per token."""
    process, length = objective.process, len(x)
    points, weights = numpy.polynomial.legendre.leggauss(nodes)
    masks = torch.tensor(list(itertools.product([0.0, 1.0], repeat=length)), dtype=torch.float64)  # 1: hidden
    t = torch.tensor((points + 1) / 2).repeat_interleave(len(masks))
    hidden = masks.repeat(nodes, 1)
    alpha = process.alpha(t)[:, None]
    u = torch.where(hidden.bool(), (1 + alpha) / 2, alpha / 2)
    weight = torch.tensor(weights / 2).repeat_interleave(len(masks)) * torch.where(
        hidden.bool(), 1 - alpha, alpha
    ).prod(1)
    batch = Batch(x0=x.expand(len(t), -1), weight=weight)
    return float(objective.loss(PHASE, batch, FixedDraws({"t": t, "eps": u})).value.detach())


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_bound_of_an_exact_denoiser_is_the_likelihood(schedule):
    teacher = chain(schedule)
    objective = MDLM(times={"range": (0.0, 1.0), "antithetic": False})
    objective.setup(teacher)
    for x in teacher.sequences():
        expected = -float(teacher.log_density(x[None])) / 3
        assert expected > 0.2
        assert exactly(objective, x) == pytest.approx(expected, abs=1e-9)


def test_the_bound_is_a_sum_over_mask_sets_with_combinatorial_weights():
    # integrating t^(r-1) (1-t)^(L-r) gives (r-1)! (L-r)! / L! for a set of r masked tokens out of L
    teacher = chain()
    process = teacher.process
    for x in teacher.sequences():
        total = 0.0
        for pattern in itertools.product([False, True], repeat=3):
            hidden = torch.tensor([pattern])
            r = int(hidden.sum())
            if r:
                xt = torch.where(hidden, process.mask_id, x[None])
                logits = teacher(xt, torch.full((1,), 0.5, dtype=torch.float64)).logits
                weight = math.factorial(r - 1) * math.factorial(3 - r) / math.factorial(3)
                total += weight * float(masked_cross_entropy(logits, x[None], hidden).sum())
        assert total == pytest.approx(-float(teacher.log_density(x[None])), abs=1e-12)


def test_a_model_that_sees_no_context_pays_the_sum_of_its_own_surprises():
    p = torch.tensor([0.25, 0.75], dtype=torch.float64)
    model = models.Table(MaskedProcess(2), 3, p.log().expand(27, 3, 2).clone())
    objective = MDLM(times={"range": (0.0, 1.0), "antithetic": False})
    objective.setup(model)
    for x in chain().sequences():
        assert exactly(objective, x) == pytest.approx(-float(p[x].log().mean()), abs=1e-9)


def test_training_by_the_bound_finds_the_conditionals():
    teacher = models.two_tokens()
    objective = MDLM(times={"range": (0.02, 1.0)})
    student = models.Table(teacher.process, 2)
    objective.setup(student)
    optimizer = torch.optim.Adam(student.parameters(), lr=0.05)
    for step in range(150):
        rng = limbeck.rng(0, step)
        objective.loss(PHASE, Batch(x0=teacher.sample(512, rng)), rng).backward()
        optimizer.step()
        objective.zero_grad()
    xt = torch.tensor([[2, 2], [2, 0], [1, 2]])
    t = torch.full((3,), 0.5)
    got, exact = student(xt, t).logits.softmax(-1), teacher(xt, t).logits.double().exp()
    hidden = xt.eq(2)
    torch.testing.assert_close(got[hidden], exact[hidden], atol=0.04, rtol=0)


def test_the_weight_of_the_linear_schedule_is_one_over_t():
    t = torch.tensor([0.1, 0.5, 1.0], dtype=torch.float64)
    errors = torch.tensor([[1.0, 2.0], [0.0, 3.0], [1.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(bound(MaskedProcess(2), errors, t), torch.tensor([30.0, 6.0, 2.0], dtype=torch.float64))


def test_a_prompt_stays_visible_and_does_not_count():
    seen = []

    class Watching(models.Table):
        def forward(self, xt, t, cond=None, **more):
            seen.append(xt)
            return super().forward(xt, t, cond)

    student = Watching(MaskedProcess(2), 4)
    objective = MDLM()
    objective.setup(student)
    x0 = torch.tensor([[0, 1, 1, 0]] * 64)
    learned = torch.tensor([[False, False, True, True]] * 64)
    loss = objective.loss(PHASE, Batch(x0=x0, loss_mask=learned), limbeck.rng(0))
    assert torch.equal(seen[0][:, :2], x0[:, :2]) and bool((seen[0][:, 2:] == 2).any())
    assert loss.count == 128
    # a uniform guess: the bound per learned token is log 2 in the mean over t
    assert float(loss.value.detach()) == pytest.approx(math.log(2), rel=0.25)
    padded = objective.loss(PHASE, Batch(x0=x0, attention_mask=learned), limbeck.rng(0))
    assert torch.equal(padded.value, loss.value)


def test_times_of_a_batch_are_spread_evenly_whatever_its_parts():
    whole = stratified_time(limbeck.rng(3), 8, (0.2, 1.0))
    assert whole.dtype == torch.float64
    assert torch.equal(((whole - 0.2) / 0.1).floor().long(), torch.arange(8))
    parts = [stratified_time(limbeck.rng(3, part=k, parts=2), 4, (0.2, 1.0)) for k in range(2)]
    torch.testing.assert_close(torch.cat(parts), whole)
    free = stratified_time(limbeck.rng(3), 8, stratified=False)
    assert not torch.equal((free * 8).floor().long(), torch.arange(8))


def test_uniform_corruption_and_missing_data_are_refused():
    with pytest.raises(ValueError, match="mdlm learns masked tokens, but Table lives on UniformProcess"):
        MDLM().setup(models.Table(UniformProcess(2), 2))
    objective = MDLM()
    objective.setup(models.Table(MaskedProcess(2), 2))
    with pytest.raises(ValueError, match="use source data"):
        objective.loss(PHASE, Batch(noise=torch.zeros(1, 2)), limbeck.rng(0))


class TestMDLM(ObjectiveConformance):
    def make(self):
        return MDLM()

    def partners(self):
        return {"generator": models.Table(MaskedProcess(2), 3), "data": None}

    def batch(self, size, rng):
        return Batch(x0=chain().sample(size, rng))
