"""Sampling from causal language models, token by token."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import LimbeckError
from limbeck.interfaces import Sample, Sampler, unwrap
from limbeck.randomness import Rng
from limbeck_text.models.language_model import LanguageModel
from limbeck_text.options.samplers import AutoregressiveOptions
from limbeck_text.tokenizers.padding import left_padded


class Autoregressive(Sampler):
    """Continues prompts by `steps` tokens with temperature and nucleus sampling (Holtzman et al. 2020).

    `cond` is prompts: tokens (B, P), or a list of texts; None begins a new document. The sample is prompt and
    completion, (B, P + steps); without a prompt the new tokens alone. After an end-of-sequence token a row is padded,
    unless `stop` is false.
    """

    Options = AutoregressiveOptions

    def __init__(self, temperature: float = 1.0, top_p: float = 1.0, stop: bool = True):
        self.options = AutoregressiveOptions(temperature=temperature, top_p=top_p, stop=stop)

    def __call__(
        self,
        predictor: Any,
        cond: Any = None,
        *,
        steps: int,
        rng: Rng,
        batch_size: int | None = None,
        noise: Tensor | None = None,
    ) -> Sample:
        model = _language_model(predictor)
        device = next(model.parameters()).device
        mask = None
        if cond is None:
            prompt = torch.full((batch_size or 1, 1), _start(model), device=device)
        elif isinstance(cond, Tensor):
            prompt = cond.to(device)
        else:
            prompt, mask = left_padded([model.tokenizer.encode(text) for text in cond], model.pad, device)
        tokens, _ = model.generate_tokens(prompt, mask, length=steps, rng=rng, **self.options.model_dump())
        value = tokens[:, 1:] if cond is None else tokens
        return Sample(value=value, at=value, t_from=1.0, t_to=0.0, evaluations=steps)

    def stream(self, model: Any, prompt: Tensor | None = None, *, steps: int, rng: Rng) -> Iterator[int]:
        """New token ids as they are drawn, for one prompt (P,), or for the beginning of a document."""
        model = _language_model(model)
        device = next(model.parameters()).device
        if prompt is None or prompt.numel() == 0:
            prompt = torch.tensor([_start(model)])
        yield from model.stream(prompt.to(device), length=steps, rng=rng, **self.options.model_dump())


def _language_model(model: Any) -> LanguageModel:
    model = unwrap(model)
    if not isinstance(model, LanguageModel):
        raise LimbeckError(
            f"the sampler 'autoregressive' continues prompts with a causal language model; {type(model).__name__} is "
            "none. For masked diffusion use 'ancestral' or 'confidence'"
        )
    return model


def _start(model: LanguageModel) -> int:
    """What a document begins after: the beginning-of-sequence token if there is one, else an end."""
    first = getattr(model.plain.config.get_text_config(), "bos_token_id", None)
    if first is not None and first < model.vocab:
        return int(first)
    if not model.eos:
        raise LimbeckError(
            "this model has neither a beginning- nor an end-of-sequence token, so it cannot begin a text by itself. "
            "Give it a prompt"
        )
    return model.eos[0]
