"""One door for samples that carry gradients: rollouts, renders, tokens."""

import pytest
import torch
from torch import nn

import limbeck
from limbeck import Batch, RectifiedFlow
from limbeck.conditions import Conditions
from limbeck.interfaces import Codec, Prediction, Predictor, Space
from limbeck.networks.guidance import Guided, both
from limbeck.networks.scenes import Render, Scene
from limbeck.process.categorical import MaskedProcess, UniformProcess
from limbeck.sampling.rollouts import Plan, produce, rollout
from limbeck.testing import GaussianGenerator, GaussianTeacher


class Canvas(Scene):
    def __init__(self, size=4):
        super().__init__()
        self.picture = nn.Parameter(torch.linspace(-1, 1, 3 * size * size).reshape(1, 3, size, size))
        self.space = Space((3, size, size), domain="pixels")

    def forward(self, cond):
        image = self.picture.expand(len(cond), -1, -1, -1)
        return Render(
            image=image, alpha=torch.ones_like(image[:, :1]), penalties={"size": image.square().flatten(1).sum(1)}
        )


class Halves(Codec):
    """Averages of two by two pixels, doubled."""

    def encode(self, seen):
        return 2 * nn.functional.avg_pool2d(seen, 2)


class Words(Predictor):
    def __init__(self, process):
        super().__init__()
        self.process, self.space = process, Space((3,), domain="tokens")
        self.logits = nn.Parameter(torch.tensor([0.0, 1.0, -1.0, 0.5]))

    def forward(self, xt, t, cond=None, *, s=None, features=()):
        assert (t == 1).all() and xt.max() < self.process.states
        return Prediction(logits=self.logits.expand(*xt.shape, -1))


@pytest.mark.parametrize("grad", ["last", "all", "none"])
def test_a_predictor_is_rolled_out_as_before_to_the_last_bit(grad):
    flow = RectifiedFlow()
    generator = GaussianGenerator(flow, torch.tensor([0.3, -1.0]), torch.tensor([0.5, 2.0]))
    plan, noise = Plan.uniform(flow, 3), torch.randn(5, 2)
    one = rollout(generator, None, plan=plan, rng=limbeck.rng(1), batch_size=5, grad=grad, noise=noise)
    two = produce(generator, Batch(noise=noise), plan=plan, rng=limbeck.rng(1), grad=grad)
    assert torch.equal(one.value, two.value) and one.at.requires_grad == two.at.requires_grad == (grad != "none")
    assert (one.evaluations, one.t_from) == (two.evaluations, two.t_from)


def test_a_scene_is_rendered_and_brought_to_the_teachers_space():
    scene, batch = Canvas(), Batch(cond=Conditions(azimuth=torch.zeros(2)))
    plain = produce(scene, batch, plan=None, rng=limbeck.rng(0))
    assert torch.equal(plain.at, scene.picture.expand(2, -1, -1, -1)) and plain.at.requires_grad
    assert plain.penalties["size"].shape == (2,)
    latent = produce(scene, batch, plan=None, rng=limbeck.rng(0), space=Space((3, 2, 2), codec=Halves()))
    torch.testing.assert_close(latent.at, 2 * nn.functional.avg_pool2d(scene.picture, 2).expand(2, -1, -1, -1))
    latent.at.sum().backward()
    assert torch.equal(scene.picture.grad, torch.full_like(scene.picture, 2 * 2 / 4))  # two views, a quarter of each
    assert not produce(scene, batch, plan=None, rng=limbeck.rng(0), grad="none").at.requires_grad


def test_a_render_that_is_no_sample_of_the_teachers_space_is_refused():
    scene, batch = Canvas(), Batch(cond=Conditions(azimuth=torch.zeros(2)))
    with pytest.raises(ValueError, match=r"\(3, 4, 4\) becomes \(3, 4, 4\).*\(3, 8, 8\).*resolution"):
        produce(scene, batch, plan=None, rng=limbeck.rng(0), space=Space((3, 8, 8)))
    with pytest.raises(ValueError, match="cameras"):
        produce(scene, Batch(noise=torch.zeros(2, 3)), plan=None, rng=limbeck.rng(0))


@pytest.mark.parametrize("process", [MaskedProcess(4), UniformProcess(4)], ids=["masked", "uniform"])
def test_tokens_come_from_one_call_and_follow_their_logits(process):
    generator = Words(process)
    noise = process.prior_sample((4000, 3), limbeck.rng(0))
    assert noise.dtype == torch.int64
    sample = produce(generator, Batch(noise=noise), plan=None, rng=limbeck.rng(0), random_tokens=0.4)
    assert sample.at.shape == (4000, 3, 4) and sample.at.requires_grad and sample.evaluations == 1
    share = torch.bincount(sample.value.flatten(), minlength=4) / 12000
    torch.testing.assert_close(share, generator.logits.detach().softmax(0), atol=0.02, rtol=0)
    again = produce(generator, Batch(noise=noise), plan=None, rng=limbeck.rng(0), random_tokens=0.4)
    assert torch.equal(sample.value, again.value)
    with pytest.raises(TypeError, match="one_call"):
        rollout(generator, None, plan=Plan((1.0,)), rng=limbeck.rng(0), batch_size=2)


def test_a_rollout_without_a_plan_is_refused():
    generator = GaussianGenerator(RectifiedFlow(), torch.zeros(2), torch.ones(2))
    with pytest.raises(ValueError, match="plan"):
        produce(generator, Batch(noise=torch.zeros(1, 2)), plan=None, rng=limbeck.rng(0))


def test_both_branches_of_a_teacher_come_from_one_call_and_mix_to_the_guided_one():
    means = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    teacher = GaussianTeacher(RectifiedFlow(), 0.2, 0.7, class_means=means)
    xt, t = torch.randn(3, 1, dtype=torch.float64), torch.full((3,), 0.4, dtype=torch.float64)
    cond, calls = torch.tensor([0, 1, 0]), []
    teacher.register_forward_hook(lambda module, args, out: calls.append(len(args[0])))
    conditional, unconditional = both(teacher, xt, t, cond)
    assert calls == [6]
    torch.testing.assert_close(conditional.x0_hat, teacher.x0_hat(xt, t, cond))
    torch.testing.assert_close(unconditional.x0_hat, teacher.x0_hat(xt, t, None).expand(3, 1))
    guided = Guided(teacher, 2.5)
    assert torch.equal(guided.mix(conditional, unconditional, t).x0_hat, guided(xt, t, cond).x0_hat)
