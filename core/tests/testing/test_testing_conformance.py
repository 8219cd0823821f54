"""The kit itself: good objects pass, each way of being wrong is caught by the check made for it."""

import subprocess
import sys
import types

import pytest
import torch
from torch import nn

import limbeck
from limbeck import Component, Needs, Options, hookimpl
from limbeck.interfaces import (
    Batch,
    Loss,
    Metric,
    Objective,
    Phase,
    Prediction,
    Sample,
    Sampler,
    Space,
    Teacher,
    average,
)
from limbeck.networks.denoiser import Denoiser
from limbeck.process.categorical import MaskedProcess, UniformProcess
from limbeck.process.gaussian import EDM, VP, RectifiedFlow, TrigFlow
from limbeck.sampling.rollouts import Plan, rollout
from limbeck.testing import (
    CHECKS,
    DataConformance,
    GaussianGenerator,
    GaussianMixtureTeacher,
    GaussianPredictor,
    GaussianTeacher,
    GeneratorConformance,
    MarkovChainTeacher,
    MetricConformance,
    ObjectiveConformance,
    PluginConformance,
    SamplerConformance,
    TeacherConformance,
    TinyNetwork,
    check,
)
from limbeck.testing.conformance import Skip
from limbeck.testing.conformance.objectives import ToyData, toy_predictor

CLOSED_FORM = {
    "gaussian",
    "denoiser",
    "features",
    "trainable_copy",
    "flow_map",
    "flow_map_time",
    "forward_mode",
    "codec",
}


def labels(n):
    return torch.arange(n) % 2


# --- the oracles pass their own kit ----------------------------------------------------------------------------------


class TestGaussianTeacher(TeacherConformance):
    can = CLOSED_FORM | {"null_condition", "frame_time"}

    def make(self):
        means = torch.tensor([[1.0, -1.0], [2.0, 3.0]])
        return GaussianTeacher(
            RectifiedFlow(), torch.zeros(2), covariance=torch.tensor([[1.0, 0.5], [0.5, 2.0]]), class_means=means
        )

    def conditions(self, n):
        return labels(n)


class TestGaussianMixtureTeacher(TeacherConformance):
    can = CLOSED_FORM - {"forward_mode", "flow_map", "flow_map_time"} | {"null_condition"}

    def make(self):
        return GaussianMixtureTeacher(TrigFlow(), torch.tensor([[1.0, -1.0], [2.0, 3.0], [0.0, 0.0]]), 0.5)

    def conditions(self, n):
        return labels(n)


class TestMarkovChain(TeacherConformance):
    def make(self):
        return MarkovChainTeacher(
            MaskedProcess(3), torch.tensor([[0.5, 0.5, 0.0], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4]]), length=4
        )


class TestGaussianPredictor(GeneratorConformance):
    can = CLOSED_FORM | {"frame_time", "sampling"}

    def make(self):
        return GaussianPredictor(EDM(), torch.tensor([0.5, -0.5]), torch.tensor([[1.0, 0.0], [0.4, 0.6]]))


class TestGaussianGenerator(GeneratorConformance):
    can = CLOSED_FORM - {"flow_map"} | {"sampling"}

    def make(self):
        return GaussianGenerator(VP(), torch.tensor([0.5, -0.5]), torch.tensor([1.0, 0.4]))


class TestTinyDenoiser(GeneratorConformance):
    can = {
        "gaussian",
        "denoiser",
        "features",
        "trainable_copy",
        "null_condition",
        "sampling",
        "flow_map_time",
        "forward_mode",
    }

    def make(self):
        return toy_predictor(0, (2, 3))

    def conditions(self, n):
        return labels(n)


class TestToyData(DataConformance):
    can = {"samples", "conditions", "held_out"}

    def make(self):
        return ToyData()


class Regression(Objective):
    """|x0_hat(xt, t) - x0|^2 at a uniform time: the smallest objective that does everything right."""

    needs = Needs(generator={"gaussian", "denoiser"}, data={"samples"})

    def setup(self, generator, teacher=None, **named):
        self.process = generator.process
        self.add_role("generator", generator)

    def phases(self, step):
        return [Phase("generator", ("generator",))]

    def loss(self, phase, batch, rng):
        t = self.process.t_max * rng.uniform("t", (len(batch),))
        xt = self.process.add_noise(batch.x0, rng.normal("eps", batch.x0.shape), t)
        out = self.network("generator", phase)(xt, t, batch.cond).x0_hat
        error = (out - batch.x0).square().flatten(1).mean(1)
        value = average(error, batch.weight)
        return Loss(value, {"regression": value.detach()})


class TestRegression(ObjectiveConformance):
    def make(self):
        return Regression()


class Renoise(Sampler):
    def __call__(self, predictor, cond, *, steps, rng, batch_size=None, noise=None):
        plan = Plan.uniform(predictor.process, steps)
        with torch.no_grad():
            return rollout(predictor, cond, plan=plan, rng=rng, batch_size=batch_size, grad="none", noise=noise)


class TestRenoise(SamplerConformance):
    def make(self):
        return Renoise()

    expected_failures = {
        "conditions_are_passed_on": "a denoiser renoised ten times still finds its class, so this must not be expected"
    }

    def test_conditions_are_passed_on(self):  # an expectation that is not met is a failure: shown here, not suffered
        from limbeck.testing.conformance.report import run_check

        result = run_check(CHECKS["sampler"]["conditions_are_passed_on"], self.case(), "a reason")
        assert result.outcome == "unexpected pass"

    def test_no_check_is_left_out(self):
        with pytest.raises(AssertionError, match="overridden checks: conditions_are_passed_on"):
            super().test_no_check_is_left_out()


class Distance(Metric):
    better = {"mean_gap": "lower"}

    def __call__(self, samples, cond, reference):
        real = reference.split("train").batch(torch.arange(64)).x0
        return {
            "mean_gap": float(
                (samples.square().mean() - real.square().mean()).abs()
                + (samples.abs().mean() - real.abs().mean()).abs()
            )
        }


class TestDistance(MetricConformance):
    def make(self):
        return Distance()

    def data(self):
        return ToyData((1,))


# --- what is wrong is caught -----------------------------------------------------------------------------------------


class Broken(Teacher):
    """A denoiser with one thing wrong."""

    def __init__(self, wrong):
        super().__init__()
        self.process, self.space, self.wrong = RectifiedFlow(), Space((2,)), wrong
        self.scale = nn.Parameter(torch.tensor(0.7))
        self.hidden = torch.zeros(2)

    def forward(self, xt, t, cond=None, *, features=()):
        x0 = self.scale * xt + t[:, None].to(xt.dtype)
        match self.wrong:
            case "shape":
                x0 = torch.cat([x0, x0], 1)
            case "random":
                x0 = x0 + 1e-3 * torch.rand_like(x0)
            case "batch":
                x0 = x0 - x0.mean(0)
            case "no_grad":
                x0 = x0.detach()
            case "dtype":
                x0 = x0.float()
            case "in place":
                xt.mul_(2)
            case "end":
                x0 = x0 / (1 - t)[:, None]
            case "feature count":
                return Prediction(x0_hat=x0, features=(x0,) if features else ())
            case "tuple":
                return x0
        return Prediction(x0_hat=x0, features=tuple(x0 for _ in features))

    def null(self, cond):
        return torch.zeros_like(cond[:1]) if self.wrong == "null" else torch.zeros_like(cond)

    def trainable_copy(self, mode="full", **options):
        if self.wrong == "shared":
            copied = GaussianPredictor(self.process, torch.zeros(2), 1.0)
            copied.factor = self.scale
            self.scale.requires_grad_(True)
            return copied
        return GaussianTeacher(self.process, torch.zeros(2), 1.0, class_means=torch.ones(2, 2)).trainable_copy()

    def freeze(self):
        return self if self.wrong == "freeze" else super().freeze()


@pytest.mark.parametrize(
    ("wrong", "caught_by"),
    [
        ("shape", "predicts_in_the_shape_and_precision_of_its_input"),
        ("tuple", "predicts_in_the_shape_and_precision_of_its_input"),
        ("dtype", "computes_in_bfloat16"),
        ("dtype", "computes_in_double_precision"),
        ("random", "same_input_same_prediction"),
        ("in place", "same_input_same_prediction"),
        ("batch", "rows_do_not_see_each_other"),
        ("no_grad", "the_gradient_reaches_the_input"),
        ("end", "predicts_from_pure_noise"),
        ("freeze", "freezing_leaves_nothing_to_learn"),
        ("feature count", "features_are_returned_on_request"),
        ("null", "the_null_condition_allows_guidance"),
        ("shared", "a_trainable_copy_learns_apart"),
        ("nothing", "a_trainable_copy_starts_as_the_original"),
    ],
)
def test_a_broken_teacher_is_caught(wrong, caught_by):
    can = {"gaussian", "denoiser", "features", "null_condition", "trainable_copy"}
    report = check(lambda: Broken(wrong), "teacher", can=can, conditions=labels)
    assert caught_by in report.failures, str(report)
    assert CHECKS["teacher"][caught_by].help.splitlines()[0] in str(report)  # the author reads what was asked


def test_the_unbroken_teacher_fails_only_where_it_says():
    can = {"gaussian", "denoiser", "features", "null_condition", "trainable_copy"}
    reason = {"a_trainable_copy_starts_as_the_original": "it has no weights: the copy is a fresh Gaussian"}
    report = check(lambda: Broken("nothing"), "teacher", can=can, conditions=labels, expected_failures=reason)
    assert report, str(report)
    assert report.counts["expected failure"] == 1 and report.counts["skipped"] >= 4
    assert "it has no weights" in str(report)


class WrongLoss(Regression):
    def __init__(self, wrong):
        super().__init__()
        self.wrong, self.counter = wrong, 0

    def setup(self, generator, teacher=None, **named):
        super().setup(generator, teacher)
        self.teacher = teacher
        if self.wrong == "no roles":
            self._bare.clear()
        if self.wrong == "shared":
            self.add_role("critic", generator)
        if self.wrong == "teacher":
            teacher.requires_grad_(True)
        if self.wrong == "idle":
            self.add_role("critic", nn.Linear(2, 2))

    def phases(self, step):
        self.counter += 1
        roles = {"unknown": ("generator", "critic"), "idle": ("generator", "critic")}.get(self.wrong, ("generator",))
        return [Phase("generator" if self.wrong != "phases" or self.counter % 2 else "other", roles)]

    def loss(self, phase, batch, rng):
        loss = super().loss(phase, batch, rng)
        match self.wrong:
            case "global random":
                self.counter += 1
                return Loss(loss.value * (1 + self.counter), loss.terms)
            case "sum":
                return Loss(loss.value * len(batch), loss.terms)
            case "weight":
                return super().loss(phase, Batch(x0=batch.x0, cond=batch.cond), rng)
            case "terms":
                return Loss(loss.value, {"value": loss.value})
            case "nan":
                return Loss(loss.value * float("nan"), {})
            case "per sample":
                return Loss(loss.value.expand(3), {})
            case "constant":
                return Loss(sum(p.sum() for p in self.roles()["generator"].parameters()), {})
            case "teacher":
                return Loss(
                    loss.value + self.teacher(batch.x0, rng.uniform("t", (len(batch),)), batch.cond).x0_hat.mean(), {}
                )
        return loss


@pytest.mark.parametrize(
    ("wrong", "caught_by"),
    [
        ("no roles", "roles_are_modules_that_share_nothing"),
        ("shared", "roles_are_modules_that_share_nothing"),
        ("phases", "phases_are_a_function_of_the_step"),
        ("unknown", "phases_are_a_function_of_the_step"),
        ("nan", "the_loss_is_a_finite_scalar"),
        ("per sample", "the_loss_is_a_finite_scalar"),
        ("terms", "the_loss_is_a_finite_scalar"),
        ("global random", "the_same_rng_gives_the_same_loss"),
        ("constant", "the_same_rng_gives_the_same_loss"),
        ("sum", "splitting_the_batch_changes_nothing"),
        ("weight", "weights_of_the_batch_are_used"),
        ("teacher", "the_gradient_reaches_only_the_roles_of_the_phase"),
        ("idle", "the_gradient_reaches_only_the_roles_of_the_phase"),
    ],
)
def test_a_broken_objective_is_caught(wrong, caught_by):
    report = check(lambda: WrongLoss(wrong))
    assert caught_by in report.failures, str(report)


def test_an_objective_with_hidden_state_is_caught():
    class Forgetful(Regression):
        total = 0.0

        def loss(self, phase, batch, rng):
            loss = super().loss(phase, batch, rng)
            if torch.is_grad_enabled() and rng.step < 2:
                self.total += 0.125
            return Loss(loss.value * (1 + self.total), {})

    report = check(Forgetful)
    assert "a_restored_objective_goes_on_as_before" in report.failures, str(report)

    class Remembers(Forgetful):
        def state_dict(self):
            return {"total": torch.tensor(self.total)}

        def load_state_dict(self, state):
            self.total = float(state["total"])

    assert "a_restored_objective_goes_on_as_before" not in check(Remembers).failures


def test_an_objective_whose_needs_the_kit_cannot_meet_is_skipped_with_the_reason():
    class Scenes(Regression):
        needs = Needs(generator={"renders"})

    report = check(Scenes)
    assert report and report.counts["skipped"] >= 8
    assert "needs renders of the generator; the kit's own generator has none: define partners()" in str(report)


class BadData(ToyData):
    def __init__(self, wrong):
        super().__init__()
        self.wrong = wrong

    def batch(self, indices):
        batch = super().batch(indices)
        match self.wrong:
            case "shape":
                return Batch(x0=batch.x0[:, :2], cond=batch.cond)
            case "order":
                return Batch(x0=batch.x0.flip(0), cond=batch.cond)
            case "augmented":
                return Batch(x0=batch.x0 + 0.01 * torch.randn_like(batch.x0), cond=batch.cond)
        return batch

    def split(self, name):
        return ToyData(self.space.event, 0) if self.wrong == "leak" else super().split(name)

    def conditions(self, count, rng):
        return torch.randint(3, (count,)) if self.wrong == "conditions" else super().conditions(count, rng)


@pytest.mark.parametrize(
    ("wrong", "caught_by"),
    [
        ("shape", "rows_have_the_shape_of_the_space"),
        ("order", "a_row_is_always_the_same"),
        ("augmented", "a_row_is_always_the_same"),
        ("leak", "held_out_rows_were_not_trained_on"),
        ("conditions", "conditions_are_a_function_of_the_rng"),
    ],
)
def test_broken_data_is_caught(wrong, caught_by):
    report = check(BadData(wrong), can={"samples", "conditions", "held_out"})
    assert caught_by in report.failures, str(report)


class BadSampler(Renoise):
    def __init__(self, wrong):
        self.wrong = wrong

    def __call__(self, predictor, cond, *, steps, rng, batch_size=None, noise=None):
        if self.wrong == "noise":
            noise = None
        if self.wrong == "global":
            noise = torch.randn(batch_size, 2)
        if self.wrong == "cond":
            batch_size, cond = len(cond) if cond is not None else batch_size, None
        out = super().__call__(predictor, cond, steps=steps, rng=rng, batch_size=batch_size, noise=noise)
        if self.wrong == "distribution":
            return Sample(out.value + 1, out.at, 1.0, 0.0, out.evaluations)
        return out

    def evaluations(self, steps):
        return steps + (self.wrong == "count")


@pytest.mark.parametrize(
    ("wrong", "caught_by"),
    [
        ("noise", "it_starts_from_given_noise"),
        ("global", "the_rng_decides"),
        ("cond", "conditions_are_passed_on"),
        ("count", "it_counts_its_evaluations"),
        ("distribution", "many_steps_reach_the_distribution_of_the_data"),
    ],
)
def test_a_broken_sampler_is_caught(wrong, caught_by):
    report = check(BadSampler(wrong))
    assert caught_by in report.failures, str(report)


def test_a_broken_metric_is_caught():
    class Undeclared(Distance):
        better = {}

    class Constant(Distance):
        def __call__(self, samples, cond, reference):
            return {"mean_gap": 1.0}

    class Moody(Distance):
        def __call__(self, samples, cond, reference):
            return {"mean_gap": float(torch.rand(()))}

    for wrong, caught_by in (
        (Undeclared, "every_number_has_a_better_direction"),
        (Constant, "noise_is_not_judged_better_than_real_data"),
        (Moody, "the_same_samples_get_the_same_numbers"),
    ):
        assert caught_by in check(wrong(), data=ToyData).failures


# --- plugins ---------------------------------------------------------------------------------------------------------


class Undocumented(Options):
    width: int = 4


def manifest(*components, api=limbeck.LIMBECK_API, name="a_manifest"):
    module = types.ModuleType(name)
    module.LIMBECK_API = api
    module.components = hookimpl(lambda: list(components))
    return module


def leaking():
    return BadData("leak")


GOOD = Component("sampler", "renoise", Renoise, summary="few calls")


@pytest.mark.parametrize(
    ("module", "caught_by"),
    [
        (manifest(GOOD, api=99), "the_manifest_states_its_contract"),
        (manifest(), "the_manifest_states_its_contract"),
        (manifest(Component("sampler", "Renoise!", Renoise, summary="x")), "components_are_named_and_described"),
        (manifest(GOOD, GOOD), "components_are_named_and_described"),
        (manifest(Component("sampler", "renoise", Renoise)), "components_are_named_and_described"),
        (manifest(Component("noise", "renoise", Renoise, summary="x")), "components_are_named_and_described"),
        (
            manifest(Component("data", "toy", ToyData, summary="x", can={"smaples"})),
            "components_are_named_and_described",
        ),
        (
            manifest(Component("sampler", "lost", "limbeck.sampling.rollouts:Nothing", summary="x")),
            "targets_can_be_imported",
        ),
        (manifest(Component("data", "toy", leaking, summary="x", can={"held_out"})), "declared_abilities_are_there"),
    ],
)
def test_a_broken_manifest_is_caught(module, caught_by):
    report = check(module)
    assert caught_by in report.failures, str(report)


def test_options_without_documentation_are_caught(monkeypatch):
    monkeypatch.setitem(sys.modules, "undocumented_options", types.SimpleNamespace(Undocumented=Undocumented))
    component = Component("sampler", "renoise", Renoise, summary="x", options="undocumented_options:Undocumented")
    report = check(manifest(component))
    assert "option 'width' has no description" in report.failures["options_round_trip"]
    assert "the target takes no width" in report.failures["options_fit_their_targets"]


def test_a_heavy_manifest_is_caught(tmp_path, monkeypatch):
    (tmp_path / "heavy_manifest.py").write_text("import torch\nLIMBECK_API = 1\ndef components():\n    return []\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    report = check(lambda: "heavy_manifest", "plugin")
    assert "importing heavy_manifest also imports torch" in report.failures["the_manifest_is_light"]


class TestCoreManifest(PluginConformance):
    def make(self):
        return "limbeck._plugin"


# --- the report ------------------------------------------------------------------------------------------------------


def test_expected_failures_need_a_check_and_a_reason():
    with pytest.raises(
        ValueError, match="no check named 'same_input_same_predction'. Did you mean 'same_input_same_prediction'?"
    ):
        check(Broken("nothing"), "teacher", expected_failures={"same_input_same_predction": "typo"})
    with pytest.raises(ValueError, match="needs a written reason"):
        check(Broken("nothing"), "teacher", expected_failures={"same_input_same_prediction": " "})


def test_an_expected_failure_that_passes_is_a_failure():
    report = check(Broken("nothing"), "teacher", expected_failures={"same_input_same_prediction": "it is random"})
    assert not report and report.counts["unexpected pass"] == 1
    assert "expected to fail (it is random), but it passes: remove the expectation" in str(report)


def test_the_report_counts_and_raises():
    report = check(Broken("shape"), "teacher")
    assert report.counts["failed"] >= 1 and report.counts["skipped"] >= 5
    assert sum(report.counts.values()) == len(CHECKS["teacher"])
    with pytest.raises(AssertionError, match="predicts_in_the_shape_and_precision_of_its_input"):
        report.raise_for_failures()
    assert check(GaussianTeacher(EDM(), torch.zeros(2), 1.0)).raise_for_failures()


def test_the_kind_is_found_out_or_has_to_be_given():
    from limbeck.testing.conformance.kits import kind_of

    assert kind_of(GaussianTeacher(EDM(), 0.0, 1.0)) == "teacher"
    assert kind_of(GaussianPredictor(EDM(), 0.0, 1.0)) == "generator"
    assert kind_of(Regression()) == "objective" and kind_of(ToyData()) == "data"
    with pytest.raises(TypeError, match="dict is nothing that a kit knows; pass kind="):
        check(dict)
    with pytest.raises(TypeError, match="takes a component"):
        check(3)
    with pytest.raises(ValueError, match="nothing is checked for kind 'view'"):
        check(ToyData(), "view")


def test_every_check_says_what_it_asks():
    for kind, checks in CHECKS.items():
        assert len(checks) >= 3, kind
        for check_ in checks.values():
            assert len(check_.help) > 40, f"{kind}/{check_.name} has no docstring for plugin authors"


def test_a_skip_inside_a_check_does_not_end_the_others():
    def skips(case):
        raise Skip("not here")

    from limbeck.testing.conformance.report import Case, Check, run_checks

    report = run_checks([Check("x", "a", skips), Check("x", "b", lambda case: None)], Case("x", object), {}, "thing")
    assert [r.outcome for r in report.results] == ["skipped", "passed"] and "not here" in str(report)


def test_the_kit_works_without_pytest():
    code = (
        "import sys; sys.modules['pytest'] = None\n"
        "from limbeck.testing import GaussianTeacher, check\n"
        "from limbeck import EDM\n"
        "import torch\n"
        "assert check(GaussianTeacher(EDM(), torch.zeros(2), 1.0))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_denoiser_with_a_uniform_process_is_not_gaussian():
    class Tokens(Teacher):
        process, space = UniformProcess(3), Space((2,), domain="tokens")

        def forward(self, xt, t, cond=None, *, features=()):
            return Prediction(logits=torch.zeros(*xt.shape, 3))

    assert "declares_where_it_lives" in check(Tokens(), can={"gaussian", "denoiser"}).failures
    assert check(Tokens()).raise_for_failures()


def test_the_tiny_network_is_smooth_and_small():
    network = Denoiser(TinyNetwork((2,), classes=4), EDM(), Space((2,)), null=4, prediction="edm")
    assert sum(p.numel() for p in network.parameters()) < 20_000
