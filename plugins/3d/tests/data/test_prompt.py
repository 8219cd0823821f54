import pytest
import torch

from limbeck.conditions import Conditions
from limbeck.errors import LimbeckError
from limbeck.randomness import Rng
from limbeck_3d.data.prompt import Prompt
from limbeck_3d.prompts import captions
from limbeck_3d.sources.cameras import RandomCameras


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


class Encodes:
    """A teacher with a text encoder, as those of image/diffusers have one: here the length of a caption, twice."""

    def encode(self, prompts):
        return Conditions(prompt=torch.tensor([[float(len(p))] * 2 for p in prompts]))


def test_captions_are_encoded_for_a_teacher_with_a_text_encoder():
    data = Prompt(prompt="a red torus")
    assert "prompt" not in data.conditions(3, Rng(0))
    data.prepare(Encodes())
    cond = data.conditions(3, Rng(0))
    assert data.captions(cond)[0] == captions.decode(cond["text"])[0] == "red torus, front view"
    assert cond["prompt"][0].tolist() == [21.0, 21.0] and len(cond["azimuth"]) == 3
    assert "prompt" in data.split("held_out").batch(torch.arange(2)).cond
    assert "prompt" in RandomCameras(data).batch(4, Rng(0)).cond
    data.prepare(object())
    assert "prompt" not in data.conditions(3, Rng(0))


def test_any_text_may_take_the_place_of_the_words_and_has_no_mesh():
    data = Prompt(caption="a pineapple")
    data.prepare(Encodes())
    cond = data.conditions(3, Rng(0))
    assert data.captions(cond)[0] == "a pineapple, front view" and data.mesh() is None
    assert data.batch(torch.tensor([0])).x0 is None
    data.encoder = lambda prompts: torch.zeros(len(prompts))
    with pytest.raises(LimbeckError, match="knows classes only"):
        data.conditions(3, Rng(0))
