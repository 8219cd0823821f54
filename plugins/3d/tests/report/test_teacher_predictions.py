"""What the teacher predicts of a scene."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from limbeck.conditions import Conditions
from limbeck.interfaces import Codec, Prediction, Space, Teacher
from limbeck.process.gaussian import RectifiedFlow
from limbeck_3d.exporters.turntable import views
from limbeck_3d.report.teacher_predictions import four_sides, teachers_view, what_the_teacher_sees
from limbeck_3d.scenes.image import ImageScene


class Halving(Codec):
    def encode(self, seen):
        return 0.5 * seen

    def decode(self, value):
        return 2 * value


class KnowsOneImage(Teacher):
    """Data is one image: x0_hat is that image, whatever the noise."""

    process = RectifiedFlow()

    def __init__(self, image, codec=None):
        super().__init__()
        self.space = Space(tuple(image.shape), domain="renders", codec=codec or Codec())
        self.image = nn.Parameter(image)
        self.calls = 0

    def forward(self, xt, t, cond, *, features=()):
        self.calls += 1
        return Prediction(x0_hat=self.image.expand_as(xt))


@pytest.mark.parametrize("codec", [Codec(), Halving()])
def test_the_teacher_is_shown_noised_renders_and_its_predictions_are_shown(codec):
    scene = ImageScene(size=8, particles=2)
    wanted = torch.full((3, 8, 8), 0.25)
    teacher = KnowsOneImage(codec.encode(wanted), codec)
    seen = what_the_teacher_sees(scene, teacher, views(4), levels=(0.2, 0.7), steps=3)
    torch.testing.assert_close(seen.rendered, scene.image.detach()[[0, 1, 0, 1]])
    assert seen.noised.shape == seen.one_step.shape == seen.many_steps.shape == (2, 4, 3, 8, 8)
    assert seen.times == (0.2, 0.7) and teacher.calls == 2 * (1 + 3)
    torch.testing.assert_close(seen.one_step, wanted.expand_as(seen.one_step))
    torch.testing.assert_close(seen.many_steps, wanted.expand_as(seen.many_steps))
    # the same noise at both levels, of unit size in the teacher's space: xt = (1 - t) x0 + t eps
    latent = codec.encode(seen.rendered)
    eps = [(codec.encode(seen.noised[k]) - (1 - t) * latent) / t for k, t in enumerate(seen.times)]
    torch.testing.assert_close(eps[0], eps[1], rtol=1e-4, atol=1e-4)
    assert float(eps[0].std()) == pytest.approx(1.0, abs=0.1)


def test_four_sides_are_the_rows_nearest_to_them():
    cond = Conditions(azimuth=torch.tensor([100.0, 350.0, 30.0, 185.0, 260.0, 45.0]), row=torch.arange(6))
    assert four_sides(cond)["row"].tolist() == [1, 0, 3, 4]
    assert four_sides(torch.arange(9)).tolist() == [0, 1, 2, 3]


def run_of(scene, teacher=None):
    data = SimpleNamespace(conditions=lambda count, rng: views(count))
    built = SimpleNamespace(generator=scene, teacher=teacher, data=data)
    return SimpleNamespace(generator=lambda: scene, built=built)


def test_the_teachers_view_shows_three_levels_of_noise_from_four_sides():
    shown = teachers_view(run_of(ImageScene(size=8), KnowsOneImage(torch.zeros(3, 8, 8))))
    page = shown.html()
    assert shown.title == "What the teacher sees"
    assert page.count("<img") == 1 + 3 * 3 and [f"t = {t}" in page for t in ("0.25", "0.50", "0.80")] == [True] * 3


def test_runs_without_scenes_or_teachers_have_no_panel():
    assert teachers_view(run_of(nn.Linear(1, 1), KnowsOneImage(torch.zeros(3, 8, 8)))) is None
    assert teachers_view(run_of(ImageScene(size=8))) is None
