"""What a sampler inherits: its noise, calls without gradients, and what is said when there is nothing to start from."""

import pytest
import torch

import limbeck
from limbeck.interfaces import Sample, Sampler
from limbeck.process.categorical import MaskedProcess
from limbeck.process.gaussian import EDM
from limbeck.testing import GaussianTeacher, MarkovChainTeacher


class Once(Sampler):
    """The whole of a sampler: one call."""

    def walk(self, predictor, cond, x, *, steps, rng):
        assert not torch.is_grad_enabled()
        x0_hat = predictor(x, torch.full((len(x),), predictor.process.t_max), cond).x0_hat
        return Sample(value=x0_hat, at=x, t_from=predictor.process.t_max, t_to=0.0, evaluations=steps)


class Noise(Sampler):
    """What is walked from."""

    def walk(self, predictor, cond, x, *, steps, rng):
        return Sample(value=x, at=x, t_from=1.0, t_to=0.0, evaluations=0)


def test_a_walk_starts_from_the_prior_of_the_process():
    teacher = GaussianTeacher(EDM(), mean=0.0, std=1.0)
    sample = Noise()(teacher, None, steps=1, rng=limbeck.rng(3), batch_size=4)
    assert torch.equal(sample.value, EDM().prior_sample((4, 1), limbeck.rng(3)))
    chain = MarkovChainTeacher(MaskedProcess(2), torch.full((2, 2), 0.5), length=5)
    tokens = Noise()(chain, None, steps=1, rng=limbeck.rng(3), batch_size=4).value
    assert tokens.shape == (4, 5) and bool((tokens == 2).all())


def test_given_noise_is_walked_from_and_conditions_count_the_rows():
    teacher = GaussianTeacher(EDM(), mean=0.0, std=1.0)
    given = torch.randn(3, 1)
    assert torch.equal(Once()(teacher, None, steps=1, rng=limbeck.rng(0), noise=given).at, given)
    assert len(Noise()(teacher, torch.zeros(7, dtype=torch.long), steps=1, rng=limbeck.rng(0)).value) == 7


def test_gradients_are_on_again_behind_a_call():
    teacher = GaussianTeacher(EDM(), mean=0.0, std=1.0)
    sample = Once()(teacher, None, steps=1, rng=limbeck.rng(0), noise=torch.randn(3, 1, requires_grad=True))
    assert torch.is_grad_enabled() and not sample.value.requires_grad


def test_what_cannot_be_started_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match="how many samples\\? An unconditional model needs batch_size= or noise="):
        Once()(GaussianTeacher(EDM(), mean=0.0, std=1.0), None, steps=1, rng=limbeck.rng(0))
    with pytest.raises(TypeError, match="Once starts from the noise of a process, and Linear has none"):
        Once()(torch.nn.Linear(1, 1), None, steps=1, rng=limbeck.rng(0))


def test_a_sampler_without_a_walk_says_so():
    class Nothing(Sampler):
        pass

    with pytest.raises(NotImplementedError, match="Nothing is a Sampler: implement walk, or __call__ as a whole"):
        Nothing()(GaussianTeacher(EDM(), mean=0.0, std=1.0), None, steps=1, rng=limbeck.rng(0), batch_size=2)
