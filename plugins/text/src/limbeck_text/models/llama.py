"""Language models of the Llama type on the bundled tokenizer: fresh ones, the bundled teacher and the judge."""

from functools import partial
from importlib import resources
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.export import teacher_files
from limbeck_text.models.language_model import LanguageModel
from limbeck_text.options.models import PydocsLMOptions, PydocsTeacherOptions
from limbeck_text.tokenizers.tokenizer import bundled

TEACHER, JUDGE = "pydocs_lm_teacher.safetensors", "pydocs_lm_judge.safetensors"


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


def pydocs_teacher(**options: Any) -> LanguageModel:
    """The bundled autoregressive teacher, frozen; or the judge; or a file that the exporter `teacher` wrote."""
    chosen = PydocsTeacherOptions(**options)
    name = JUDGE if chosen.judge else TEACHER
    path = chosen.weights or str(resources.files("limbeck_text") / "assets" / name)
    return teacher_files.load(path, pydocs_lm, dropout=0.0)
