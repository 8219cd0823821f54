"""Causal language models that `transformers` loads: from a folder, or from the hub."""

from typing import Any

import torch

from limbeck.errors import LimbeckError
from limbeck.sampling.samples import evaluating
from limbeck_text.models.language_model import LanguageModel
from limbeck_text.options.models import CausalLMOptions
from limbeck_text.tokenizers.tokenizer import wrap


def causal_lm(**options: Any) -> LanguageModel:
    """Any causal language model that `transformers` loads, with its tokenizer and all its end-of-sequence tokens."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    chosen = CausalLMOptions(**options)
    more: dict[str, Any] = {"revision": chosen.revision} if chosen.revision else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(chosen.model, **more)
        if chosen.attention is not None:
            more["attn_implementation"] = chosen.attention
        model = AutoModelForCausalLM.from_pretrained(chosen.model, dtype=getattr(torch, chosen.dtype), **more)
    except (OSError, ValueError) as err:
        raise LimbeckError(
            f"text/causal_lm could not load {chosen.model!r}: {err}\nGive a folder written by save_pretrained that "
            "holds model and tokenizer, or the id of one on the hub (network access is needed then)"
        ) from err
    language_model = LanguageModel(model, wrap(tokenizer, _ends(model)), context=chosen.context)
    check_head(language_model)
    return language_model


def _ends(model: Any) -> list[int]:
    """End-of-sequence ids of the generation configuration: one, several, or none."""
    found = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return [] if found is None else [found] if isinstance(found, int) else list(found)


def check_head(model: LanguageModel, tolerance: float = 1e-3) -> None:
    """Compare our logits with the model's own on two tokens: an architecture may transform them in a way that `Head`
    lacks.

    Raises:
        LimbeckError: they differ by more than `tolerance`, relative to the largest.
    """
    tokens = torch.tensor([[0, min(1, model.vocab - 1)]], device=next(model.parameters()).device)
    with evaluating(model):
        ours, theirs = model(tokens).float(), model.plain(input_ids=tokens).logits[..., : model.vocab].float()
    if not torch.allclose(ours, theirs, rtol=tolerance, atol=tolerance * max(1.0, float(theirs.abs().max()))):
        raise LimbeckError(
            f"{type(model.plain).__name__} transforms its logits in a way this adapter lacks: they differ by "
            f"{float((ours - theirs).abs().max()):.2g} from head(hidden). Known: bias, final_logit_softcapping, "
            "logit_scale, logits_scaling"
        )
