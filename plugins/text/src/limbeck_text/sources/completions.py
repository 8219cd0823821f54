"""Completions of real beginnings by a language model, as batches to learn from.

A beginning is what a row's `loss_mask` leaves out before its first learned token; where the data has no prompts, the
first `prompt` tokens of a row. Letters: B batch, P prompt, L sequence.
"""

from typing import Any

import torch
from torch import Tensor, nn

from limbeck.errors import LimbeckError
from limbeck.interfaces import Batch, unwrap
from limbeck.networks.sharding import unsharded
from limbeck.randomness import Rng
from limbeck.sampling.samples import evaluating
from limbeck_text.tokenizers.padding import left_padded, moved_to_left


def prompts_of(batch: Batch, prompt: int) -> tuple[Tensor, Tensor]:
    """The beginnings of a batch, padded on the left: tokens (B, P) and mask (B, P), true where a token is real."""
    assert batch.x0 is not None
    tokens, length = batch.x0, batch.x0.shape[1]
    if batch.loss_mask is None and batch.attention_mask is None:
        if prompt >= length:
            raise LimbeckError(
                f"a prompt of {prompt} tokens leaves nothing to complete in sequences of {length}. Use a shorter "
                "prompt, or longer windows (data.length)"
            )
        return tokens[:, :prompt], torch.ones_like(tokens[:, :prompt], dtype=torch.bool)
    real = torch.ones_like(tokens) if batch.attention_mask is None else batch.attention_mask
    if batch.loss_mask is None:
        begins = (real.cumsum(1) <= prompt) & real.bool()
    else:
        begins = (batch.loss_mask.cumsum(1) == 0) & real.bool()
    found = [row[chosen].tolist() for row, chosen in zip(tokens, begins, strict=True)]
    if empty := [i for i, row in enumerate(found) if not row]:
        raise LimbeckError(
            f"row {empty[0]} of the batch has an empty prompt ({len(empty)} of {len(found)} have): a language model "
            "continues at least one token. Leave such rows out of the data, or begin them with the model's first token"
        )
    return left_padded(found, 0, tokens.device)


@torch.no_grad()
def complete(
    model: nn.Module, prompt: Tensor, prompt_mask: Tensor, *, length: int, temperature: float, top_p: float, rng: Rng
) -> Batch:
    """Completions of prompts (B, P) by a language model in evaluation mode.

    Returns:
        Batch with x0 (B, P + length); attention_mask is true on prompts and completions, loss_mask on completions. The
        end-of-sequence token of a completion is learned; the padding behind it is not.
    """
    writer: Any = unwrap(model)
    context = getattr(writer, "context", None)
    if context is not None and prompt.shape[1] + length > context:
        raise LimbeckError(
            f"a prompt of {prompt.shape[1]} tokens and {length} to complete it are {prompt.shape[1] + length}, and the "
            f"model's context is {context}. Use shorter prompts, or a smaller length"
        )
    with unsharded(writer), evaluating(writer):  # rows end after different numbers of calls in every process
        tokens, real = writer.generate_tokens(
            prompt, prompt_mask, length=length, temperature=temperature, top_p=top_p, rng=rng
        )
    learned = real.bool().clone()
    learned[:, : prompt.shape[1]] = False
    return Batch(x0=tokens, attention_mask=real.bool(), loss_mask=learned)


def retokenize(batch: Batch, own: Any, other: Any) -> Batch:
    """Prompts and completions in the ids of another tokenizer: the same text.

    Prompt and completion are encoded apart, so that no token spans both.
    """
    assert batch.x0 is not None and batch.attention_mask is not None and batch.loss_mask is not None
    rows, learned = [], []
    for tokens, real, wanted in zip(batch.x0, batch.attention_mask, batch.loss_mask, strict=True):
        written = tokens[wanted].tolist()
        begin = other.encode(own.decode(tokens[real & ~wanted].tolist()))
        ended = bool(written) and written[-1] in own.eos
        end = other.encode(own.decode(written)) + (list(other.eos[:1]) if ended else [])
        rows.append(begin + end)
        learned.append([0] * len(begin) + [1] * len(end))
    x0, real = left_padded(rows, other.pad, batch.x0.device)
    wanted, _ = left_padded(learned, 0, batch.x0.device)
    return Batch(x0=x0, attention_mask=real, loss_mask=wanted.bool())


def at_most(batch: Batch, length: int) -> Batch:
    """Sequences cut to their first `length` real tokens: a row does not depend on the prompts beside it."""
    assert batch.x0 is not None and batch.attention_mask is not None and batch.loss_mask is not None
    if batch.x0.shape[1] <= length:
        return batch
    real = batch.attention_mask & (batch.attention_mask.cumsum(1) <= length)
    moved = moved_to_left(real, batch.x0, batch.loss_mask & real)
    real, x0, learned = (x[:, -length:] for x in moved)
    return Batch(x0=x0, attention_mask=real, loss_mask=learned)


__all__ = ["at_most", "complete", "prompts_of", "retokenize"]
