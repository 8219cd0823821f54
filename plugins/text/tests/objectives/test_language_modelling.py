"""Pretraining of language models."""

import pytest
import torch
from tiny_language_models import recipe_of, small_llama, tokens_of

import limbeck
from limbeck import Batch, Rng
from limbeck.runs.build import weights_of
from limbeck_text.losses.next_token import next_token_mask
from limbeck_text.objectives.language_modelling import LanguageModelling


def objective_of(network):
    objective = LanguageModelling()
    objective.setup(network)
    (phase,) = objective.phases(0)
    return objective, phase


def test_the_loss_is_the_mean_log_likelihood_of_valid_next_tokens():
    network, x0 = small_llama(), tokens_of()
    valid = torch.zeros(4, 12, dtype=torch.bool)
    valid[0, 5:9], valid[2, 1:], valid[3, 0] = True, True, True  # the first token of a row is predicted by nothing
    objective, phase = objective_of(network)
    loss = objective.loss(phase, Batch(x0=x0, loss_mask=valid), Rng(0))
    log_p = network(x0).double().log_softmax(-1)
    chosen = [-log_p[b, k - 1, x0[b, k]] for b in range(4) for k in range(1, 12) if valid[b, k]]
    assert int(loss.count) == len(chosen) == 15
    torch.testing.assert_close(loss.value.double(), torch.stack(chosen).mean(), rtol=1e-5, atol=1e-5)
    assert loss.value > 8.5  # larger than log V: the model is confident and wrong


def test_padding_is_never_learned_even_when_it_looks_like_an_end():
    x0 = tokens_of()
    real = torch.ones_like(x0, dtype=torch.bool)
    real[1, 6:] = False
    batch = Batch(x0=x0, attention_mask=real)
    assert next_token_mask(batch).sum(1).tolist() == [11, 5, 11, 11]
    objective, phase = objective_of(small_llama())
    a = objective.loss(phase, batch, Rng(0)).value
    b = objective.loss(phase, Batch(x0=torch.where(real, x0, 1), attention_mask=real), Rng(0)).value
    assert torch.equal(a, b)


def test_gradients_reach_embedding_and_blocks():
    network = small_llama()
    objective, phase = objective_of(network)
    objective.loss(phase, Batch(x0=tokens_of()), Rng(0)).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())


def test_a_batch_with_nothing_to_learn_is_refused():
    objective, phase = objective_of(small_llama())
    with pytest.raises(ValueError, match="no token of the batch is to be learned"):
        objective.loss(phase, Batch(x0=tokens_of(), loss_mask=torch.zeros(4, 12, dtype=torch.bool)), Rng(0))
    with pytest.raises(ValueError, match=r"the source yields x0 \(4, 1\) torch.int64"):
        objective.loss(phase, Batch(x0=tokens_of(length=1)), Rng(0))


def test_pretraining_lowers_the_loss_and_reports_likelihood(run):
    losses = [line["loss"] for line in run.metrics if "loss" in line]
    assert losses[-1] < losses[0] - 0.3
    (row,) = [row for row in run.evaluation["rows"] if row["role"] == "student"]
    assert 0 < row["metrics"]["nll"] < 8.4 and row["evaluations"] == 8
    assert (run.path / "samples" / "comparison" / "student.png").is_file()


def test_an_interrupted_pretraining_resumes_bitwise(folder, run, tmp_path):
    recipe = recipe_of(folder)
    recipe["evaluate"] = {"metrics": [], "samples": 1, "compare": False, "grid": 0}
    recipe["train"] = {**recipe["train"], "steps": 6}
    limbeck.pretrain(recipe, out=tmp_path / "a", progress=False)
    recipe["train"]["steps"] = 12
    limbeck.pretrain(recipe, out=tmp_path / "a", resume=True, progress=False)
    whole, parts = weights_of(str(run.path)), weights_of(str(tmp_path / "a"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
