"""Fresh models of the Llama type, and the bundled ones."""

import pytest
import torch
from tiny_transformers import some_tokens

import limbeck
from limbeck_text.metrics.likelihood import NLL
from limbeck_text.models.llama import pydocs_lm
from limbeck_text.tokenizers.codec import TextCodec
from limbeck_text.tokenizers.tokenizer import bundled


def test_dropout_acts_while_training_only():
    model = pydocs_lm(hidden=16, layers=1, heads=2, dropout=0.5).train()
    tokens = some_tokens()
    torch.manual_seed(0)
    assert not torch.allclose(model(tokens), model(tokens))
    model.eval()
    assert torch.equal(model(tokens), model(tokens))


@pytest.mark.parametrize(("name", "at_most"), [("pydocs_lm", 4.3), ("pydocs_lm_judge", 4.8)])
def test_bundled_models_are_as_good_as_their_provenance_states(name, at_most):
    made = limbeck.create("teacher", f"text/{name}")
    (row,) = [row for row in made.provenance["evaluation"] if row["name"] == "model"]
    assert row["metrics"]["nll"] < at_most
    data = limbeck.create("data", "text/pydocs", length=160)
    with torch.no_grad():
        found = NLL(windows=12)(made, None, data)["nll"]
    assert found == pytest.approx(row["metrics"]["nll"], abs=0.5)  # twelve windows of a hundred
    assert not any(p.requires_grad for p in made.parameters())
    assert TextCodec(bundled()).decode(torch.tensor([[1]])) == [""]
