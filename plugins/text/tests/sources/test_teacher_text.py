"""Texts that the teacher writes."""

import pytest
import torch
from tiny_language_models import EOS, Sentences, TinyLM, V

import limbeck
from limbeck import Batch
from limbeck_diffusion.sources.sources import rows_of
from limbeck_text.sources.completions import retokenize
from limbeck_text.sources.on_policy import OnPolicySource
from limbeck_text.sources.teacher_text import TeacherTextSource


def test_the_teachers_texts_are_written_once_and_gone_through_epoch_by_epoch():
    teacher = TinyLM(1).freeze()
    source = TeacherTextSource(data=Sentences(), teacher=teacher, count=10, chunk=4, prompt=2)
    texts = source.texts()
    calls = teacher.calls
    epoch = torch.cat([source.batch(5, limbeck.rng(0, step, "generator")).x0 for step in range(2)])
    assert teacher.calls == calls and texts.x0.shape == (10, 6)
    assert sorted(map(tuple, epoch.tolist())) == sorted(map(tuple, texts.x0.tolist()))
    longer = TeacherTextSource(data=Sentences(), teacher=teacher, count=14, chunk=4, prompt=2).texts()
    assert torch.equal(longer.x0[:10], texts.x0)
    other = TeacherTextSource(data=Sentences(), teacher=teacher, count=10, chunk=4, prompt=2, seed=1).texts()
    assert not torch.equal(other.x0, texts.x0)
    fresh = TeacherTextSource(data=Sentences(), teacher=teacher, count=0, prompt=2)
    assert not torch.equal(fresh.batch(4, limbeck.rng(0, 0, "g")).x0, fresh.batch(4, limbeck.rng(0, 1, "g")).x0)


def test_the_teachers_texts_follow_its_distribution():
    teacher = TinyLM(1).freeze()
    source = TeacherTextSource(data=Sentences(rows=1), teacher=teacher, count=4000, chunk=1000, prompt=2, length=1)
    found = torch.bincount(source.texts().x0[:, 2], minlength=V) / 4000
    expected = teacher(Sentences(rows=1).x0[:, :2])[0, -1].softmax(-1)
    torch.testing.assert_close(found.double(), expected.detach(), rtol=0, atol=0.03)


def test_texts_of_a_teacher_with_another_tokenizer_are_retokenized():
    teacher, student = TinyLM(1, letters="cab.").freeze(), TinyLM(2)
    source = TeacherTextSource(data=Sentences(), teacher=teacher, generator=student, count=32, chunk=32, prompt=3)
    limbeck.create("objective", "seq_kd").setup(student, teacher)  # not refused
    texts = source.texts()
    prompts = Sentences().batch(rows_of(limbeck.rng(0, 0, "teacher_text"), 32, 40)).x0[:, :3]
    ended = 0
    for k, (row, real, learned) in enumerate(zip(texts.x0, texts.attention_mask, texts.loss_mask, strict=True)):
        assert row[real & ~learned].tolist() == [i for i in prompts[k].tolist() if i != EOS]  # its end has no letter
        ended += row[learned].tolist()[-1] == EOS
    assert 0 < ended < 32
    batch = Batch(
        x0=torch.tensor([[0, 2, 1, 3, 0]]),
        attention_mask=torch.tensor([[0, 1, 1, 1, 0]]).bool(),
        loss_mask=torch.tensor([[0, 0, 1, 1, 0]]).bool(),
    )
    moved = retokenize(batch, teacher.tokenizer, student.tokenizer)  # 2 is b in cab., and b is 1 in abc.
    assert moved.x0.tolist() == [[1, 0, 3]] and moved.loss_mask.tolist() == [[False, True, True]]


def test_a_source_without_a_partner_that_it_needs_is_refused():
    with pytest.raises(ValueError, match="source 'on_policy' needs generator"):
        OnPolicySource(data=Sentences())
    with pytest.raises(ValueError, match="source 'teacher_text' needs data"):
        TeacherTextSource(teacher=TinyLM(1))
