from limbeck.randomness import Rng
from limbeck_3d.data.prompt import Prompt
from limbeck_3d.features.view_encoder import HEADS, targets
from limbeck_3d.prompts.words import VIEWS


def test_captions_become_choices_of_the_heads():
    cond = Prompt(prompt="a red torus on a blue box").conditions(8, Rng(0))
    found = {name: HEADS[name][int(choice[0])] for name, choice in targets(cond["text"]).items()}
    assert found == {"view": "front", "colour": "red", "shape": "torus", "below": "blue", "base": "box"}
    alone = targets(Prompt(prompt="a green cone").conditions(1, Rng(0))["text"])
    assert HEADS["base"][int(alone["base"])] == "" and len(VIEWS) == 4
