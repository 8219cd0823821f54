"""Scenes: conditions, particles, schedules, regularisers, what bad parameters get."""

import pytest
import torch

import limbeck
from limbeck.conditions import Conditions
from limbeck.errors import LimbeckError, NonFinite
from limbeck.plugins.registry import find
from limbeck_3d.scenes.base import FieldScene
from limbeck_3d.scenes.image import ImageScene
from limbeck_3d.scenes.splats import Splats
from limbeck_3d.scenes.voxels import Voxels, inverse_softplus

SMALL = {
    "image": (ImageScene, {"size": 8}),
    "voxels": (Voxels, {"size": 8, "grid": 8, "samples": 12}),
    "splats": (Splats, {"size": 8, "count": 20}),
}


def views(count, **more):
    """`count` cameras around the scene, with backgrounds of their own."""
    return Conditions(
        azimuth=torch.linspace(0, 270, count),
        elevation=torch.full((count,), 20.0),
        distance=torch.full((count,), 3.5),
        fov=torch.full((count,), 40.0),
        **({"background": torch.linspace(-1, 1, 3 * count).reshape(count, 3)} | more),
    )


def small(name, **more):
    torch.manual_seed(0)
    target, options = SMALL[name]
    return target(**(options | more))


@pytest.mark.parametrize("name", SMALL)
def test_a_scene_renders_a_row_per_camera_and_learns_from_every_pixel(name):
    scene = limbeck.create("generator", f"3d/{name}", **SMALL[name][1])
    assert scene.space.event == (3, 8, 8) and scene.space.domain == "renders"
    out = scene(views(3))
    assert out.image.shape == (3, 3, 8, 8) and out.alpha.shape == (3, 1, 8, 8)
    assert float(out.alpha.detach().min()) >= 0 and float(out.alpha.detach().max()) <= 1
    out.image.square().sum().backward()
    gradients = [float(p.grad.abs().sum()) for p in scene.parameters() if p.grad is not None]
    assert len(gradients) >= 1 and max(gradients) > 0


@pytest.mark.parametrize("name", SMALL)
def test_the_manifest_promises_what_scenes_can(name):
    assert find("generator", f"3d/{name}").component.can == {"sampling", "renders"}


@pytest.mark.parametrize("name", ["voxels", "splats"])
def test_rows_do_not_depend_on_their_neighbours(name):
    scene, cond = small(name), views(4)
    together = scene(cond)
    for row in range(4):
        alone = scene(cond[row : row + 1])
        torch.testing.assert_close(alone.image[0], together.image[row], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["voxels", "splats"])
def test_particles_are_independent_and_chosen_by_condition_or_by_turns(name):
    scene = small(name, particles=3, color_std=1.0)
    one_camera = views(1)
    cond = Conditions({key: value.expand(5, *value.shape[1:]) for key, value in one_camera.items()})
    shown = scene(cond.but(particle=torch.tensor([2, 0, 2, 1, 0]))).image
    torch.testing.assert_close(shown[0], shown[2])
    torch.testing.assert_close(shown[1], shown[4])
    assert not torch.allclose(shown[0], shown[1]) and not torch.allclose(shown[0], shown[3])
    turns = scene(cond).image
    torch.testing.assert_close(turns[[0, 1, 2]], shown[[1, 3, 0]])
    scene(cond.but(particle=torch.full((5,), 1))).image.square().sum().backward()
    touched = next(scene.parameters()).grad.flatten(1).abs().sum(1)
    assert touched[1] > 0 and touched[0] == 0 and touched[2] == 0
    with pytest.raises(LimbeckError, match=r"particle.*\[7\].*0 to 2"):
        scene(cond.but(particle=torch.full((5,), 7)))


def test_the_image_scene_ignores_cameras_and_takes_any_condition():
    scene = ImageScene(size=4, particles=2)
    torch.testing.assert_close(scene(views(4)).image, scene.image[[0, 1, 0, 1]])
    torch.testing.assert_close(scene(None).image, scene.image)
    assert scene(torch.zeros(3)).image.shape == (3, 3, 4, 4)
    bounded = ImageScene(size=4, std=5.0, bounded=True)
    torch.testing.assert_close(bounded(None).image, bounded.image.tanh())


def test_the_background_is_seen_where_nothing_is():
    scene = small("voxels")
    out = scene(views(2))
    torch.testing.assert_close(out.image[:, :, 0, 0], views(2)["background"])
    plain = Conditions({k: v for k, v in views(2).items() if k != "background"})
    torch.testing.assert_close(scene(plain).image[:, :, 0, 0], torch.ones(2, 3))  # white by default
    with pytest.raises(LimbeckError, match=r"background.*\(2, 4\).*\(2, 3\)"):
        scene(views(2, background=torch.zeros(2, 4)))


def test_bounds_ball_shows_and_exports_the_ball_alone():
    whole, round_ = small("voxels", grid=16), small("voxels", grid=16, bounds="ball", samples=12)
    with torch.no_grad():
        for scene in (whole, round_):
            scene.density.fill_(-3.0)
    corner = scene.field().density
    assert float(corner[0, 0, 0]) == 0 and float(corner[8, 8, 8]) > 0.1 and float(whole.field().density.min()) > 0.1
    cond = views(2)
    assert bool(round_(cond).alpha[0, 0, 4, 4] < whole(cond).alpha[0, 0, 4, 4])
    torch.testing.assert_close(round_(cond).image[:, :, 0, 0], cond["background"])


def test_the_start_is_a_grey_ball_of_the_density_of_the_options():
    scene = Voxels(grid=33, blob_density=7.0, blob_radius=0.4)
    field = scene.field()
    assert float(field.density[16, 16, 16]) == pytest.approx(7.0, rel=1e-4)
    assert float(field.density[16, 16, 28]) < 0.1  # 0.73 from the centre
    torch.testing.assert_close(field.color, torch.full_like(field.color, 0.5))
    x = torch.tensor([0.01, 1.0, 30.0], dtype=torch.float64)
    torch.testing.assert_close(torch.nn.functional.softplus(inverse_softplus(x)), x)


def test_resolution_follows_from_the_step_alone_and_ends_where_evaluation_looks():
    scene = small("voxels", resolution={"start": 2, "end": 8, "steps": 10}, color_std=1.0)
    cond = views(2)
    assert scene.cells() == 2
    coarse = scene(cond).image
    scene.at_step(10)
    assert scene.cells() == 8
    fine = scene(cond).image
    assert not torch.allclose(coarse, fine)
    scene.at_step(0)
    torch.testing.assert_close(scene(cond).image, coarse, rtol=0, atol=0)
    assert scene.eval().cells() == 8
    torch.testing.assert_close(scene(cond).image, fine, rtol=0, atol=0)
    # a coarse cell shows the mean of its block, in the same place
    with torch.no_grad():
        scene.density[0] = torch.arange(8.0).repeat_interleave(1)[None, None]
    scene.train()
    coarse_density, _ = scene.activated(0)
    expected = scene.scale * torch.nn.functional.softplus(torch.tensor([1.5, 5.5]))
    torch.testing.assert_close(coarse_density[0, 0], expected)


def test_regularisers_come_weighted_per_row_follow_the_step_and_rest_in_evaluation():
    names = ("opacity", "entropy", "tv_density", "tv_color", "sparsity", "distortion", "border")
    scene = small("voxels", color_std=1.0, **dict.fromkeys(names, 1.0))
    found = scene(views(3)).penalties
    assert set(found) == set(names)
    assert all(value.shape == (3,) and bool((value > 0).all()) for value in found.values())
    torch.testing.assert_close(found["opacity"], scene(views(3)).alpha.mean(dim=(1, 2, 3)))
    ramp = small("voxels", color_std=1.0, opacity={"start": 0.0, "end": 3.0, "steps": 10})
    assert ramp(views(3)).penalties == {}
    ramp.at_step(10)
    torch.testing.assert_close(ramp(views(3)).penalties["opacity"], 3 * found["opacity"])
    assert ramp.eval()(views(3)).penalties == {}


def test_splats_have_regularisers_too():
    scene = small("splats", size_prior=2.0, inside=1.0, opacity=1.0)
    with torch.no_grad():
        scene.means[0, 0] = torch.tensor([3.0, 0.0, 0.0])
    found = scene(views(2)).penalties
    torch.testing.assert_close(found["size_prior"], torch.full((2,), 2.0))  # all scales are as at the start
    torch.testing.assert_close(found["inside"], torch.full((2,), 4.0 / 20))


@pytest.mark.parametrize("name", SMALL)
def test_parameters_that_are_not_numbers_are_named(name):
    scene = small(name)
    with torch.no_grad():
        next(scene.parameters()).view(-1)[3] = float("nan")
    with pytest.raises(NonFinite, match=r"1 of [\d,]+ values of '(image|density|means)' are not finite.*learning rate"):
        scene(views(2))


@pytest.mark.parametrize("name", ["voxels", "splats"])
def test_conditions_without_cameras_are_refused_with_the_remedy(name):
    with pytest.raises(LimbeckError, match="needs? azimuth, elevation, distance and fov; got NoneType"):
        small(name)(None)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("voxels", {"resolution": 64}, "between 2 and grid: 32"),
        ("voxels", {"opacity": -0.1}, "cannot be negative"),
        ("splats", {"inside": {"start": 1.0, "end": -1.0, "steps": 5}}, "cannot be negative"),
        ("image", {"chanels": 3}, "channels"),
    ],
)
def test_wrong_options_are_refused(name, options, message):
    with pytest.raises(limbeck.errors.OptionError, match=message):
        limbeck.create("generator", f"3d/{name}", **options)


@pytest.mark.parametrize("name", ["voxels", "splats"])
def test_a_scene_fits_pictures_of_another_scene(name):
    """From a grey ball to a red box left of the middle, seen from 16 sides."""
    torch.manual_seed(0)
    target = Voxels(size=16, grid=16, samples=24)
    with torch.no_grad():
        target.density.fill_(-6.0)
        target.density[0, 5:11, 5:11, 3:8] = 6.0
        target.color[0, 0], target.color[0, 1:] = 4.0, -4.0
    cond = views(16)
    with torch.no_grad():
        wanted = target.eval()(cond)
    options = {"grid": 16, "samples": 24} if name == "voxels" else {"count": 150, "start_scale": 0.12}
    scene = SMALL[name][0](size=16, **options)
    assert isinstance(scene, FieldScene)
    optimizer = torch.optim.Adam(scene.parameters(), lr=0.3 if name == "voxels" else 0.1)
    errors = []
    for _ in range(40):
        out = scene(cond)
        error = (out.image - wanted.image).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(float(error.detach()))
    assert errors[-1] < 0.15 * errors[0], errors[::10]
    made, true = scene(cond).alpha > 0.5, wanted.alpha > 0.5
    overlap = (made & true).sum() / (made | true).sum()
    assert overlap > 0.85, float(overlap)
