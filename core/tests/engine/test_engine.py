"""The engine on a small problem with two players: what it promises about updates, failures and interruptions."""

import json
import math
import os
import re
import signal
import sys

import engine_problem as problem
import pytest
import torch
from torch import nn

from limbeck.engine import tensor_file
from limbeck.engine.ema import EMA, warmed_decay
from limbeck.engine.optimizers import gradient_norm
from limbeck.engine.schedules import lr_factor
from limbeck.errors import HookError, Interrupted, LimbeckError, NonFinite, RecipeError, RunExists
from limbeck.interfaces import Batch, Loss, Phase
from limbeck.runs.run import Run

STILL = {
    "generator": {"use": "tiny_net", "init": "random", "dropout": 0.0},
    "objective": {"use": "tiny_duel", "dropout": 0.0},
}


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def weights(folder, name="generator"):
    return tensor_file.read(max((folder / "checkpoints").glob("step-*")) / f"{name}.safetensors")


# --- closed forms ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decay", [0.5, 0.9])
def test_ema_is_the_closed_form_after_its_warm_up(decay):
    # decay d from n0 on: average_n = d^(n - n0) average_n0 + (1 - d) sum_k d^(n - k) w_k, and w_k = k here
    module = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(0.0)
    ema = EMA(module, [decay])
    expected = 0.0
    for k in range(1, 200):
        with torch.no_grad():
            module.weight.fill_(float(k))
        ema.update()
        d = min(decay, k / (9 + k))
        expected = d * expected + (1 - d) * k
    assert warmed_decay(decay, 0) == 0.1 and warmed_decay(decay, 10**6) == decay
    # a ramp lags by d / (1 - d): 1 for 0.5 and 9 for 0.9
    assert expected == pytest.approx(199 - decay / (1 - decay), abs=1e-5)
    torch.testing.assert_close(ema.state_dict(decay)["weight"], torch.tensor([[expected]]), rtol=1e-5, atol=1e-5)


def test_ema_leaves_the_modules_own_weights_bitwise_and_keeps_ties():
    net = problem.Net()
    ema = EMA(net, [0.9, 0.99])
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1.0)
    ema.update()
    with ema.applied(0.99):
        torch.testing.assert_close(net.first.weight, before["first.weight"] + 0.9)  # warmed decay 0.1
        assert net.tied.weight is net.middle.weight
    assert torch.equal(net.first.weight, before["first.weight"] + 1.0)
    state = ema.state_dict(0.9)
    assert set(state) == set(net.state_dict()) and state["tied.weight"] is state["middle.weight"]


def test_schedules_are_their_closed_forms():
    assert [lr_factor("constant", k, 10, 4) for k in (0, 1, 3, 4, 9)] == [0.25, 0.5, 1.0, 1.0, 1.0]
    assert [lr_factor("linear", k, 10, 0) for k in (0, 5, 9)] == pytest.approx([1.0, 0.5, 0.1])
    assert lr_factor("cosine", 7, 12, 2) == pytest.approx(0.5)
    assert lr_factor("cosine", 4, 12) == pytest.approx(0.5 * (1 + math.cos(math.pi / 3)))
    assert lr_factor("linear", 50, 10) == 0.0


def test_learning_rates_of_phases_follow_schedule_and_overrides(tmp_path):
    problem.train(tmp_path / "run")
    logged = {(line["step"], line["phase"]): line["lr"] for line in lines(tmp_path / "run") if "lr" in line}
    assert logged[2, "critic"] == pytest.approx(2e-2 * 2 / 3)
    assert logged[14, "generator"] == pytest.approx(1e-2 * lr_factor("cosine", 13, 24, 3))
    assert logged[14, "critic"] == pytest.approx(2 * logged[14, "generator"])


def test_gradient_norm_is_that_of_torch():
    parameters = [nn.Parameter(torch.full((3, 2), 2.0)), nn.Parameter(torch.full((4,), -1.0))]
    for parameter in parameters:
        parameter.grad = parameter.detach() * 3
    norm = gradient_norm([p.grad for p in parameters])
    assert float(norm) == pytest.approx(math.sqrt(6 * 36 + 4 * 9))
    torch.testing.assert_close(norm, nn.utils.clip_grad_norm_(parameters, 1e9))


# --- updates ---------------------------------------------------------------------------------------------------------


def test_engine_does_what_a_loop_by_hand_does(tmp_path):
    plain = {"schedule": "constant", "warmup": 0, "clip": 0.5, "ema": [0.9], "phases": {}}
    built = problem.train(tmp_path / "run", train=plain)
    by_hand = problem.build(train=plain)
    objective, generator = by_hand.objective, by_hand.generator
    optimizers = {
        name: torch.optim.AdamW(m.parameters(), lr=1e-2, weight_decay=0.0) for name, m in objective.roles().items()
    }
    ema = {name: p.detach().clone() for name, p in generator.named_parameters()}
    from limbeck import rng

    for step in range(24):
        for phase in objective.phases(step):
            objective.focus(phase)
            draws = rng(0, step, phase)
            draws.seed_globally()
            objective.loss(phase, by_hand.source.batch(16, draws), draws).backward()
            for role in phase.roles:
                nn.utils.clip_grad_norm_(objective.roles()[role].parameters(), 0.5)
                optimizers[role].step()
            objective.zero_grad()
        for name, parameter in generator.named_parameters():
            ema[name].lerp_(parameter.detach(), 1 - min(0.9, (1 + step) / (10 + step)))
    for name, value in built.generator.state_dict().items():
        torch.testing.assert_close(value, generator.state_dict()[name], rtol=1e-5, atol=1e-6)
    averaged = weights(tmp_path / "run", "ema-0.9")
    for name, value in ema.items():
        torch.testing.assert_close(averaged[name], value, rtol=1e-5, atol=1e-6)
        assert not torch.equal(averaged[name], built.generator.get_parameter(name))


def test_equal_seeds_build_equal_weights_and_other_seeds_others():
    first, again, other = (problem.build(train={"seed": seed}).generator.state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["first.weight"], other["first.weight"])


@pytest.mark.parametrize("accumulate", [2, 4])
def test_accumulation_changes_nothing(tmp_path, accumulate):
    problem.train(tmp_path / "whole", **STILL)
    problem.train(tmp_path / "parts", **STILL, train={"accumulate": accumulate})
    for name in ("generator", "critic", "ema-0.9"):
        whole, parts = weights(tmp_path / "whole", name), weights(tmp_path / "parts", name)
        for key in whole:
            if key != "calls":
                torch.testing.assert_close(parts[key], whole[key], rtol=0, atol=1e-6)
    for a, b in zip(lines(tmp_path / "whole"), lines(tmp_path / "parts"), strict=True):
        if "loss" in a:
            assert a["loss"] == pytest.approx(b["loss"], abs=1e-6)


def test_weights_that_sum_to_one_over_the_batch_are_summed_over_its_parts(tmp_path):
    class Weighted(problem.Rows):
        def batch(self, size, rng):
            rows = super().batch(size, rng)
            return Batch(x0=rows.x0, weight=torch.full((size,), 1.0 / (size * rng.parts)))

    class WeightedDuel(problem.Duel):
        def loss(self, phase, batch, rng):
            loss = super().loss(phase, Batch(x0=batch.x0), rng)
            return Loss(loss.value * batch.weight.sum())

    for name, accumulate in (("whole", 1), ("parts", 4)):
        built = problem.build(**STILL, train={"accumulate": accumulate, "steps": 6})
        built.source = Weighted(problem.Points())
        objective = WeightedDuel(dropout=0.0)
        objective.setup(built.generator)
        objective.roles()["critic"].load_state_dict(built.objective.roles()["critic"].state_dict())
        built.objective = objective
        from limbeck.runs import training

        training.train(built, tmp_path / name, progress=False)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    torch.testing.assert_close(parts["first.weight"], whole["first.weight"], rtol=0, atol=1e-6)
    losses = [[line["loss"] for line in lines(tmp_path / name) if "loss" in line] for name in ("whole", "parts")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6) and max(map(abs, losses[0])) > 1e-2


def test_batch_that_cannot_be_split_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"batch_size 16 cannot be split evenly into 3 parts.*multiple of 3"):
        problem.train(tmp_path / "run", train={"accumulate": 3})


def test_misspelt_phase_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"no phase 'critc'. Did you mean 'critic'\? Known: critic, generator"):
        problem.train(tmp_path / "run", train={"phases": {"critc": {"lr": 0.1}}})


def test_loss_that_depends_on_nothing_it_trains_is_refused(tmp_path):
    class Detached(problem.Duel):
        def loss(self, phase, batch, rng):
            return Loss(super().loss(phase, batch, rng).value.detach())

    with pytest.raises(LimbeckError, match=r"phase 'critic': the loss does not depend on what it trains \(critic\)"):
        problem.train(tmp_path / "run", objective=Detached())


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "radam", "sgd"])
def test_every_optimizer_resumes_bitwise(tmp_path, optimizer):
    options = {"optimizer": optimizer, "schedule": "constant", "lr": 1e-3, "phases": {}}
    no_evaluation = {"every": None, "metrics": []}  # a run of 8 steps ends with one
    problem.train(tmp_path / "calm", train=options, evaluate=no_evaluation)
    problem.train(tmp_path / "twice", train={**options, "steps": 8}, evaluate=no_evaluation)
    problem.train(tmp_path / "twice", train=options, evaluate=no_evaluation, resume=True)
    assert problem.results(tmp_path / "calm") == problem.results(tmp_path / "twice")


# --- not finite ------------------------------------------------------------------------------------------------------


def test_nan_in_a_batch_stops_with_term_phase_step_samples_and_evidence(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(NonFinite) as caught:
        problem.train(folder, source={"use": "tiny_rows", "bad_at": [9, "generator"]})
    said = str(caught.value)
    assert "step 10, phase generator: loss 'field' is not finite (nan) in 3 of 16 samples." in said
    assert "the batch itself is not finite (x0)" in said
    assert f"saved: {folder / 'failures' / 'step-000010'}" in said and "Last good checkpoint: step-000008" in said
    assert re.search(r"resume: limbeck pretrain --resume .*run train\.lr=0\.001$", said)
    reason = json.loads((folder / "failures" / "step-000010" / "reason.json").read_text())
    assert (reason["step"], reason["phase"], reason["bad_samples"]) == (10, "generator", 3)
    batch = tensor_file.read(folder / "failures" / "step-000010" / "batch.safetensors")
    assert int(batch["x0"].isnan().sum()) == 3
    assert (folder / "failures" / "step-000010" / "optimizer-critic.safetensors").is_file()
    assert Run(folder).checkpoint().step == 8 and Run(folder).status == "failed"
    assert all(bool(torch.isfinite(value).all()) for value in weights(folder).values())


def test_infinite_gradient_of_a_finite_loss_is_caught(tmp_path):
    with pytest.raises(
        NonFinite, match=r"step 6, phase generator: the gradient of generator/first.weight is not finite"
    ):
        problem.train(tmp_path / "run", objective={"use": "tiny_duel", "explode_at": 5})


def test_skipping_leaves_that_update_out_and_goes_on(tmp_path, capsys):
    folder = tmp_path / "run"
    skip = {"on_nonfinite": "skip"}
    problem.train(folder, train=skip, source={"use": "tiny_rows", "bad_at": [9, "generator"], "until": 2})
    assert "this update is skipped (train.on_nonfinite=skip)" in capsys.readouterr().err
    skipped = [line for line in lines(folder) if line.get("skipped")]
    assert [(line["step"], line["phase"], line["loss"]) for line in skipped] == [
        (10, "generator", None), (11, "generator", None)
    ]  # fmt: skip
    assert Run(folder).checkpoint().step == 24 and Run(folder).checkpoint().state["ema_updates"] == 22
    assert all(bool(torch.isfinite(value).all()) for value in weights(folder, "ema-0.9").values())
    assert len(list((folder / "failures").iterdir())) == 1


def test_skipping_for_ever_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("limbeck.engine.updates.MOST_SKIPS", 6)
    monkeypatch.setattr("limbeck.engine.loop.MOST_SKIPS", 6)
    with pytest.raises(NonFinite, match="6 updates of phase generator in a row were not finite"):
        problem.train(
            tmp_path / "run", train={"on_nonfinite": "skip"},
            source={"use": "tiny_rows", "bad_at": [5, "generator"], "until": 99},
        )  # fmt: skip


# --- stopping and going on -------------------------------------------------------------------------------------------


class Press:
    """Ctrl-C in a step, `times` times."""

    def __init__(self, step, times=1):
        self.at, self.times = step, times

    def step_ended(self, step):
        if step == self.at:
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_finishes_the_step_saves_and_says_how_to_resume(tmp_path):
    before = signal.getsignal(signal.SIGINT)  # ignored where the tests run in the background of a shell
    with pytest.raises(
        Interrupted, match=r"(?s)stopped at step 7 and saved.*resume: limbeck pretrain --resume"
    ) as caught:
        problem.train(tmp_path / "run", callbacks=[Press(7)])
    assert caught.value.exit_code == 130
    assert Run(tmp_path / "run").status == "interrupted" and Run(tmp_path / "run").checkpoint().step == 7
    assert signal.getsignal(signal.SIGINT) is before
    problem.train(tmp_path / "run", resume=True)
    problem.train(tmp_path / "calm")
    assert problem.results(tmp_path / "run") == problem.results(tmp_path / "calm")


def test_ctrl_c_where_an_evaluation_is_due_makes_it_up_on_resume(tmp_path):
    with pytest.raises(Interrupted):
        problem.train(tmp_path / "run", callbacks=[Press(12)])
    assert not any("evaluation" in line for line in lines(tmp_path / "run"))
    problem.train(tmp_path / "run", resume=True)
    problem.train(tmp_path / "calm")
    assert problem.results(tmp_path / "run") == problem.results(tmp_path / "calm")


def test_ctrl_c_in_the_last_step_saves_it_and_leaves_the_table_for_later(tmp_path):
    with pytest.raises(Interrupted, match=r"(?s)all 24 steps are done and saved.*limbeck pretrain --resume"):
        problem.train(tmp_path / "run", callbacks=[Press(24)])
    assert Run(tmp_path / "run").status == "interrupted" and Run(tmp_path / "run").checkpoint().step == 24
    problem.train(tmp_path / "run", resume=True)
    problem.train(tmp_path / "calm")
    assert Run(tmp_path / "run").status == "finished"
    assert problem.results(tmp_path / "run") == problem.results(tmp_path / "calm")


def test_ctrl_c_in_the_last_evaluation_stops_at_once_because_all_is_saved(tmp_path):
    class PressWhenEvaluated:
        def evaluated(self, step):
            if step == 24:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="all 24 steps are done and saved"):
        problem.train(tmp_path / "run", callbacks=[PressWhenEvaluated()])
    assert Run(tmp_path / "run").checkpoint().step == 24


def test_ctrl_c_twice_stops_at_once(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        problem.train(tmp_path / "run", callbacks=[Press(7, times=2)])
    assert Run(tmp_path / "run").status == "interrupted" and Run(tmp_path / "run").checkpoint().step == 4


def test_second_run_into_a_folder_is_refused(tmp_path):
    problem.train(tmp_path / "run", train={"steps": 4})
    with pytest.raises(RunExists, match=r"already holds a run.*--resume.*--overwrite"):
        problem.train(tmp_path / "run", train={"steps": 4})


def test_resuming_a_finished_run_says_so_and_more_steps_go_on(tmp_path, capsys):
    problem.train(tmp_path / "run", train={"steps": 4})
    before = problem.results(tmp_path / "run")
    problem.train(tmp_path / "run", resume=True, train={"steps": 4})
    assert "is finished: 4 of 4 steps" in capsys.readouterr().err
    assert problem.results(tmp_path / "run") == before
    problem.train(tmp_path / "run", resume=True, train={"steps": 9})
    assert Run(tmp_path / "run").checkpoint().step == 9


def test_resume_without_a_checkpoint_starts_over(tmp_path, capsys):
    problem.train(tmp_path / "run", resume=True)
    assert "no checkpoint in" in capsys.readouterr().err
    problem.train(tmp_path / "calm")
    assert problem.results(tmp_path / "run") == problem.results(tmp_path / "calm")


def test_overrides_on_resume_are_used_and_recorded(tmp_path):
    problem.train(tmp_path / "run", train={"steps": 8, "schedule": "constant"})
    problem.train(tmp_path / "run", resume=True, train={"steps": 12, "schedule": "constant", "lr": 5e-3})
    last = [line for line in lines(tmp_path / "run") if line.get("phase") == "generator"][-1]
    assert (last["step"], last["lr"]) == (12, 5e-3)
    history = Run(tmp_path / "run").info["history"]
    assert [event["event"] for event in history] == ["started", "finished", "resumed", "finished"]
    assert history[2]["changes"] == {"train.steps": [8, 12], "train.lr": [0.01, 0.005]}
    assert Run(tmp_path / "run").recipe.train.lr == 5e-3


# --- what a run writes and tells -------------------------------------------------------------------------------------


class Listener:
    def __init__(self):
        self.heard = []

    def run_started(self, step):
        self.heard.append(("started", step))

    def step_ended(self, step, values):
        self.heard.append(("step", step, sorted(values)))

    def evaluated(self, step, values):
        self.heard.append(("evaluated", step, sorted(values)))

    def checkpoint_saved(self, step, path):
        assert (path / "manifest.json").is_file()
        self.heard.append(("saved", step))

    def run_ended(self, status):
        self.heard.append(("ended", status))


def test_callbacks_hear_everything_in_order(tmp_path):
    listener = Listener()
    problem.train(
        tmp_path / "run", callbacks=[listener], train={"steps": 4, "log_every": 2, "checkpoint": {"every": 2}},
        evaluate={"every": 3},
    )  # fmt: skip
    names = [f"{phase}/{key}" for phase, term in (("critic", "denoising"), ("generator", "field"))
             for key in (term, "grad_norm", "loss", "lr")]  # fmt: skip
    assert listener.heard == [
        ("started", 0), ("step", 1, names), ("step", 2, names), ("saved", 2), ("step", 3, []),
        ("evaluated", 3, ["spread"]), ("step", 4, names), ("saved", 4),
        ("evaluated", 4, ["spread"]), ("ended", "finished"),
    ]  # fmt: skip


def test_callback_that_raises_ends_the_run_with_its_name(tmp_path):
    class Broken:
        def step_ended(self):
            raise ValueError("oh")

    with pytest.raises(HookError, match=r"callback 'Broken' raised in hook 'step_ended': ValueError: oh"):
        problem.train(tmp_path / "run", callbacks=[Broken()])
    assert Run(tmp_path / "run").status == "failed"


def test_run_folder_holds_recipe_record_metrics_timings_and_loads_again(tmp_path):
    built = problem.train(tmp_path / "run", train={"log_every": 5}, evaluate={"grid": 4})
    run = Run(tmp_path / "run")
    assert run.status == "finished" and run.recipe == built.recipe
    assert {"versions", "hardware", "seed", "command", "started"} <= set(run.info)
    assert 50 < run.info["peak_memory_mib"]["process"] < 50_000  # torch alone takes more than 50
    steps = sorted({line["step"] for line in run.metrics if "phase" in line})
    assert steps == [1, 5, 10, 15, 20]
    assert [line["step"] for line in run.metrics.evaluations()] == [12, 24]
    timings = [json.loads(line) for line in (run.path / "timings.jsonl").read_text().splitlines()]
    assert [line["step"] for line in timings] == steps and timings[-1]["seconds"] > timings[0]["seconds"] > 0
    assert (run.path / "samples" / "step-000012.safetensors").is_file()
    student, samples = run.generator(), run.sample(6, seed=1)
    averaged = weights(run.path, "ema-0.9")
    assert torch.equal(student.first.weight, averaged["first.weight"])
    assert samples.value.shape == (6, 2) and torch.equal(samples.value, run.sample(6, seed=1).value)
    assert torch.equal(run.generator(ema=False).first.weight, weights(run.path)["first.weight"])


def test_metrics_become_a_data_frame(tmp_path):
    pytest.importorskip("pandas", reason="to_pandas needs pandas")
    problem.train(tmp_path / "run")
    metrics = Run(tmp_path / "run").metrics
    frame = metrics.to_pandas()
    assert len(frame) == len(list(metrics)) and frame["evaluation.spread"].notna().sum() == 2


def test_generator_starts_from_another_run_or_a_file(tmp_path):
    problem.train(tmp_path / "run", train={"steps": 4})
    averaged = weights(tmp_path / "run", "ema-0.9")
    for start in (tmp_path / "run", max((tmp_path / "run" / "checkpoints").glob("step-*")) / "ema-0.9.safetensors"):
        built = problem.build(generator={"use": "tiny_net", "init": str(start)})
        assert torch.equal(built.generator.first.weight, averaged["first.weight"])
    with pytest.raises(
        RecipeError, match=r"the weights do not fit Net \('first.weight' has shape \(16, 3\), expected \(8, 3\)"
    ):
        problem.build(generator={"use": "tiny_net", "init": str(tmp_path / "run"), "width": 8})
    with pytest.raises(RecipeError, match="neither 'teacher', 'random', a .safetensors file nor a run"):
        problem.build(generator={"use": "tiny_net", "init": "nowhere"})


def test_nothing_is_drawn_when_standard_error_is_no_terminal(tmp_path, capsys):
    built = problem.build(train={"steps": 2})
    from limbeck.runs import training

    training.train(built, tmp_path / "run", progress=True)
    assert capsys.readouterr() == ("", "")


def test_bar_with_eta_is_drawn_on_a_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    from limbeck.runs import training

    training.train(problem.build(train={"steps": 2}), tmp_path / "run", progress=True)
    said = capsys.readouterr().err
    assert "pretraining" in said and "2/2" in said


def test_phase_that_comes_late_keeps_its_optimizer_through_a_resume(tmp_path):
    class Alternating(problem.Duel):
        def phases(self, step):
            return [Phase("generator", ("generator",)), *([Phase("critic", ("critic",))] if step % 6 == 0 else [])]

    for folder, stops in (("calm", [24]), ("often", [8, 9, 10, 24])):
        for steps in stops:
            options = {"train": {"steps": steps, "schedule": "constant"}, "evaluate": {"every": None, "metrics": []}}
            problem.train(tmp_path / folder, resume=steps != stops[0], objective=Alternating(), **options)
    assert problem.results(tmp_path / "calm") == problem.results(tmp_path / "often")


# --- precision, compilation, trackers --------------------------------------------------------------------------------


def test_bf16_trains_float32_weights_and_resumes_bitwise(tmp_path):
    options = {"precision": "bf16", "schedule": "constant"}
    problem.train(tmp_path / "calm", train=options)
    with pytest.raises(Interrupted):
        problem.train(tmp_path / "run", train=options, callbacks=[Press(5)])
    problem.train(tmp_path / "run", train=options, resume=True)
    assert problem.results(tmp_path / "run") == problem.results(tmp_path / "calm")
    assert all(v.dtype == torch.float32 for k, v in weights(tmp_path / "run").items() if k != "calls")
    problem.train(tmp_path / "full", train={"schedule": "constant"})
    difference = weights(tmp_path / "full")["first.weight"] - weights(tmp_path / "run")["first.weight"]
    assert 1e-6 < float(difference.abs().max()) < 0.5


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU can do fp16")
def test_fp16_without_a_gpu_is_refused_with_what_works(tmp_path):
    with pytest.raises(RecipeError, match=r"train.precision: fp16 needs a GPU; this is cpu. Allowed: no, bf16"):
        problem.train(tmp_path / "run", train={"precision": "fp16"})


@pytest.mark.slow
def test_compiled_networks_train_alike(tmp_path):
    problem.train(tmp_path / "plain", **STILL)
    problem.train(tmp_path / "compiled", **STILL, train={"compile": True})
    plain, compiled = weights(tmp_path / "plain", "ema-0.9"), weights(tmp_path / "compiled", "ema-0.9")
    assert set(plain) == set(compiled)
    torch.testing.assert_close(compiled["first.weight"], plain["first.weight"], rtol=0, atol=1e-4)


def test_tensorboard_tracker_gets_the_scalars(tmp_path):
    pytest.importorskip("tensorboard", reason="the tracker needs tensorboard")
    problem.train(tmp_path / "run", train={"trackers": "tensorboard", "steps": 4})
    assert list((tmp_path / "run").rglob("events.out.tfevents*"))


def test_unknown_tracker_and_one_that_is_not_installed_are_refused(tmp_path, monkeypatch):
    with pytest.raises(RecipeError, match=r"no tracker 'tensorbord'. Did you mean 'tensorboard'\? Known: aim, "):
        problem.train(tmp_path / "run", train={"trackers": "tensorbord"})
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", list)
    with pytest.raises(RecipeError, match=r"'tensorboard' is not installed. Install it \(pip install tensorboard\)"):
        problem.train(tmp_path / "run", train={"trackers": "tensorboard"})
    assert not (tmp_path / "run").exists()
