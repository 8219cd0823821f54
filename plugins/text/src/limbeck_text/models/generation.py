"""Completion of prompts by a causal language model, token by token.

Letters: B batch, P prompt, L sequence, V true vocabulary, H hidden width.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.errors import LimbeckError
from limbeck.process.categorical import draw, probabilities
from limbeck.randomness import Rng
from limbeck.sampling.samples import evaluating
from limbeck_text.losses.head import Head
from limbeck_text.tokenizers.padding import moved_to_left


class TokenByToken(nn.Module):
    """A network that completes prompts; a subclass has a body, a head, a context and its special tokens.

    context: longest sequence. pad: the id behind a row that has ended. eos: ids that end a row.
    """

    context: int
    pad: int
    eos: tuple[int, ...]

    def head(self) -> Head:
        """From hidden states (..., H) to logits (..., V)."""
        raise NotImplementedError

    def body(self, tokens: Tensor, mask: Tensor | None, **more: Any) -> Any:
        """Everything below the head: an output with `last_hidden_state` (B, L, H) and `past_key_values`. With a cache,
        `mask` (B, cached + L) covers what is cached."""
        raise NotImplementedError

    def generate_tokens(
        self,
        prompt: Tensor,
        prompt_mask: Tensor | None = None,
        *,
        length: int,
        temperature: float = 1.0,
        top_p: float = 1.0,
        rng: Rng,
        stop: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Complete prompts by `length` tokens, with a key-value cache and without gradients or dropout.

        Args:
            prompt: (B, P), padded on either side; prompt_mask: (B, P), true where a token is real (all when None).
            temperature: 0 is greedy. top_p: nucleus, see `limbeck.process.categorical.nucleus`.
            rng: draws uniform "token/0", "token/1", ...
            stop: a row ends after an end-of-sequence token; what follows is padding.

        Returns:
            tokens (B, P + length), the prompts (moved against their completions) included, and mask (B, P + length),
            true where a token is real, the one that ended a row included.
        """
        if prompt_mask is None:
            prompt_mask = torch.ones_like(prompt, dtype=torch.bool)
        self._check_prompt(prompt, prompt_mask.bool(), length)
        mask, prompt = moved_to_left(prompt_mask.bool(), prompt)
        alive = torch.ones(len(prompt), dtype=torch.bool, device=prompt.device)
        ends = torch.tensor(self.eos, device=prompt.device)
        pieces, given, cache = [prompt], prompt, None
        with evaluating(self):
            for k in range(length):
                if not bool(alive.any()):
                    rest = prompt.new_full((len(prompt), length - k), self.pad)
                    pieces.append(rest)
                    mask = torch.cat([mask, torch.zeros_like(rest, dtype=torch.bool)], dim=1)
                    break
                # a row that has ended still needs one token to attend to; its result is not used
                attended = mask if k == 0 else torch.cat([mask[:, :-1], torch.ones_like(mask[:, -1:])], dim=1)
                p, cache = self._next(given, attended, cache, temperature, top_p)  # (B, V)
                if not bool(torch.isfinite(p).all()):
                    raise LimbeckError(
                        f"the model's logits are not finite at new token {k}: its weights are broken, or too large for "
                        "the type it runs in. Try float32"
                    )
                token = draw(p, rng.uniform(f"token/{k}", (len(prompt),), torch.float64).to(p.device))
                token = torch.where(alive, token, self.pad)
                pieces.append(token[:, None])
                mask = torch.cat([mask, alive[:, None]], dim=1)
                if stop:
                    alive = alive & ~torch.isin(token, ends)
                given = token[:, None]
        return torch.cat(pieces, dim=1), mask

    def stream(
        self, prompt: Tensor, *, length: int, temperature: float = 1.0, top_p: float = 1.0, rng: Rng, stop: bool = True
    ) -> Iterator[int]:
        """Token ids as they are drawn, for one prompt (P,) or (1, P); the same ones as `generate_tokens` draws.

        It ends after `length` tokens, or before an end-of-sequence token.
        """
        given = prompt.reshape(1, -1)
        self._check_prompt(given, torch.ones_like(given, dtype=torch.bool), length)
        cache = None
        for k in range(length):
            with evaluating(self):
                p, cache = self._next(given, None, cache, temperature, top_p)
                token = draw(p, rng.uniform(f"token/{k}", (1,), torch.float64).to(p.device))
            if stop and int(token) in self.eos:
                return
            yield int(token)
            given = token[:, None]

    def _next(
        self, tokens: Tensor, mask: Tensor | None, cache: Any, temperature: float, top_p: float
    ) -> tuple[Tensor, Any]:
        """Probabilities of the token after the last one, (B, V) float64, and the cache with `tokens` in it."""
        out = self.body(tokens, mask, use_cache=True, past_key_values=cache)
        logits = self.head().logits(out.last_hidden_state[:, -1]).float().double()
        return probabilities(logits, temperature, top_p), out.past_key_values

    def _check_prompt(self, prompt: Tensor, mask: Tensor, length: int) -> None:
        if prompt.shape[1] == 0 or not bool(mask.any(dim=1).all()):
            empty = [] if prompt.shape[1] == 0 else (~mask.any(dim=1)).nonzero().flatten().tolist()
            which = f" (row {empty[0]})" if empty else ""
            raise LimbeckError(
                f"the prompt{which} is empty: a language model continues at least one token. Give some text, or sample "
                "without a prompt"
            )
        longest = int(mask.sum(dim=1).max())
        if longest + length > self.context:
            raise LimbeckError(
                f"a prompt of {longest} tokens and {length} new ones do not fit into the model's context of "
                f"{self.context}. Shorten the prompt, or ask for fewer tokens (steps)"
            )
