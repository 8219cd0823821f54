"""The masked-diffusion transformer, its components and its bundled teacher."""

import json

import pytest
import torch

import limbeck
from limbeck.interfaces import Space
from limbeck.process.categorical import MaskedProcess
from limbeck.testing.conformance import GeneratorConformance, TeacherConformance
from limbeck_text.metrics.likelihood_bound import NLLBound
from limbeck_text.models.masked_transformer import MaskedTransformer, pydocs_masked, rotary, rotate

ABILITIES = {"categorical", "denoiser", "features", "trainable_copy", "sampling"}


def tiny(seed=0, vocab=11, length=12, **options):
    limbeck.rng(seed).seed_globally()
    space = Space((length,), domain="tokens")
    return MaskedTransformer(MaskedProcess(vocab), space, **{"hidden": 16, "layers": 2, "heads": 2, **options})


def test_predictions_see_both_sides_and_not_the_time():
    model = tiny().eval()
    xt = torch.tensor([[1, 2, 11, 4, 11, 6]])
    logits = model(xt, torch.tensor([0.3])).logits
    assert logits.shape == (1, 6, 11)
    assert torch.equal(model(xt, torch.tensor([0.9])).logits, logits)
    for place in (0, 5):  # before and behind the mask at 2
        other = xt.clone()
        other[0, place] = 9
        assert not torch.allclose(model(other, torch.tensor([0.3])).logits[0, 2], logits[0, 2])


def test_rotary_scores_depend_on_the_distance_only():
    table = rotary(10, 8)
    q, k = torch.randn(8), torch.randn(8)
    scores = rotate(q.expand(1, 1, 10, 8), table)[0, 0] @ rotate(k.expand(1, 1, 10, 8), table)[0, 0].T
    torch.testing.assert_close(scores[2, 5], scores[4, 7], atol=1e-5, rtol=1e-5)
    assert abs(float(scores[2, 5] - scores[2, 6])) > 1e-3


def test_the_head_is_the_embedding_and_the_mask_is_never_predicted():
    model = tiny()
    assert model.embedding.weight.shape == (12, 16) and model.process.mask_id == 11
    logits = model(torch.full((2, 5), 11), torch.ones(2)).logits
    logits.square().sum().backward()
    assert bool((model.embedding.weight.grad[:11].abs().sum(1) > 0).all())
    assert not any(p.shape == (11, 16) for p in model.parameters())


def test_a_longer_sequence_than_the_context_is_refused():
    with pytest.raises(ValueError, match="13 tokens is longer than the context of 12"):
        tiny()(torch.zeros(1, 13, dtype=torch.int64), torch.ones(1))
    with pytest.raises(ValueError, match="multiple of 2 \\* heads"):
        tiny(hidden=18)


def test_the_generator_fits_the_bundled_tokenizer():
    model = pydocs_masked(hidden=32, layers=1, heads=2, length=16)
    assert model.process == MaskedProcess(4096) and model.space.event == (16,) and model.space.domain == "tokens"
    (text,) = model.space.codec.decode(torch.tensor([[4096] * 16]))
    assert len(text) == 16  # a shade for every mask


def test_the_bundled_teacher_is_frozen_and_as_good_as_its_provenance_states():
    teacher = limbeck.create("teacher", "text/pydocs_masked")
    assert not teacher.training and not any(p.requires_grad for p in teacher.parameters())
    assert 1_500_000 < sum(p.numel() for p in teacher.parameters()) < 2_300_000
    assert "PSF" in teacher.provenance["data"]
    stated = teacher.provenance["evaluation"][0]["metrics"]["nll_bound"]
    data = limbeck.create("data", "text/pydocs")
    found = NLLBound(windows=48, draws=1)(teacher, None, data)["nll_bound"]
    assert found == pytest.approx(stated, abs=0.3)  # 48 of the windows, one corruption of each
    assert found < 6.2  # where everything is masked it pays 6.6


@pytest.mark.slow
def test_a_student_of_the_bundled_teacher_learns_for_a_step(tmp_path):
    run = limbeck.distill(
        "pydocs_sdtt",
        out=tmp_path / "run",
        train={"steps": 1, "batch_size": 2, "precision": "no", "checkpoint": {"every": 1}},
        data={"use": "text/pydocs", "length": 16},
        evaluate={"samples": 4, "batch_size": 4, "grid": 2, "metrics": ["token_entropy"]},
        sampling={"use": "ancestral", "steps": 2},
    )
    rows = {row["role"]: row for row in json.loads((run.path / "evaluation.json").read_text())["rows"]}
    assert (rows["teacher"]["steps"], rows["student"]["steps"], rows["teacher_cut"]["steps"]) == (16, 2, 2)
    assert len(run.sample(2).seen()) == 2 and all(isinstance(text, str) for text in run.sample(2).seen())


class TestTransformer(GeneratorConformance):
    can = ABILITIES

    def make(self):
        return tiny(length=6)


class TestTeacher(TeacherConformance):
    can = ABILITIES

    def make(self):
        return tiny(length=6).freeze()
