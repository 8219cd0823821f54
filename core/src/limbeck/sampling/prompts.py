"""Models of tokens continue prompts: from a text to the tokens that a sampler begins with, and back while it writes."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import RecipeError
from limbeck.interfaces import Sampler, Space
from limbeck.randomness import Rng
from limbeck.sampling.samples import device_of, evaluating

UNFINISHED = "\ufffd"  # what decoders write for the first bytes of a character


def writes(space: Space) -> bool:
    """Whether samples of this space are texts."""
    return space.domain == "tokens"


def encode(space: Space, prompt: str) -> Tensor:
    """The tokens of one prompt, (P,) int64. Raises RecipeError for a prompt without tokens."""
    found: Any = space.codec.encode([prompt])  # type: ignore[arg-type]
    tokens = found[0] if isinstance(found, tuple) else found
    if not prompt or tokens.numel() == 0:
        raise RecipeError(
            "the prompt is empty: a model continues at least one token. Give some text, or leave the prompt out to let "
            "it begin by itself"
        )
    return tokens[0]


def room(network: Any, prompt: Tensor | None, steps: int | None, usual: int, *, streams: bool) -> int:
    """Steps of the sampler: those given, else the usual ones as far as the context has room for them.

    Args:
        streams: a step writes one token behind the prompt; otherwise steps fill the context however many they are.
    """
    context = network.space.event[0]
    size = 0 if prompt is None else len(prompt)
    if size >= context:
        raise RecipeError(f"the prompt has {size} tokens, and the model's context {context}: shorten it")
    if not streams:
        return steps or usual
    if steps is not None and size + steps > context:
        raise RecipeError(
            f"the prompt has {size} tokens; {steps} more do not fit into the model's context of {context}. "
            f"Take at most {context - size} (--steps), or shorten the prompt"
        )
    return steps or min(usual, context - size)


def stream(
    network: Any, sampler: Sampler, prompt: Tensor | None, *, steps: int, seed: int = 0, number: int = 0
) -> Iterator[str]:
    """Pieces of the text that continues a prompt (P,), or begins by itself, as soon as they are certain.

    The sampler has `stream(network, prompt, steps=, rng=)`, which yields token ids. Text `number` of a seed does not
    depend on how many are written.
    """
    device, codec = device_of(network), network.space.codec
    rng = Rng(seed, step=number, phase="evaluation", device=device)
    ids: list[int] = [] if prompt is None else prompt.tolist()
    written = codec.decode(torch.tensor([ids]))[0] if ids else ""
    given = None if prompt is None else prompt.to(device)
    with evaluating(network):
        for token in sampler.stream(network, given, steps=steps, rng=rng):  # type: ignore[attr-defined]
            ids.append(int(token))
            text = codec.decode(torch.tensor([ids]))[0]
            if text.endswith(UNFINISHED) or not text.startswith(written):
                continue  # in the middle of a character
            yield text[len(written) :]
            written = text
    text = codec.decode(torch.tensor([ids]))[0] if ids else ""
    if text.startswith(written) and len(text) > len(written):
        yield text[len(written) :]
