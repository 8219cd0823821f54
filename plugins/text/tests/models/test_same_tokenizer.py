"""Two models of one tokenizer, or of two."""

import pytest
import torch
import transformers
from tiny_transformers import SMALL, Words, build

from limbeck.errors import LimbeckError
from limbeck_text.models.language_model import LanguageModel
from limbeck_text.models.llama import pydocs_lm
from limbeck_text.models.same_tokenizer import check_same_tokenizer
from limbeck_text.tokenizers.tokenizer import wrap
from limbeck_text.tokenizers.train import train


def test_models_of_one_tokenizer_may_pad_their_vocabulary_differently():
    check_same_tokenizer(LanguageModel(build("llama"), Words()), LanguageModel(build("qwen2_padded"), Words()))


def test_another_tokenizer_is_refused_with_an_example():
    teacher = pydocs_lm(hidden=16, layers=1, heads=2)
    other = train(["other words altogether"] * 3, vocab=270)
    wrapped = wrap(transformers.PreTrainedTokenizerFast(tokenizer_object=other, pad_token="<pad>", eos_token="<eos>"))
    config = transformers.LlamaConfig(vocab_size=270, **SMALL, num_key_value_heads=1)
    student = LanguageModel(transformers.LlamaForCausalLM(config), wrapped)
    with pytest.raises(LimbeckError, match=r"different tokenizers: 4096 and \d+ tokens; 'Return the string.' is \["):
        check_same_tokenizer(teacher, student)
    with pytest.raises(LimbeckError, match="has no tokenizer"):
        check_same_tokenizer(torch.nn.Linear(1, 1), teacher)
