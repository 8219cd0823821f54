"""Language models of the Llama type on the bundled tokenizer: what the bundled teacher and the judge are built as."""

from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from limbeck_text.models.language_model import LanguageModel
from limbeck_text.options.models import PydocsLMOptions
from limbeck_text.tokenizers.tokenizer import bundled


def pydocs_lm(**options: Any) -> LanguageModel:
    """A fresh Llama-type model on the bundled tokenizer (RMS norms, rotary positions, gated feed-forward)."""
    from transformers import LlamaConfig, LlamaForCausalLM

    chosen = PydocsLMOptions(**options)
    tokenizer = bundled()
    config = LlamaConfig(  # type: ignore[call-arg]
        vocab_size=tokenizer.vocab,
        hidden_size=chosen.hidden,
        num_hidden_layers=chosen.layers,
        num_attention_heads=chosen.heads,
        num_key_value_heads=chosen.heads,
        intermediate_size=chosen.intermediate or 8 * (chosen.hidden // 3),
        max_position_embeddings=chosen.context,
        tie_word_embeddings=chosen.tied,
        attention_dropout=chosen.dropout,
        bos_token_id=None,
        eos_token_id=tokenizer.eos[0],
        pad_token_id=None,  # as a padding index it would keep its embedding from learning
        attn_implementation="eager",  # on a CPU, at such lengths, faster than the fused kernel
    )
    network = LlamaForCausalLM(config)
    if chosen.dropout:
        for module in (network.model.embed_tokens, *(layer.mlp for layer in network.model.layers)):
            module.register_forward_hook(partial(_dropout, chosen.dropout))
    return LanguageModel(network, tokenizer, context=chosen.context)


def _dropout(chance: float, module: nn.Module, given: Any, output: Tensor) -> Tensor:
    return F.dropout(output, chance, module.training)
