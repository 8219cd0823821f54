import pytest
import torch

from limbeck.networks.scenes import Cameras
from limbeck_3d.data.solids import COPIES, Solids
from limbeck_3d.geometry.solids import build, surface
from limbeck_3d.prompts import captions
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
        mesh = build(caption)
        seen = rasterise(surface(mesh), Cameras.of(cond), 32)
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


def test_cameras_stay_in_their_ranges_and_add_their_views(few):
    cond = few.batch(torch.arange(len(few) // COPIES)).cond
    assert cond["elevation"].min() >= -20 and cond["elevation"].max() <= 60 and cond["elevation"].std() > 15
    assert cond["distance"].min() >= 2.8 and cond["distance"].max() <= 3.4
    side = captions.views(Cameras.of(cond))
    assert torch.equal(cond["text"][:, 0], side + 1) and set(side.tolist()) == {0, 1, 2, 3}
    silent = Solids(views=8, view_words=False).batch(torch.arange(5)).cond
    assert (silent["text"][:, 0] == 0).all()
