import pytest
import torch

import limbeck
from limbeck.networks.guidance import Guided
from limbeck.networks.scenes import Cameras
from limbeck.randomness import Rng
from limbeck_3d.data.cameras import conditions_of, orbit_cameras
from limbeck_3d.data.prompt import Prompt
from limbeck_3d.data.solids import Solids
from limbeck_3d.networks.view_unet import SIGMA_DATA, camera_features, views_generator
from limbeck_3d.options.cameras import CameraOptions
from limbeck_3d.options.networks import ViewsGeneratorOptions

SMALL = dict(channels=(16, 16), attention=(1,), embedding=32, words=8)


def cond_of(prompt, count=4, background=0.0):
    cond = Prompt(prompt=prompt).conditions(count, Rng(0))
    return cond.but(background=torch.full((count, 3), background))


@pytest.mark.parametrize("process", ["rectified_flow", "vp_cosine"])
@pytest.mark.parametrize("prediction", ["velocity", "v", "x0"])
def test_a_generator_lives_on_either_process(process, prediction):
    generator = views_generator(process=process, prediction=prediction, **SMALL)
    out = generator(torch.randn(4, 3, 32, 32), torch.full((4,), 0.7), cond_of("a red torus"), features=(-1,))
    assert out.x0_hat.shape == (4, 3, 32, 32) and torch.isfinite(out.x0_hat).all() and len(out.features) == 1


def test_null_drops_the_prompt_and_keeps_camera_and_background():
    generator, cond = views_generator(**SMALL), cond_of("a red torus", background=0.5)
    null = generator.null(cond)
    assert (null["text"] == 0).all() and (cond["text"] != 0).any()
    assert all(torch.equal(null[name], cond[name]) for name in cond if name != "text")


def test_the_network_tells_prompts_cameras_backgrounds_and_word_order_apart():
    torch.manual_seed(0)
    generator = views_generator(**SMALL)
    for parameter in generator.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    x, t = torch.randn(1, 3, 32, 32).expand(4, -1, -1, -1), torch.full((4,), 0.5)

    def says(cond):
        return generator(x, t, cond).x0_hat

    base = cond_of("a red torus on a blue box")
    assert not torch.allclose(says(base), says(cond_of("a blue torus on a red box")), atol=1e-4)
    assert not torch.allclose(says(base), says(base.but(background=base["background"] + 0.3)), atol=1e-4)
    assert not torch.allclose(says(base)[0], says(base)[1], atol=1e-4)  # another camera
    guided = Guided(generator, 2.0)(x, t, base).x0_hat
    torch.testing.assert_close(guided, 2 * says(base) - says(generator.null(base)), rtol=1e-4, atol=1e-4)


def test_camera_features_agree_after_a_full_turn_and_only_then():
    def at(azimuth):
        elevation, distance, fov = torch.tensor([[10.0], [3.0], [40.0]])
        return camera_features(
            Cameras(azimuth=torch.tensor([azimuth]), elevation=elevation, distance=distance, fov=fov)
        )

    torch.testing.assert_close(at(-30.0), at(330.0), rtol=0, atol=1e-5)
    assert min((at(0.0) - at(azimuth)).norm().item() for azimuth in (10.0, 90.0, 180.0, 270.0)) > 0.3


def test_sizes_that_do_not_divide_are_refused_before_torch_is_needed():
    with pytest.raises(ValueError, match="16 pixels cannot be divided by 32"):
        ViewsGeneratorOptions(size=16, patch=4, channels=(16, 16, 16, 16))
    with pytest.raises(ValueError, match="levels 0 to 1"):
        ViewsGeneratorOptions(channels=(16, 16), attention=(2,))


def test_sigma_data_is_that_of_the_renders():
    data = Solids(views=8)
    assert data.batch(torch.arange(0, len(data), 5)).x0.std().item() == pytest.approx(SIGMA_DATA, abs=0.03)


# --- the bundled teacher ---


@pytest.fixture(scope="module")
def teacher():
    return limbeck.create("teacher", "3d/views")


def test_the_bundled_teacher_is_frozen_and_knows_its_provenance(teacher):
    assert not teacher.training and not any(p.requires_grad for p in teacher.parameters())
    assert {"recipe", "data", "licence", "seed"} <= set(teacher.provenance)


def test_the_bundled_teacher_denoises_views_of_prompts_it_never_saw(teacher):
    held_out = Solids(views=16).split("held_out")
    batch = held_out.batch(torch.arange(len(held_out)))
    eps = torch.randn(batch.x0.shape, generator=torch.Generator().manual_seed(0))
    errors = []
    for level in (0.2, 0.6):
        t = torch.full((len(batch),), level)
        x0_hat = teacher(teacher.process.add_noise(batch.x0, eps, t), t, batch.cond).x0_hat
        errors.append((x0_hat - batch.x0).square().mean().item())
    assert errors[0] < 0.01 and errors[0] < errors[1] < 0.03 < SIGMA_DATA**2


def test_from_pure_noise_the_teacher_answers_the_prompt_in_front_of_its_background(teacher):
    cameras = orbit_cameras(8, CameraOptions())
    x, t = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.ones(8)
    background = torch.tensor([[0.8, 0.8, -0.6]]).expand(8, 3)
    red, green = (
        teacher(x, t, conditions_of(Prompt(prompt=f"a {colour} box").tokens, cameras, background)).x0_hat.mean(dim=0)
        for colour in ("red", "green")
    )
    assert red[0, 16, 16] > red[1, 16, 16] + 0.3 and green[1, 16, 16] > green[0, 16, 16] + 0.2
    torch.testing.assert_close(red[:, 1, 1], background[0], rtol=0, atol=0.2)
