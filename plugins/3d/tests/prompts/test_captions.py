import pytest
import torch

from limbeck.networks.scenes import Cameras
from limbeck_3d.prompts import captions
from limbeck_3d.prompts.words import WORDS


def looking(azimuth, elevation):
    azimuth, elevation = torch.tensor(azimuth), torch.tensor(elevation)
    return Cameras(
        azimuth=azimuth, elevation=elevation, distance=torch.ones(len(azimuth)), fov=torch.ones(len(azimuth))
    )


def test_a_prompt_becomes_one_token_per_word_after_a_place_for_the_view():
    tokens = captions.encode("A red torus on a blue box")
    assert [WORDS[token] for token in tokens] == ["", "red", "torus", "on", "blue", "box"]
    assert [WORDS[token] for token in captions.encode("green cone")] == ["", "green", "cone", "", "", ""]
    assert captions.decode(tokens[None]) == ["red torus on blue box"]


def test_every_word_has_a_token_of_its_own_and_none_is_the_empty_one():
    assert len(set(WORDS)) == len(WORDS) and WORDS[0] == ""


def test_the_camera_gives_the_side():
    cameras = looking([0.0, 44.0, 46.0, 134.0, 180.0, 226.0, 270.0, 316.0, 359.0, 90.0], [10.0] * 9 + [51.0])
    found = captions.with_views(captions.encode("a red torus").expand(10, -1), cameras)
    assert [WORDS[token] for token in found[:, 0]] == [
        "front", "front", "side", "side", "back", "side", "side", "front", "front", "overhead",
    ]  # fmt: skip
    assert captions.decode(found)[4] == "red torus, back view"
    assert (found[:, 1:] == captions.encode("a red torus")[1:]).all()


def test_a_view_that_the_prompt_names_stays():
    found = captions.with_views(
        captions.encode("a red torus, side view").expand(2, -1), looking([0.0, 180.0], [0.0, 0.0])
    )
    assert captions.decode(found) == ["red torus, side view"] * 2


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", "is empty: name what to make"),
        ("  a the ", "is empty"),
        ("a red torsu", "unknown word 'torsu'. Nearest: torus"),
        ("a crimson torus", "unknown word 'crimson'"),
        ("a red torus on a blue box on a box", "has 7 words without articles; the teacher takes 5"),
        (
            "a red torus, rear view",
            "names the view 'rear'; known views: front view, side view, back view, overhead view",
        ),
        ("view", "names the view ''"),
    ],
)
def test_a_prompt_that_cannot_be_read_is_refused_with_the_remedy(prompt, message):
    with pytest.raises(ValueError, match=message):
        captions.encode(prompt)
