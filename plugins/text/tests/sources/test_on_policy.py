"""Texts that the student writes."""

import torch
from tiny_language_models import Sentences, TinyLM, loss_of, make

import limbeck
from limbeck import Batch
from limbeck_diffusion.sources.sources import rows_of
from limbeck_text.sources.on_policy import OnPolicySource


def test_the_share_of_batches_that_the_student_writes_is_the_fraction_asked_for():
    objective, student, teacher = make("gkd", student_fraction=0.3)
    source = OnPolicySource(data=Sentences(), generator=student, teacher=teacher, objective=objective, prompt=2)
    written = sum(source.batch(2, limbeck.rng(0, step, "generator")).loss_mask is not None for step in range(400))
    assert 0.3 - 0.07 < written / 400 < 0.3 + 0.07  # three standard deviations
    for fraction, expected in ((0.0, 0), (1.0, 20)):
        always = OnPolicySource(data=Sentences(), generator=student, student_fraction=fraction, prompt=2)
        assert sum(always.batch(2, limbeck.rng(0, s, "g")).loss_mask is not None for s in range(20)) == expected


def test_texts_of_the_student_are_a_function_of_the_draws_and_do_not_depend_on_how_a_batch_is_split():
    student = TinyLM(2).train()
    source = OnPolicySource(data=Sentences(), generator=student, student_fraction=1.0, prompt=2)
    whole = source.batch(8, limbeck.rng(0, 3, "generator"))
    again = source.batch(8, limbeck.rng(0, 3, "generator"))
    parts = [source.batch(4, limbeck.rng(0, 3, "generator", part=k, parts=2)) for k in range(2)]
    assert torch.equal(whole.x0, again.x0) and student.training
    assert torch.equal(whole.x0, torch.cat([part.x0 for part in parts]))
    assert not torch.equal(whole.x0, source.batch(8, limbeck.rng(0, 4, "generator")).x0)
    assert torch.equal(whole.x0[:, :2], Sentences().batch(rows_of(limbeck.rng(0, 3, "generator"), 8, 40)).x0[:, :2])


def test_the_students_own_texts_are_learned_from_without_a_gradient_through_their_choice():
    objective, student, teacher = make("gkd", student_fraction=1.0, divergence={"beta": 0.0})
    source = OnPolicySource(data=Sentences(), generator=student, teacher=teacher, objective=objective, prompt=2)
    batch = source.batch(6, limbeck.rng(0, 0, "generator"))
    loss = loss_of(objective, batch)
    fixed = Batch(x0=batch.x0.clone(), attention_mask=batch.attention_mask, loss_mask=batch.loss_mask)
    (ours,) = torch.autograd.grad(loss.value, student.weight)
    (theirs,) = torch.autograd.grad(loss_of(objective, fixed).value, student.weight)
    assert torch.equal(ours, theirs) and ours.abs().max() > 1e-4
