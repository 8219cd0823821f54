from true_scenes import TrueScene

from limbeck.randomness import Rng
from limbeck_3d.data.prompt import Prompt
from limbeck_3d.metrics.views import ViewAccuracy
from limbeck_3d.samplers.orbit import Orbit


def test_the_classifier_knows_true_renders_and_a_front_on_every_side_is_found_out():
    data = Prompt(prompt="a red chair")
    cond = data.conditions(24, Rng(0))
    true = ViewAccuracy()(Orbit()(TrueScene("a red chair"), cond).value, cond, data)
    assert true["named"] > 0.9 and true["view_accuracy"] > 0.75 and true["janus"] < 0.15
    faces = ViewAccuracy()(Orbit()(TrueScene("a red chair", front_only=True), cond).value, cond, data)
    assert faces["janus"] > 0.6 and faces["view_accuracy"] < true["view_accuracy"]
    wrong = ViewAccuracy()(Orbit()(TrueScene("a blue box"), cond).value, cond, data)
    assert wrong["named"] == 0
