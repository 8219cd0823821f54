"""Checks of data, samplers and metrics. (Samplers of clips: `clips`.)

Every check's docstring is what a plugin author reads when it fails.
"""

import math
from typing import Any

import torch
from torch import Tensor

import limbeck
from limbeck import conditions
from limbeck.interfaces import Batch, Data, Metric, Sample, Sampler, Space
from limbeck.process.categorical import MaskedProcess
from limbeck.process.gaussian import EDM, VP, RectifiedFlow, TrigFlow
from limbeck.randomness import Rng
from limbeck.testing.chain import MarkovChainTeacher
from limbeck.testing.conformance.report import Case, Skip, check_for
from limbeck.testing.gaussian import GaussianTeacher

# --- data ------------------------------------------------------------------------------------------------------------


def _indices(data: Data, count: int = 6) -> Tensor:
    return limbeck.rng(0).integers("rows", len(data), (min(count, len(data)),))


@check_for("data")
def rows_have_the_shape_of_the_space(case: Case) -> None:
    """batch(indices) returns a limbeck.Batch whose x0 is (B, *space.event), finite; conditions have B rows."""
    data = case.make()
    assert isinstance(data, Data), f"got {type(data).__name__}, expected a limbeck.Data"
    assert isinstance(data.space, Space), "set self.space = Space(event, domain)"
    assert len(data) > 0, "there are no rows"
    rows = _indices(data)
    batch = data.batch(rows)
    assert isinstance(batch, Batch), f"batch() returned {type(batch).__name__}"
    if "samples" in case.can:
        assert batch.x0 is not None, "declares 'samples' but x0 is None"
    if batch.x0 is not None:
        expected = (len(rows), *data.space.event)
        assert batch.x0.shape == expected, f"x0 has shape {tuple(batch.x0.shape)}, expected {expected}"
        if batch.x0.is_floating_point():
            assert bool(batch.x0.isfinite().all()), "x0 is not finite"
    if batch.cond is not None:
        assert len(batch.cond) == len(rows), f"{len(batch.cond)} conditions for {len(rows)} rows"


@check_for("data")
def a_row_is_always_the_same(case: Case) -> None:
    """A row does not depend on what else is read, nor on when: data order is the source's business."""
    data, again = case.make(), case.make()
    rows = _indices(data)
    whole = data.batch(rows)
    for k, row in enumerate(rows):
        for one in (data.batch(row[None]), again.batch(row[None])):
            if whole.x0 is not None and one.x0 is not None:
                assert torch.equal(one.x0[0], whole.x0[k]), f"row {int(row)} differs between two batches"
            if isinstance(whole.cond, Tensor):
                assert torch.equal(one.cond[0], whole.cond[k]), (
                    f"the condition of row {int(row)} differs between two batches"
                )


@check_for("data")
def conditions_are_a_function_of_the_rng(case: Case) -> None:
    """ability `conditions`: conditions(n, rng) gives n of them, the same for the same rng, and they vary."""
    case.needs("conditions")
    data = case.make()
    first, again, other = (data.conditions(32, limbeck.rng(seed)) for seed in (0, 0, 1))
    assert first is not None and len(first) == 32, "expected 32 conditions"
    equal = torch.equal if isinstance(first, Tensor) else lambda a, b: a == b
    assert equal(first, again), "the same rng gave other conditions"
    vary = not equal(first, other) or not equal(
        conditions.rows(first, slice(0, 1)), conditions.rows(first, slice(1, 2))
    )
    assert vary, "every row and every seed has the same conditions"


@check_for("data")
def held_out_rows_were_not_trained_on(case: Case) -> None:
    """ability `held_out`: split('train') and split('held_out') are not empty and share no row."""
    case.needs("held_out")
    data = case.make()
    train, held_out = data.split("train"), data.split("held_out")
    assert len(train) > 0 and len(held_out) > 0, f"{len(train)} rows to train on, {len(held_out)} held out"
    assert train.space == data.space == held_out.space, "a split lives in another space"
    some = held_out.batch(torch.arange(min(64, len(held_out)))).x0
    if some is None:
        raise Skip("no x0 to compare")
    for start in range(0, len(train), 512):
        rows = train.batch(torch.arange(start, min(start + 512, len(train)))).x0
        assert rows is not None
        equal = (rows.flatten(1)[:, None] == some.flatten(1)[None]).all(-1)
        assert not bool(equal.any()), f"held-out row {int(equal.any(0).nonzero()[0])} is also a training row"


# --- samplers --------------------------------------------------------------------------------------------------------

PROCESSES = (RectifiedFlow(), VP(), EDM(), TrigFlow(sigma_data=0.5))
ROWS = 4


def _continuous(case: Case) -> None:
    """Skip samplers that declare to walk something else: tokens, prompts, cameras."""
    if case.can and "gaussian" not in case.can:
        raise Skip(f"walks no continuous noise (it declares {', '.join(sorted(case.can))})")


@check_for("sampler")
def tokens_are_all_known_and_prompts_are_kept(case: Case) -> None:
    """ability `categorical`: on an exact chain of tokens, samples are (B, L) int64 of the vocabulary, without a mask;
    the same for the same rng; a prompt (B, P) given as condition stays in the first positions; evaluations count."""
    case.needs("categorical")
    sampler = case.make()
    transition = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.3, 0.3, 0.4]], dtype=torch.float64)
    chain = MarkovChainTeacher(MaskedProcess(3), transition, length=6)
    calls: list[int] = []
    chain.register_forward_hook(lambda module, args, out: calls.append(len(args[0])))

    def walk(seed: int, cond: Any = None) -> Tensor:
        sample = sampler(chain, cond, steps=1, rng=limbeck.rng(seed), batch_size=64)
        assert sample.value.shape == (64, 6) and sample.value.dtype == torch.int64, f"got {tuple(sample.value.shape)}"
        return sample.value

    first = walk(0)
    assert len(calls) == sampler.evaluations(1), f"promises {sampler.evaluations(1)} evaluations, made {len(calls)}"
    assert int(first.min()) >= 0 and int(first.max()) < 3, "a token outside the vocabulary (a mask that is left?)"
    assert torch.equal(first, walk(0)) and not torch.equal(first, walk(1)), "the rng must decide"
    prompt = torch.tensor([[2, 0]]).expand(64, -1)
    assert torch.equal(walk(0, prompt)[:, :2], prompt), "the prompt was changed"


def _gaussian(process: Any) -> GaussianTeacher:
    means = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    return GaussianTeacher(process, torch.tensor([0.0, 0.5]), torch.tensor([0.5, 0.8]), class_means=means)


def _walk(sampler: Sampler, process: Any, seed: int = 0, steps: int = 6, rows: int = ROWS, **more: Any) -> Sample:
    return sampler(
        _gaussian(process), more.pop("cond", None), steps=steps, rng=limbeck.rng(seed), batch_size=rows, **more
    )


@check_for("sampler")
def samples_have_the_shape_of_the_space(case: Case) -> None:
    """A limbeck.Sample with a finite value (B, *event) and no gradient, on every Gaussian process."""
    _continuous(case)
    sampler = case.make()
    assert isinstance(sampler, Sampler), f"got {type(sampler).__name__}, expected a limbeck.Sampler"
    for process in PROCESSES:
        sample = _walk(sampler, process)
        assert isinstance(sample, Sample), f"{process!r}: returned {type(sample).__name__}, expected limbeck.Sample"
        assert sample.value.shape == (ROWS, 2), f"{process!r}: shape {tuple(sample.value.shape)}, expected ({ROWS}, 2)"
        assert bool(sample.value.isfinite().all()), f"{process!r}: not finite"
        assert not sample.value.requires_grad, f"{process!r}: samples carry a gradient; run under torch.no_grad()"


@check_for("sampler")
def the_rng_decides(case: Case) -> None:
    """The same rng gives the same samples, another seed others, and two parts of a batch are the batch."""
    _continuous(case)
    sampler = case.make()
    student = _gaussian(RectifiedFlow()).trainable_copy(
        predicts="flow_map"
    )  # its prediction at t_max depends on the noise

    def walk(rng: Rng, rows: int = ROWS) -> Tensor:
        return sampler(student, None, steps=3, rng=rng, batch_size=rows).value

    first, again, other = (walk(limbeck.rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again), "the same seed gave two samples"
    assert not torch.equal(first, other), "the seed does not matter"
    halves = [walk(Rng(0, part=k, parts=2), ROWS // 2) for k in range(2)]
    torch.testing.assert_close(torch.cat(halves), first, rtol=1e-4, atol=1e-5)


@check_for("sampler")
def it_counts_its_evaluations(case: Case) -> None:
    """evaluations(steps), and Sample.evaluations, are how often the predictor is really called."""
    _continuous(case)
    sampler = case.make()
    for steps in (1, 2, 5):
        teacher = _gaussian(RectifiedFlow())
        calls: list[int] = []
        teacher.register_forward_hook(lambda module, args, out, calls=calls: calls.append(len(args[0])))
        sample = sampler(teacher, None, steps=steps, rng=limbeck.rng(0), batch_size=ROWS)
        made = sum(calls) / ROWS
        assert sampler.evaluations(steps) == made, (
            f"{steps} steps: {sampler.evaluations(steps)} promised, {made:g} made"
        )
        assert sample.evaluations == made, f"{steps} steps: the sample counts {sample.evaluations}, made {made:g}"


@check_for("sampler")
def it_starts_from_given_noise(case: Case) -> None:
    """noise= is x at t_max: given, it replaces the draw named "noise"."""
    _continuous(case)
    sampler, process = case.make(), RectifiedFlow()
    student = _gaussian(process).trainable_copy(predicts="flow_map")  # what it predicts at t_max depends on noise
    noise = limbeck.rng(0).normal("noise", (ROWS, 2))

    def walk(given: Tensor | None) -> Tensor:
        return sampler(student, None, steps=1, rng=limbeck.rng(0), batch_size=ROWS, noise=given).value

    torch.testing.assert_close(
        walk(noise), walk(None), msg=lambda text: f"noise= is not the draw named 'noise': {text}"
    )
    assert not torch.equal(walk(-noise), walk(None)), "noise= is ignored"


@check_for("sampler")
def conditions_are_passed_on(case: Case) -> None:
    """cond reaches the predictor: each class is sampled around its own mean."""
    _continuous(case)
    cond = torch.tensor([0, 1]).repeat(128)
    sample = _walk(case.make(), RectifiedFlow(), steps=10, rows=256, cond=cond).value
    gap = sample[cond == 0].mean(0) - sample[cond == 1].mean(0)
    assert float(gap[0]) > 1 and float(gap[1]) < -1, f"class means differ by {gap.tolist()}; expected about [2, -2]"


@check_for("sampler")
def many_steps_reach_the_distribution_of_the_data(case: Case) -> None:
    """On a Gaussian, mean and spread of 2,000 samples are those of the data, on every process: with 60 steps along an
    exact denoiser (a solver), or with 3 calls of an exact flow map (a sampler of few-step students)."""
    _continuous(case)
    sampler = case.make()
    for process in PROCESSES:
        teacher = _gaussian(process)
        student = teacher.trainable_copy(predicts="flow_map")
        misses = [
            _misses(sampler(model, None, steps=steps, rng=limbeck.rng(0), batch_size=2000).value)
            for model, steps in ((teacher, 60), (student, 3))
        ]
        assert not all(misses), f"{process!r}: 60 steps of a denoiser: {misses[0]}; 3 calls of a flow map: {misses[1]}"


def _misses(value: Tensor) -> str:
    mean, std = value.mean(0), value.std(0)
    aim_mean, aim_std = torch.tensor([0.0, 0.5]), torch.tensor([0.5, 0.8])
    if float((mean - aim_mean).abs().max()) < 0.15 and float((std / aim_std - 1).abs().max()) < 0.15:
        return ""
    return f"mean {mean.tolist()}, spread {std.tolist()}, expected {aim_mean.tolist()}, {aim_std.tolist()}"


# --- metrics ---------------------------------------------------------------------------------------------------------


def _judged(case: Case) -> tuple[Metric, Data, Tensor, Any]:
    metric = case.make()
    assert isinstance(metric, Metric), f"got {type(metric).__name__}, expected a limbeck.Metric"
    data: Data = case.extra["data"]()
    real = data.split("held_out")
    batch = real.batch(torch.arange(min(256, len(real))))
    if batch.x0 is None:
        raise Skip("the data has no x0 to judge")
    return metric, data, batch.x0, batch.cond


@check_for("metric")
def every_number_has_a_better_direction(case: Case) -> None:
    """Calling it gives finite floats, and `better` has lower or higher for every one of them."""
    metric, data, samples, cond = _judged(case)
    values = metric(samples, cond, data)
    assert values, "no numbers came back"
    for name, value in values.items():
        assert isinstance(value, float) and math.isfinite(value), f"{name} is {value!r}; expected a finite float"
        assert metric.better.get(name) in ("lower", "higher"), (
            f"`better` has nothing for {name!r}: {dict(metric.better)}"
        )


@check_for("metric")
def the_same_samples_get_the_same_numbers(case: Case) -> None:
    """Judging twice gives equal numbers, and the samples are left as they were."""
    metric, data, samples, cond = _judged(case)
    kept = samples.clone()
    first, second = metric(samples, cond, data), metric(samples, cond, data)
    assert first == second, f"{first} and then {second}"
    assert torch.equal(samples, kept), "the metric changed the samples in place"


@check_for("metric")
def noise_is_not_judged_better_than_real_data(case: Case) -> None:
    """Held-out data beats noise of the same mean and spread in at least one number, and loses by none that measures
    quality.

    (Only the first half is asserted: a distance to the nearest training example may well be larger for noise.)
    """
    metric, data, samples, cond = _judged(case)
    noise = samples.mean() + samples.std() * limbeck.rng(0).normal("noise", samples.shape, samples.dtype)
    real, bad = metric(samples, cond, data), metric(noise, cond, data)
    wins = [n for n in real if (real[n] < bad[n] if metric.better.get(n) == "lower" else real[n] > bad[n])]
    assert wins, f"noise is judged as good as real data: {bad} against {real}"
