"""Evaluation on a one-dimensional Gaussian, where every sample and metric is known on paper."""

import json
import math
from types import SimpleNamespace

import pytest
import torch

from limbeck.errors import LimbeckError
from limbeck.evaluation import compare, evaluate_student, fewest_evaluations, grid, measure
from limbeck.interfaces import Batch, Data, Metric, ModelMetric, Prediction, Predictor, Sample, Sampler, Space
from limbeck.networks.guidance import Guided
from limbeck.pictures.views import grid_columns
from limbeck.process.gaussian import RectifiedFlow
from limbeck.process.grids import time_grid
from limbeck.randomness import Rng
from limbeck.recipe.schema import Evaluate, SamplingBlock
from limbeck.sampling.samples import OneCall, Samples, balanced_conditions, generate, grid_conditions

MEAN, STD = 3.0, 0.5


class GaussianPredictor(Predictor):
    """E[x0 | xt] for x0 ~ N(MEAN + shift, STD^2), with a parameter so that it looks like a network."""

    def __init__(self, shift=0.0):
        super().__init__()
        self.shift = torch.nn.Parameter(torch.tensor(float(shift)))
        self.dropout = torch.nn.Dropout(0.5)
        self.process, self.space, self.calls = RectifiedFlow(), Space((1,)), 0

    def forward(self, xt, t, cond=None, *, s=None, features=()):
        self.calls += 1
        c = self.process.at(t, xt)
        mean = MEAN + self.shift
        gain = c.alpha_t * STD**2 / (c.alpha_t**2 * STD**2 + c.sigma_t**2)
        return Prediction(x0_hat=self.dropout(mean + gain * (xt - c.alpha_t * mean)))

    def null(self, cond):
        return cond


class Euler(Sampler):
    def __call__(self, predictor, cond, *, steps, rng, batch_size=None, noise=None):
        x, process = noise, predictor.process
        times = time_grid(process, steps).float()
        for k in range(steps):
            t, s = times[k].expand(len(x)), times[k + 1].expand(len(x))
            x = process.ddim(x, t, s, predictor(x, t, cond).x0_hat)
        return Sample(value=x, at=x, t_from=1.0, t_to=0.0, evaluations=steps)


class Renoising(Sampler):
    """Two calls with fresh noise between them, to see where that noise comes from."""

    def __call__(self, predictor, cond, *, steps, rng, batch_size=None, noise=None):
        x0_hat = predictor(noise, torch.ones(len(noise)), cond).x0_hat
        value = x0_hat + rng.normal("renoise/0", x0_hat.shape)
        return Sample(value=value, at=value, t_from=1.0, t_to=0.0, evaluations=2)


class Labelled(Data):
    """Ten classes of unequal size; x0 is the label plus noise."""

    def __init__(self, length=1000, name="all"):
        self.space, self.length, self.name = Space((1,)), length, name

    def __len__(self):
        return self.length

    def batch(self, indices):
        cond = (indices**2 * 7) % 10
        return Batch(x0=MEAN + STD * torch.sin(indices.float()).unsqueeze(1), cond=cond)

    def split(self, name):
        return Labelled({"train": 800, "held_out": 200}[name], name)


class Moments(Metric):
    better = {"mean_error": "lower", "coverage": "higher"}

    def __call__(self, samples, cond, reference):
        covered = (samples - MEAN).abs() < 2 * STD
        return {"mean_error": float((samples.mean() - MEAN).abs()), "coverage": float(covered.float().mean())}


class SpreadError(Metric):
    better = {"spread_error": "lower"}

    def __call__(self, samples, cond, reference):
        return {"spread_error": float((samples.std() - STD).abs())}


class HowSampled(ModelMetric):
    """Says how the row it judges is sampled."""

    better = {"steps_told": "lower", "one_call": "lower"}
    samples = True

    def __call__(self, model, teacher, reference, *, sampler=None, steps=1):
        return {"steps_told": float(steps), "one_call": float(isinstance(sampler, OneCall))}


def sampling(sampler, steps):
    """A block of a recipe whose sampler was given as an object."""
    block = SamplingBlock(use="object", steps=steps)
    block._object = sampler
    return block


def built(**changes):
    evaluate = Evaluate(samples=400, batch_size=100, seed=5, grid=20, teacher=sampling(Euler(), 16))
    values = {
        "teacher": GaussianPredictor().freeze(),
        "data": Labelled(),
        "sampler": OneCall(),
        "sampling_steps": 1,
        "metrics": {"moments": Moments()},
        "recipe": SimpleNamespace(evaluate=evaluate, sampling=None),
    }
    return SimpleNamespace(**{**values, **changes})


def test_conditions_follow_the_proportions_of_the_data_without_the_luck_of_the_draw():
    data = Labelled(1000)
    whole = torch.bincount(data.batch(torch.arange(1000)).cond, minlength=10).float()
    drawn = torch.bincount(balanced_conditions(data, 500, seed=0), minlength=10).float()
    assert whole.max() > whole[whole > 0].min()  # the classes really differ in size
    assert (drawn - whole / 2).abs().max() <= 1
    assert not torch.equal(balanced_conditions(data, 500, 0), balanced_conditions(data, 500, 1))  # shuffled by the seed


def test_a_grid_shows_every_class_in_turn():
    classes = grid_conditions(Labelled(), 12, seed=0).tolist()
    distinct = sorted(set(classes))
    assert classes == (distinct * 12)[:12]


def test_unconditional_data_gives_no_conditions():
    class Plain(Labelled):
        def batch(self, indices):
            return Batch(x0=super().batch(indices).x0)

    assert balanced_conditions(Plain(), 10, 0) is None
    assert grid_conditions(Plain(), 10, 0) is None


def test_one_call_from_pure_noise_answers_the_mean():
    # rectified flow at t = 1 has alpha = 0: nothing is known, so E[x0 | xt] is the prior mean, whatever the noise
    made = generate(GaussianPredictor(), OneCall(), steps=1, count=7)
    torch.testing.assert_close(made.samples.value, torch.full((7, 1), MEAN))
    assert made.evaluations == 1


def test_batches_do_not_change_the_noise_that_samples_start_from():
    one = generate(GaussianPredictor(), Euler(), steps=8, count=50, batch_size=50, seed=3)
    many = generate(GaussianPredictor(), Euler(), steps=8, count=50, batch_size=7, seed=3)
    torch.testing.assert_close(one.samples.value, many.samples.value)
    assert one.samples.value.std() > 0.1


def test_every_batch_draws_its_own_noise_on_the_way():
    value = generate(GaussianPredictor(), Renoising(), steps=2, count=20, batch_size=10).samples.value
    assert not torch.allclose(value[:10], value[10:])


def test_timing_warms_up_repeats_what_is_too_quick_and_leaves_samples_alone():
    from limbeck.sampling.samples import TIMED_BATCHES

    network = GaussianPredictor()
    plain = generate(network, OneCall(), steps=1, count=30, batch_size=10)
    assert network.calls == 3 and plain.ms_per_sample is None
    timed = generate(network, OneCall(), steps=1, count=30, batch_size=10, timed=True)
    assert network.calls == 3 + 1 + TIMED_BATCHES and timed.ms_per_sample > 0  # one batch to warm up
    torch.testing.assert_close(timed.samples.value, plain.samples.value)


def test_guidance_is_counted_twice():
    guided = Guided(GaussianPredictor(), 1.5)
    made = generate(guided, Euler(), steps=4, count=6, cond=torch.zeros(6, dtype=torch.long))
    assert made.evaluations == 8


def test_evaluation_is_a_function_of_the_seed_and_leaves_the_network_as_it_was():
    network = GaussianPredictor(shift=0.25).train()
    network.dropout.eval()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = evaluate_student(built(), network)
    again = evaluate_student(built(), network)
    assert first == again
    assert first["mean_error"] == pytest.approx(0.25, abs=1e-5)  # dropout off, or it would be far away
    assert network.training and not network.dropout.training
    assert torch.equal(before, torch.get_rng_state())
    assert network.shift.grad is None


def test_a_sample_that_is_not_finite_makes_every_metric_nan_instead_of_raising():
    broken = Samples(torch.tensor([[1.0], [math.nan]]))
    assert all(math.isnan(value) for value in measure(broken, {"moments": Moments()}, Labelled()).values())


def test_the_table_holds_teacher_cut_teacher_student_and_floor_in_that_order():
    rows = compare(built(), GaussianPredictor(shift=0.25))
    assert [row["role"] for row in rows] == ["teacher", "teacher_cut", "student", "floor"]
    assert [row["evaluations"] for row in rows] == [16, 1, 1, 0]
    assert rows[1]["name"] == "teacher, cut to 1 step"
    assert rows[2]["metrics"]["mean_error"] == pytest.approx(0.25, abs=1e-5)
    held_out = Labelled().split("held_out").batch(torch.arange(200)).x0
    assert rows[3]["metrics"] == Moments()(held_out, None, None)
    assert rows[3]["ms_per_sample"] is None and all(row["ms_per_sample"] > 0 for row in rows[:3])


def test_real_data_is_judged_in_the_number_of_the_samples():
    # a distance between few samples is larger than between many, for real ones too
    held_out = Labelled().split("held_out").batch(torch.arange(200)).x0
    every_fourth = held_out[torch.linspace(0, 199, 50).long()]
    floor = compare(built(), GaussianPredictor(), samples=50)[-1]
    assert floor["metrics"] == Moments()(every_fourth, None, None)
    assert floor["metrics"] != Moments()(held_out, None, None)


def test_a_teacher_cut_to_several_steps_keeps_its_own_sampler():
    class TwoSteps(Renoising):
        def evaluations(self, steps):
            return 2

    rows = compare(built(sampler=TwoSteps(), sampling_steps=2), GaussianPredictor())
    assert rows[1]["name"] == "teacher, cut to 2 steps" and rows[1]["sampler"] == "Euler"


def test_a_model_without_teacher_is_compared_with_real_data_only():
    rows = compare(built(teacher=None), GaussianPredictor())
    assert [(row["name"], row["role"]) for row in rows] == [("model", "student"), ("real data, held out", "floor")]


def test_comparison_is_saved_with_pictures_at_equal_noise(tmp_path):
    compare(built(sampler=Euler(), sampling_steps=4), GaussianPredictor(), folder=tmp_path)
    saved = json.loads((tmp_path / "evaluation.json").read_text())
    assert saved["primary"] == "mean_error" and saved["better"]["coverage"] == "higher" and saved["samples"] == 400
    from safetensors.torch import load_file

    teacher, student, floor = (
        load_file(tmp_path / "samples/comparison" / f"{role}.safetensors") for role in ("teacher", "student", "floor")
    )
    assert torch.equal(teacher["cond"], student["cond"]) and torch.equal(floor["cond"], student["cond"])
    # the same noise through 16 and through 4 Euler steps lands at nearly the same, ordered places
    assert torch.corrcoef(torch.stack([teacher["samples"].flatten(), student["samples"].flatten()]))[0, 1] > 0.999
    assert (tmp_path / "samples/comparison/student.png").stat().st_size > 100


def test_numbers_that_are_not_finite_are_null_in_the_file(tmp_path):
    compare(built(), GaussianPredictor(shift=math.nan), folder=tmp_path)
    saved = json.loads((tmp_path / "evaluation.json").read_text())
    assert saved["rows"][2]["metrics"]["mean_error"] is None


def test_grids_repeat_noise_and_conditions_over_time():
    early, late = (grid(built(sampler=Euler()), GaussianPredictor(shift)) for shift in (0.0, 1.0))
    assert torch.equal(early.cond, late.cond) and len(early) == 20
    torch.testing.assert_close(late.value - early.value, torch.ones(20, 1))  # one step: x0_hat, moved by the shift


def test_fewest_evaluations_finds_the_cheapest_within_tolerance():
    # The spread error of Euler falls with the steps; the optimum is the largest, the answer the first within 5 % of it.
    problem = built(metrics={"spread": SpreadError()})
    found = fewest_evaluations(problem, [Euler()], [1, 4, 16, 200, 400], tolerance=0.5)
    errors = {row["evaluations"]: row["metrics"]["spread_error"] for row in found["rows"]}
    best = min(errors.values())
    assert found["best"]["metrics"]["spread_error"] == best
    expected = min(n for n, error in errors.items() if error <= 1.5 * best)
    assert found["fewest"]["evaluations"] == expected
    assert errors[1] == pytest.approx(STD, abs=1e-4)  # one step has no spread at all
    assert expected > 4


def test_fewest_evaluations_respects_a_metric_that_should_be_high():
    class Coverage(Moments):
        better = {"coverage": "higher"}

        def __call__(self, samples, cond, reference):
            return {"coverage": 1.0 - 0.5 * float(samples.std() < 0.3)}

    found = fewest_evaluations(built(metrics={"c": Coverage()}), [Euler()], [1, 8, 32])
    assert found["best"]["metrics"]["coverage"] == 1.0 and found["fewest"]["evaluations"] == 8


def test_fewest_evaluations_without_metrics_says_what_is_missing():
    with pytest.raises(LimbeckError, match=r"evaluate\.metrics is empty"):
        fewest_evaluations(built(metrics={}), [Euler()], [1])


def test_samples_are_saved_by_suffix(tmp_path):
    samples = Samples(torch.randn(5, 2), torch.arange(5))
    from safetensors.torch import load_file

    assert torch.equal(load_file(samples.save(tmp_path / "a.safetensors"))["cond"], torch.arange(5))
    assert samples.save(tmp_path / "new/a.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "a.npy").exists() is False and samples.save(tmp_path / "a.npy").exists()
    assert samples._repr_html_().startswith("<svg")
    with pytest.raises(LimbeckError, match="no suffix"):
        samples.save(tmp_path / "a")


def test_one_coordinate_is_drawn_as_a_histogram():
    page = Samples(torch.randn(100, 1))._repr_html_()
    assert "histogram of 100 samples" in page and page.count("<rect") > 5


def test_noise_of_the_evaluation_is_the_named_prior_draw():
    expected = Rng(3, phase="evaluation").normal("noise", (4, 1))

    class Identity(Sampler):
        def __call__(self, predictor, cond, *, steps, rng, batch_size=None, noise=None):
            return Sample(value=noise, at=noise, t_from=1.0, t_to=0.0, evaluations=0)

    assert torch.equal(generate(GaussianPredictor(), Identity(), steps=1, count=4, seed=3).samples.value, expected)


def test_a_grid_has_a_column_per_class_when_classes_take_turns():
    assert grid_columns(64, torch.arange(64) % 10) == 10
    assert grid_columns(64, torch.arange(64) // 7) == grid_columns(64) == 11
    assert grid_columns(1) == 1 and grid_columns(5, torch.arange(5)) == 3


def test_metrics_that_make_samples_of_their_own_are_told_how_every_row_is_sampled():
    rows = compare(built(metrics={"how": HowSampled(), "moments": Moments()}), GaussianPredictor(), samples=100)
    found_by_role = {row["role"]: (row["metrics"].get("steps_told"), row["metrics"].get("one_call")) for row in rows}
    assert (
        found_by_role["teacher"] == (16, 0)
        and found_by_role["student"] == (1, 1)
        and found_by_role["floor"] == (None, None)
    )
    found = evaluate_student(built(metrics={"how": HowSampled()}), GaussianPredictor(), samples=10, steps=3)
    assert found == {"steps_told": 3, "one_call": 1}
