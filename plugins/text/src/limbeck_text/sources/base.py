"""What sources of completions share: rows of the data, and a model that completes their beginnings."""

from typing import Any, ClassVar

from torch import Tensor

from limbeck.interfaces import Batch
from limbeck.randomness import Rng
from limbeck_diffusion.sources.sources import PartneredSource, rows_of
from limbeck_text.sources.completions import at_most, complete, prompts_of


class CompletionSource(PartneredSource):
    """Rows of the data whose beginnings the partner `writer` completes. Everything drawn is a function of the `Rng`."""

    writer: ClassVar[str]  # "generator" or "teacher"
    requires = ("data",)

    def __init__(self, **given: Any):
        super().__init__(**given)
        if getattr(self, self.writer) is None:
            raise ValueError(
                f"source {self.name!r} needs {self.writer}, and the recipe gives none: add a `{self.writer}:` block"
            )

    def rows(self, size: int, rng: Rng) -> Batch:
        """Rows of the data, epoch by epoch."""
        data: Any = self.data
        return data.batch(rows_of(rng, size, len(data))).to(rng.device)

    def completed(self, batch: Batch, rng: Rng) -> Batch:
        """The beginnings of a batch with completions of `length` tokens, or as many as its windows have left."""
        assert batch.x0 is not None
        prompt, mask = prompts_of(batch, self.options.prompt)
        if self.options.length is not None:
            return self.complete(prompt, mask, self.options.length, rng)
        window = batch.x0.shape[1]
        return at_most(self.complete(prompt, mask, max(1, window - int(mask.sum(1).min())), rng), window)

    def complete(self, prompt: Tensor, mask: Tensor, length: int, rng: Rng) -> Batch:
        """Completions of prompts (B, P) by the writer."""
        o, model = self.options, getattr(self, self.writer)
        return complete(model, prompt, mask, length=length, temperature=o.temperature, top_p=o.top_p, rng=rng)
