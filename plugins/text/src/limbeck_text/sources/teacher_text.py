"""Texts that the teacher writes."""

from typing import Any

import torch
from torch import Tensor, nn

from limbeck.interfaces import Batch, unwrap
from limbeck.progress import progress_bar
from limbeck.randomness import Rng
from limbeck_diffusion.sources.sources import rows_of
from limbeck_text.options.sources import TeacherTextSourceOptions
from limbeck_text.sources.base import CompletionSource
from limbeck_text.sources.completions import retokenize
from limbeck_text.tokenizers.padding import left_padded


class TeacherTextSource(CompletionSource):
    """The teacher's completions of the data's beginnings, Kim & Rush 2016: `count` of them, written when first needed
    and then gone through epoch by epoch like data; or with count 0 new ones every step.

    The i-th completion is a function of (seed, i, chunk): every process and every resumed run has the same ones. A
    teacher with another tokenizer than the generator's gets its prompts as text, and its completions are retokenized.
    """

    name, writer = "teacher_text", "teacher"
    Options = TeacherTextSourceOptions

    _texts: Batch | None = None

    def complete(self, prompt: Tensor, mask: Tensor, length: int, rng: Rng) -> Batch:
        own, other = _tokenizer(self.teacher), _tokenizer(self.generator)
        if other is None or own is other or own.fingerprint() == other.fingerprint():
            return super().complete(prompt, mask, length, rng)
        rows = [own.encode(other.decode(row[real].tolist())) for row, real in zip(prompt, mask, strict=True)]
        return retokenize(super().complete(*left_padded(rows, own.pad, prompt.device), length, rng), own, other)

    def texts(self, device: torch.device | str = "cpu") -> Batch:
        """All of them; written when first needed, with a progress bar on a terminal."""
        if self._texts is None:
            o, made = self.options, []
            with progress_bar("teacher texts") as progress:
                for k in range(-(-o.count // o.chunk)):
                    rng = Rng(o.seed, k, "teacher_text", device=device)
                    made.append(self.completed(self.rows(o.chunk, rng), rng))
                    if progress is not None:
                        progress(min((k + 1) * o.chunk, o.count), o.count)
            self._texts = _joined(made, o.count)
        return self._texts

    def batch(self, size: int, rng: Rng) -> Batch:
        if self.options.count == 0:
            return self.completed(self.rows(size, rng), rng)
        texts = self.texts(rng.device)
        assert texts.x0 is not None and texts.attention_mask is not None and texts.loss_mask is not None
        rows = rows_of(rng, size, len(texts)).to(rng.device)
        return Batch(x0=texts.x0[rows], attention_mask=texts.attention_mask[rows], loss_mask=texts.loss_mask[rows])


def _tokenizer(model: nn.Module | None) -> Any:
    return None if model is None else getattr(unwrap(model), "tokenizer", None)


def _joined(made: list[Batch], count: int) -> Batch:
    """Batches below each other; shorter ones are padded on the left."""
    longest = max(batch.x0.shape[1] for batch in made if batch.x0 is not None)

    def padded(name: str) -> Tensor:
        found = [getattr(batch, name) for batch in made]
        return torch.cat([nn.functional.pad(x, (longest - x.shape[1], 0)) for x in found])[:count]

    return Batch(x0=padded("x0"), attention_mask=padded("attention_mask"), loss_mask=padded("loss_mask"))
