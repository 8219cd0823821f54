import pytest
import torch

from limbeck.conditions import Conditions
from limbeck.errors import LimbeckError
from limbeck.networks.scenes import Cameras
from limbeck.randomness import Rng
from limbeck_3d.data import captions, solids
from limbeck_3d.data.views import COPIES, Prompt, RandomCameras, Solids, orbit_cameras
from limbeck_3d.options.models import CameraOptions, PromptOptions, SolidsOptions
from limbeck_3d.rendering.rasterise import over, rasterise


@pytest.fixture(scope="module")
def few():
    return Solids(views=8)


def test_a_row_is_the_true_render_of_its_caption_from_its_camera(few):
    rows = torch.tensor([3, 8 * 9 + 2, len(few) - 5])
    batch = few.batch(rows)
    for row in range(3):
        cond = batch.cond[row : row + 1]
        caption = captions.decode(cond["text"])[0].split(",")[0]
        mesh = solids.build(caption)
        seen = rasterise(solids.surface(mesh), Cameras.of(cond), 32)
        expected = over(seen.colour, seen.alpha, cond["background"])
        torch.testing.assert_close(batch.x0[row : row + 1], expected, rtol=0, atol=0.02)  # kept in 8 bits
        assert expected.std() > 0.05


def test_rows_do_not_change_and_have_backgrounds_of_their_own(few):
    rows = torch.arange(len(few) // COPIES) + 0
    one, again = few.batch(rows), Solids(views=8).batch(rows)
    assert torch.equal(one.x0, again.x0) and one.cond == again.cond
    other = few.batch(rows + len(rows))  # the same renders, coloured again
    assert torch.equal(one.cond["azimuth"], other.cond["azimuth"])
    assert not torch.equal(one.cond["background"], other.cond["background"])
    assert one.cond["background"].std() > 0.5  # any colour: uniform has 0.577


def test_held_out_rows_are_new_views_of_prompts_that_are_never_trained_on(few):
    held_out = few.split("held_out")
    train = {tuple(row) for row in few.tokens(torch.arange(len(few)))[:, 1:].tolist()}
    unseen = {tuple(row) for row in held_out.tokens(torch.arange(len(held_out)))[:, 1:].tolist()}
    assert len(train) > 200 and len(unseen) > 15 and not train & unseen
    assert not set(few.renders.cameras.azimuth.tolist()) & set(held_out.renders.cameras.azimuth.tolist())


def test_cameras_stay_in_their_ranges_and_say_their_views(few):
    cond = few.batch(torch.arange(len(few) // COPIES)).cond
    assert cond["elevation"].min() >= -20 and cond["elevation"].max() <= 60 and cond["elevation"].std() > 15
    assert cond["distance"].min() >= 2.8 and cond["distance"].max() <= 3.4
    side = captions.views(Cameras.of(cond))
    assert torch.equal(cond["text"][:, 0], side + 1) and set(side.tolist()) == {0, 1, 2, 3}
    silent = Solids(views=8, view_words=False).batch(torch.arange(5)).cond
    assert (silent["text"][:, 0] == 0).all()


def test_every_eight_cameras_of_an_orbit_go_around_once_and_no_two_agree():
    cameras = orbit_cameras(48, CameraOptions())
    turns = cameras.azimuth.reshape(6, 8).sort(dim=1).values
    assert ((turns[:, 1:] - turns[:, :-1] - 45).abs() < 1e-3).all()
    assert len(cameras.elevation.unique()) == 3
    assert len(torch.stack([cameras.azimuth, cameras.elevation], dim=1).unique(dim=0)) == 48


def test_a_prompt_brings_its_mesh_its_renders_and_its_cameras():
    data = Prompt(prompt="a red torus on a blue box")
    batch = data.batch(torch.tensor([0, 7]))
    assert batch.x0.shape == (2, 3, 32, 32)
    assert captions.decode(batch.cond["text"])[0].startswith("red torus on blue box, ")
    assert data.mesh().metadata["caption"] == data.prompt
    held_out = data.split("held_out").batch(torch.arange(24)).cond
    assert held_out == data.conditions(24, Rng(5)) and (held_out["background"] == 0).all()


def test_a_prompt_of_known_words_without_a_mesh_has_conditions_only():
    data = Prompt(prompt="a blue red box")
    batch = data.batch(torch.arange(3))
    assert data.mesh() is None and batch.x0 is None and len(batch.cond) == 3


def test_cameras_are_drawn_anew_at_every_step_and_sliced_by_part():
    source = RandomCameras(data=Prompt(prompt="a green cone"), elevation=(10.0, 20.0), fov=(30.0, 50.0))
    batch = source.batch(64, Rng(0, 3))
    assert isinstance(batch.cond, Conditions) and batch.x0 is None
    assert batch.cond["elevation"].min() >= 10 and batch.cond["elevation"].max() <= 20 and batch.cond["fov"].std() > 4
    assert batch.cond["azimuth"].max() > 300 and batch.cond["background"].std() > 0.5
    assert batch.cond == source.batch(64, Rng(0, 3)).cond and batch.cond != source.batch(64, Rng(0, 4)).cond
    parts = [source.batch(32, Rng(0, 3, part=part, parts=2)).cond for part in range(2)]
    assert torch.equal(torch.cat([part["azimuth"] for part in parts]), batch.cond["azimuth"])


def test_random_cameras_need_a_prompt():
    with pytest.raises(LimbeckError, match="looks at one prompt; the recipe's data is NoneType. Use data"):
        RandomCameras(data=None)


def test_options_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match=r"elevation is \[low, high\]; got \[60, -20\]"):
        CameraOptions(elevation=(60.0, -20.0))
    with pytest.raises(ValueError, match="unknown word 'torsu'. Nearest: torus"):
        PromptOptions(prompt="a red torsu")
    with pytest.raises(ValueError, match="is empty: say what to make"):
        PromptOptions(prompt=None)
    with pytest.raises(ValueError, match="fov lies between 1 and 150"):
        PromptOptions(fov=(0.0, 40.0))
    with pytest.raises(ValueError, match="elevation lies between -90 and 90"):
        SolidsOptions(elevation=(-90.0, 40.0))


class Reads:
    """A teacher that reads prompts, as those of image/diffusers do: here the length of a caption, twice."""

    def encode(self, prompts):
        return Conditions(prompt=torch.tensor([[float(len(p))] * 2 for p in prompts]))


def test_a_teacher_that_reads_prompts_is_told_what_every_view_shows():
    data = Prompt(prompt="a red torus")
    assert "prompt" not in data.conditions(3, Rng(0))
    data.prepare(Reads())
    cond = data.conditions(3, Rng(0))
    assert data.captions(cond)[0] == captions.decode(cond["text"])[0] == "red torus, front view"
    assert cond["prompt"][0].tolist() == [21.0, 21.0] and len(cond["azimuth"]) == 3
    assert "prompt" in data.split("held_out").batch(torch.arange(2)).cond
    assert "prompt" in RandomCameras(data).batch(4, Rng(0)).cond
    data.prepare(object())
    assert "prompt" not in data.conditions(3, Rng(0))


def test_any_text_may_be_said_instead_of_the_words_and_has_no_mesh():
    data = Prompt(caption="a pineapple")
    data.prepare(Reads())
    cond = data.conditions(3, Rng(0))
    assert data.captions(cond)[0] == "a pineapple, front view" and data.mesh() is None
    assert data.batch(torch.tensor([0])).x0 is None
    data.reader = lambda prompts: torch.zeros(len(prompts))
    with pytest.raises(LimbeckError, match="knows classes only"):
        data.conditions(3, Rng(0))
