"""Guidance: the convention, the oracle of shifted means, the interval, one batched call."""

import pytest
import torch

from limbeck.interfaces import Prediction, Space, Teacher
from limbeck.networks.guidance import Guided, guide
from limbeck.process.categorical import MaskedProcess
from limbeck.process.gaussian import EDM, VP, RectifiedFlow, TrigFlow
from limbeck.testing import GaussianTeacher

PROCESSES = [RectifiedFlow(), VP(), EDM(), TrigFlow(sigma_data=0.5)]


def teacher(process):
    return GaussianTeacher(
        process,
        torch.tensor([0.5, 0.25]),
        torch.tensor([0.8, 1.2]),
        class_means=torch.tensor([[1.0, -1.0], [2.0, 3.0]]),
    )


def states(process):
    t = torch.tensor([0.1, 0.4, 0.7, 0.95], dtype=torch.float64) * process.t_max
    x = torch.tensor([[1.0, 2.0], [0.1, -3.0], [2.0, 0.0], [-1.0, 1.0]], dtype=torch.float64)
    return x, t, torch.tensor([0, 1, 1, 0])


def test_the_scale_is_standard():
    cond, uncond = torch.tensor([3.0]), torch.tensor([1.0])
    assert [float(guide(cond, uncond, g)) for g in (0.0, 1.0, 2.5)] == [1.0, 3.0, 6.0]


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("scale", [0.0, 1.0, 1.5, 4.0])
def test_guiding_gaussians_of_equal_width_moves_the_mean(process, scale):
    base = teacher(process)
    x, t, cond = states(process)
    moved = base.guided(scale)
    torch.testing.assert_close(Guided(base, scale)(x, t, cond).x0_hat, moved(x, t, cond).x0_hat, rtol=1e-11, atol=1e-11)
    # mu_null + scale (mu_c - mu_null), written out
    expected = base.means[-1] + scale * (base.means[cond] - base.means[-1])
    torch.testing.assert_close(moved.means[cond], expected)
    if scale > 1:
        assert float((moved(x, t, cond).x0_hat - base(x, t, cond).x0_hat).abs().max()) > 0.1


def test_one_batched_call_equals_two_calls():
    base = teacher(VP())
    x, t, cond = states(VP())
    calls = []
    base.register_forward_hook(lambda module, args, out: calls.append(len(args[0])))
    got = Guided(base, 2.5)(x, t, cond).x0_hat
    assert calls == [8]
    expected = guide(base(x, t, cond).x0_hat, base(x, t, base.null(cond)).x0_hat, 2.5)
    torch.testing.assert_close(got, expected, rtol=1e-13, atol=1e-13)


def test_outside_the_interval_the_conditional_prediction_is_returned():
    base = teacher(RectifiedFlow())
    x, t, cond = states(RectifiedFlow())
    got = Guided(base, 3.0, interval=(0.3, 0.8))(x, t, cond).x0_hat
    everywhere, conditional = Guided(base, 3.0)(x, t, cond).x0_hat, base(x, t, cond).x0_hat
    torch.testing.assert_close(got[1:3], everywhere[1:3])
    torch.testing.assert_close(got[[0, 3]], conditional[[0, 3]])
    assert float((everywhere - conditional).abs().min()) > 0.01


def test_the_interval_works_per_frame():
    base = teacher(RectifiedFlow())
    x, _, cond = states(RectifiedFlow())
    t = torch.tensor([[0.1, 0.5]] * 4, dtype=torch.float64)
    got = Guided(base, 3.0, interval=(0.3, 0.8))(x, t, cond).x0_hat
    torch.testing.assert_close(got[:, 0], base(x, t, cond).x0_hat[:, 0])
    torch.testing.assert_close(got[:, 1], Guided(base, 3.0)(x, t, cond).x0_hat[:, 1])


def test_features_are_those_of_the_conditional_branch():
    base = teacher(RectifiedFlow())
    x, t, cond = states(RectifiedFlow())
    got, expected = Guided(base, 3.0)(x, t, cond, features=(0, 1)), base(x, t, cond, features=(0, 1))
    for a, b in zip(got.features, expected.features, strict=True):
        torch.testing.assert_close(a, b)


def test_conditions_may_be_a_list():
    class Prompted(Teacher):
        process, space = RectifiedFlow(), Space((2,))

        def forward(self, xt, t, cond=None, *, features=()):
            return Prediction(x0_hat=xt + torch.tensor([[float(len(c))] for c in cond]))

        def null(self, cond):
            return [""] * len(cond)

    x = torch.zeros(2, 2)
    out = Guided(Prompted(), 2.0)(x, torch.ones(2), ["ab", "abcd"]).x0_hat
    assert out.tolist() == [[4.0, 4.0], [8.0, 8.0]]


def test_logits_are_guided_as_log_probabilities():
    class Tokens(Teacher):
        process, space = MaskedProcess(3), Space((1,), domain="tokens")

        def forward(self, xt, t, cond=None, *, features=()):
            table = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]]).log()
            return Prediction(logits=table[cond][:, None] + 7.0)  # unnormalised on purpose

        def null(self, cond):
            return torch.ones_like(cond)

    logits = Guided(Tokens(), 2.0)(torch.zeros(1, 1), torch.ones(1), torch.tensor([0])).logits
    p = torch.tensor([0.25 / 0.2, 0.09 / 0.2, 0.04 / 0.6])  # p_c^2 / p_null
    torch.testing.assert_close(logits.softmax(-1)[0, 0], p / p.sum())


def test_the_gradient_with_respect_to_the_state_passes_through():
    base = Guided(teacher(EDM()), 2.0).freeze()
    x, t, cond = states(EDM())
    x.requires_grad_(True)
    base(x, t, cond).x0_hat.sum().backward()
    assert float(x.grad.abs().min()) > 0


def test_a_guided_teacher_is_copied_unguided_and_knows_its_null():
    base = teacher(RectifiedFlow())
    x, t, cond = states(RectifiedFlow())
    guided = Guided(base, 5.0)
    torch.testing.assert_close(guided.trainable_copy()(x, t, cond).x0_hat, base(x, t, cond).x0_hat)
    assert torch.equal(guided.null(cond), base.null(cond))
    assert guided.process == base.process and guided.space == base.space


def test_a_teacher_without_a_null_condition_says_so():
    base = GaussianTeacher(RectifiedFlow(), torch.zeros(2), 1.0)
    with pytest.raises(TypeError, match="GaussianTeacher has no null condition, so guidance cannot be used with it"):
        Guided(base, 2.0)(torch.zeros(1, 2), torch.ones(1) / 2, torch.tensor([0]))
