"""Objectives on next tokens, against enumeration on a language of four tokens, and what they refuse."""

import itertools
import json
import math

import pytest
import torch
from tiny_language_models import Sentences, TinyLM, V, loss_of, make
from torch import nn

import limbeck
from limbeck import Batch
from limbeck.errors import LimbeckError
from limbeck.runs.build import weights_of
from limbeck_text.losses.divergences import log_probs, token_divergence


def brute_kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def distributions(model, tokens):
    return model(tokens)[:, :-1].softmax(-1).tolist()


def test_forward_and_reverse_kl_are_the_mean_over_positions_that_have_a_next_token():
    batch = Sentences().batch(torch.arange(3))
    for name, flip in (("fkl", False), ("rkl", True)):
        objective, student, teacher = make(name, chunk=2)
        p, q = distributions(teacher, batch.x0), distributions(student, batch.x0)
        if flip:
            p, q = q, p
        expected = sum(brute_kl(p[b][i], q[b][i]) for b in range(3) for i in range(5)) / 15
        loss = loss_of(objective, batch)
        assert loss.value.item() == pytest.approx(expected, abs=1e-12) and expected > 0.05
        assert loss.count == 15 and loss.terms["divergence"] == pytest.approx(expected, abs=1e-9)
        loss.backward()
        assert student.weight.grad.abs().max() > 1e-3 and student.embedding.grad.abs().max() > 1e-3
        assert teacher.weight.grad is None and teacher.embedding.grad is None


def test_hintons_objective_is_cross_entropy_and_a_softened_divergence():
    batch = Sentences().batch(torch.arange(3))
    objective, student, teacher = make("kd", divergence={"weight": 0.3, "temperature": 2.0}, ce_weight=0.7)
    z_p, z_q, y = teacher(batch.x0)[:, :-1], student(batch.x0)[:, :-1], batch.x0[:, 1:]
    ce = nn.functional.cross_entropy(z_q.flatten(0, 1), y.flatten())
    p, log_q = (z_p / 2).softmax(-1), (z_q / 2).log_softmax(-1)
    kl = (p * (p.log() - log_q)).sum(-1).mean()
    loss = loss_of(objective, batch)
    assert loss.value.item() == pytest.approx((0.7 * ce + 0.3 * 4 * kl).item(), abs=1e-12)
    assert loss.terms["cross_entropy"] == pytest.approx(ce.item(), abs=1e-9)
    assert loss.terms["divergence"] == pytest.approx(kl.item(), abs=1e-9)


@pytest.mark.parametrize(
    ("kind", "more"), [("skewed_kl", {"skew": 0.3}), ("skewed_reverse_kl", {}), ("total_variation", {})]
)
def test_every_divergence_is_a_kind(kind, more):
    x0 = Sentences().batch(torch.arange(3)).x0
    objective, student, teacher = make("fkl", divergence={"kind": kind, **more})
    p, q = (log_probs(model(x0)[:, :-1]) for model in (teacher, student))
    expected = token_divergence(kind, **more)(p, q).mean().item()
    assert loss_of(objective, Batch(x0=x0)).value.item() == pytest.approx(expected, abs=1e-12) and expected > 0.01


def test_the_ends_of_jsd_are_the_two_kls_and_its_middle_is_bounded():
    batch = Sentences().batch(torch.arange(4))
    values = {beta: loss_of(make("jsd", divergence={"beta": beta})[0], batch).value.item() for beta in (0.0, 0.5, 1.0)}
    assert values[0.0] == loss_of(make("fkl")[0], batch).value.item()
    assert values[1.0] == loss_of(make("rkl")[0], batch).value.item()
    assert 0.001 < values[0.5] < math.log(2)


@pytest.mark.parametrize("name", ["fkl", "rkl", "jsd", "gkd"])
def test_a_student_that_equals_its_teacher_has_no_loss_and_no_gradient(name):
    objective, student, _ = make(name, teacher_seed=1, student_seed=1)
    loss = loss_of(objective, Sentences().batch(torch.arange(4)))
    loss.backward()
    assert abs(loss.value.item()) < 1e-15 and student.weight.grad.abs().max() < 1e-15


def sequences():
    """Every text of two tokens after the prompt `a`, with its probability under a model."""
    x0 = torch.tensor([[0, i, j] for i, j in itertools.product(range(V), repeat=2)])
    return x0, torch.tensor([[False, True, True]]).expand(len(x0), -1)


def probability(model, x0):
    log_p = model(x0)[:, :-1].log_softmax(-1).gather(-1, x0[:, 1:, None]).squeeze(-1)
    return log_p.sum(1).exp().detach()


def test_on_policy_distillation_has_the_exact_expectation_over_the_students_texts():
    # E_{y ~ q} mean_t KL(p(.|y_<t) || q(.|y_<t)), no gradient through q's choice of y
    objective, student, teacher = make("gkd", divergence={"beta": 0.0})
    x0, mask = sequences()
    q_y = probability(student, x0)
    loss = loss_of(objective, Batch(x0=x0, loss_mask=mask, weight=q_y))
    z_p, z_q = teacher(x0)[:, :-1].detach(), student(x0)[:, :-1]
    kl = (z_p.softmax(-1) * (z_p.log_softmax(-1) - z_q.log_softmax(-1))).sum(-1).mean(1)
    expected = (q_y * kl).sum()
    assert q_y.sum() == pytest.approx(1.0, abs=1e-12) and loss.count is None
    assert loss.value.item() == pytest.approx(expected.item(), abs=1e-12)
    (ours,) = torch.autograd.grad(loss.value, student.weight)
    (theirs,) = torch.autograd.grad(expected, student.weight)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)
    assert theirs.abs().max() > 1e-3


def test_sequence_distillation_less_the_teachers_entropy_is_the_kl_of_sequences():
    objective, student, teacher = make("seq_kd")
    x0, mask = sequences()
    p_y, q_y = probability(teacher, x0), probability(student, x0)
    loss = loss_of(objective, Batch(x0=x0, loss_mask=mask, weight=p_y))
    entropy = -(p_y * p_y.log()).sum()
    kl = (p_y * (p_y / q_y).log()).sum()
    assert (2 * loss.value - entropy).item() == pytest.approx(kl.item(), abs=1e-12) and kl > 0.05


def test_prompts_and_padding_do_not_count_on_either_side():
    objective, student, teacher = make("fkl")
    x0 = torch.tensor([[0, 0, 2, 1, 3, 0], [1, 2, 3, 1, 0, 0]])
    attention = torch.tensor([[0, 0, 1, 1, 1, 0], [1, 1, 1, 1, 0, 0]]).bool()
    learned = torch.tensor([[0, 0, 0, 0, 1, 0], [0, 0, 1, 1, 0, 0]]).bool()
    for loss_mask, expected in ((learned, [(0, 3), (1, 1), (1, 2)]), (None, [(0, 2), (0, 3), (1, 0), (1, 1), (1, 2)])):
        loss = loss_of(objective, Batch(x0=x0, attention_mask=attention, loss_mask=loss_mask))
        p = teacher(x0, attention)[:, :-1].softmax(-1).tolist()
        q = student(x0, attention)[:, :-1].softmax(-1).tolist()
        mean = sum(brute_kl(p[b][i], q[b][i]) for b, i in expected) / len(expected)
        assert loss.count == len(expected) and loss.value.item() == pytest.approx(mean, abs=1e-12)


def test_empty_completions_are_counted_and_a_batch_of_nothing_else_is_refused():
    objective, student, _ = make("fkl")
    x0 = Sentences().batch(torch.arange(4)).x0
    learned = torch.ones_like(x0, dtype=torch.bool)
    learned[0] = learned[2] = False
    loss = loss_of(objective, Batch(x0=x0, loss_mask=learned))
    assert loss.terms["empty_rows"] == 0.5 and loss.count == 10
    full = loss_of(objective, Batch(x0=x0[[1, 3]]))
    assert loss.value.item() == pytest.approx(full.value.item(), abs=1e-12) and full.terms["empty_rows"] == 0
    nothing = Batch(x0=x0, loss_mask=torch.zeros_like(learned))
    with pytest.raises(
        LimbeckError, match="none of the 4 sequences of this batch has a token to learn: every completion"
    ):
        loss_of(objective, nothing)
    (phase,) = objective.phases(0)  # a part of a batch may be empty: the others have tokens
    part = objective.loss(phase, nothing, limbeck.rng(0, 0, phase, part=1, parts=2))
    part.backward()
    assert part.value == 0 and part.count == 0 and (student.weight.grad == 0).all()


@pytest.mark.parametrize("name", ["fkl", "gkd"])
def test_accumulation_equals_one_batch_when_completions_are_uneven(tmp_path, name):
    objective = {"use": name} | ({"student_fraction": 1.0} if name == "gkd" else {})

    def train(folder, accumulate):
        limbeck.distill(
            {
                "name": "tiny", "teacher": TinyLM(1), "generator": {"use": TinyLM(2), "init": "random"},
                "objective": objective, "data": Sentences(masks=True),
                "train": {
                    "steps": 4, "batch_size": 8, "lr": 0.1, "optimizer": "sgd", "accumulate": accumulate,
                    "log_every": 1,
                },
                "sampling": None, "evaluate": {"metrics": [], "compare": False, "grid": 0, "samples": 1},
                "report": {"write": False},
            },
            out=tmp_path / folder, progress=False,
        )  # fmt: skip
        return weights_of(str(tmp_path / folder))

    whole, again, parts = train("whole", 1), train("again", 1), train("parts", 4)
    for key, tensor in whole.items():
        assert torch.equal(again[key], tensor)  # the student's own texts, too, are a function of the seed
        torch.testing.assert_close(parts[key], tensor, rtol=0, atol=1e-7)
        assert (tensor - TinyLM(2).state_dict()[key]).abs().max() > 1e-3
    rows = [json.loads(line) for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    assert all("divergence" in row and "empty_rows" in row for row in rows if "loss" in row)


@pytest.mark.parametrize("name", ["gkd", "seq_kd"])
def test_a_run_on_generated_texts_goes_on_where_it_stopped_bit_by_bit(tmp_path, name):
    """gkd draws texts of its own student, seq_kd the teacher's: neither may depend on what was drawn before."""

    def train(folder, steps, resume=False):
        limbeck.distill(
            {
                "name": "tiny", "teacher": TinyLM(1), "generator": {"use": TinyLM(2), "init": "random"},
                "objective": name, "data": Sentences(masks=True),
                "train": {"steps": steps, "batch_size": 4, "lr": 0.05, "log_every": 1},
                "sampling": None, "evaluate": {"metrics": [], "compare": False, "grid": 0, "samples": 1},
                "report": {"write": False},
            },
            out=tmp_path / folder, progress=False, resume=resume,
        )  # fmt: skip
        return weights_of(str(tmp_path / folder))

    calm, half = train("calm", 6), train("stopped", 3)
    whole = train("stopped", 6, resume=True)
    assert all(torch.equal(whole[key], tensor) for key, tensor in calm.items())
    assert any((whole[key] - tensor).abs().max() > 1e-4 for key, tensor in half.items())


def test_a_teacher_that_returns_nan_is_named_with_the_number_of_tokens():
    objective, student, teacher = make("fkl")
    x0 = torch.tensor([[0, 1, 2, 1], [1, 2, 2, 0]])
    with torch.no_grad():
        teacher.embedding[0] = float("nan")  # row 0 begins with it
    with pytest.raises(
        LimbeckError, match=r"the teacher \(TinyLM\) returned logits that are not finite for 3 of 6 tokens"
    ):
        loss_of(objective, Batch(x0=x0))


def test_a_student_that_returns_nan_is_left_to_the_engine():
    objective, student, _ = make("fkl")
    with torch.no_grad():
        student.weight[0] = float("nan")
    assert not loss_of(objective, Sentences().batch(torch.arange(2))).value.isfinite()


@pytest.mark.parametrize("name", ["kd", "fkl", "rkl", "jsd", "gkd"])
def test_models_with_different_tokenizers_are_refused(name):
    objective = limbeck.create("objective", name)
    with pytest.raises(LimbeckError, match="use different tokenizers"):
        objective.setup(TinyLM(2), TinyLM(1, letters="abcd."))


@pytest.mark.parametrize("name", ["kd", "fkl", "rkl", "jsd", "gkd"])
def test_a_divergence_without_a_teacher_is_refused(name):
    with pytest.raises(ValueError, match="compares with a teacher, and was given none: add a `teacher:` block"):
        limbeck.create("objective", name).setup(TinyLM(2))


def test_data_that_is_no_text_is_refused():
    objective, *_ = make("fkl")
    for x0, given in (
        (None, "nothing"),
        (torch.zeros(2, 3), "torch.float32"),
        (torch.zeros(2, dtype=torch.int64), r"\(2,\)"),
    ):
        with pytest.raises(ValueError, match=f"learns from token ids .*{given}"):
            loss_of(objective, Batch(x0=x0))
    with pytest.raises(ValueError, match="sequences of 1 have none"):
        loss_of(objective, Batch(x0=torch.zeros(2, 1, dtype=torch.int64)))
