"""Models from folders of transformers."""

import pytest
import torch
import transformers
from tiny_transformers import SMALL, Words, build, some_tokens

from limbeck.errors import LimbeckError
from limbeck.recipe import load
from limbeck.runs.build import build as build_recipe
from limbeck_text.models.language_model import LanguageModel
from limbeck_text.models.llama import pydocs_lm
from limbeck_text.models.loading import causal_lm, check_head
from limbeck_text.models.same_tokenizer import check_same_tokenizer
from limbeck_text.tokenizers.tokenizer import bundled
from limbeck_text.tokenizers.train import train


def test_an_architecture_that_changes_its_logits_otherwise_is_found_out():
    model = LanguageModel(build("llama"), Words())
    check_head(model)
    model.scale = 1.5
    with pytest.raises(LimbeckError, match="transforms its logits in a way this adapter lacks"):
        check_head(model)


def test_data_of_another_tokenizer_is_refused_before_the_first_step(tmp_path):
    config = transformers.LlamaConfig(vocab_size=270, **SMALL, num_key_value_heads=1)
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path)
    other = train(["other words altogether"] * 3, vocab=270)
    transformers.PreTrainedTokenizerFast(tokenizer_object=other, pad_token="<pad>", eos_token="<eos>").save_pretrained(
        tmp_path
    )
    recipe = {
        "name": "mixed",
        "generator": {"use": "text/causal_lm", "model": str(tmp_path)},
        "objective": "language_modelling",
        "data": {"use": "text/pydocs", "length": 16},
        "train": {"steps": 1, "batch_size": 1},
    }
    with pytest.raises(LimbeckError, match="use different tokenizers, so the ids of one mean other words"):
        build_recipe(load(recipe))


def test_a_folder_of_transformers_is_loaded_with_all_its_ends(tmp_path):
    config = transformers.LlamaConfig(vocab_size=4160, **SMALL, num_key_value_heads=2, max_position_embeddings=64)
    model = transformers.LlamaForCausalLM(config)  # 64 rows of padding
    model.generation_config.eos_token_id = [1, 9]
    model.save_pretrained(tmp_path)
    bundled().as_transformers().save_pretrained(tmp_path)
    loaded = causal_lm(model=str(tmp_path))
    assert (loaded.vocab, loaded.eos, loaded.pad, loaded.context) == (4096, (1, 9), 0, 64)
    tokens = some_tokens()
    with torch.no_grad():
        torch.testing.assert_close(loaded.eval()(tokens), model.eval()(input_ids=tokens).logits[..., :4096])
    check_same_tokenizer(loaded, pydocs_lm(hidden=16, layers=1, heads=2))


def test_a_folder_without_a_model_says_what_to_give(tmp_path):
    with pytest.raises(LimbeckError, match="(?s)could not load .*folder written by save_pretrained"):
        causal_lm(model=str(tmp_path))
