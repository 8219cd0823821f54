"""Data of text: windows of tokens from the documents that ship with CPython, or from a folder of one's own."""

from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor

from limbeck.interfaces import Batch, Data
from limbeck_text.data import cpython_docs, folder
from limbeck_text.options.data import PydocsOptions
from limbeck_text.tokenizers.codec import text_space
from limbeck_text.tokenizers.tokenizer import named

Split = Literal["train", "judge", "held_out"]


@lru_cache(maxsize=16)
def stream(split: Split, path: str = "", tokenizer: str = "") -> Tensor:
    """All documents of a split one after the other, each followed by the end-of-sequence token, (N,) int64."""
    documents = folder.texts(path, split) if path else cpython_docs.texts(split)
    used = named(tokenizer)
    end = used.eos[:1]
    ids = [torch.tensor([*tokens, *end]) for tokens in used.encode_all(documents)]
    return torch.cat(ids)


class Pydocs(Data):
    """Windows of `length` tokens, `x0` (B, L) int64, that start every `stride` tokens (`length`: without overlap).

    Documents are split by the hash of their names: `train` (half), `judge` (for the independent language model that
    judges samples, and nothing else) and `held_out`.

    With `prompt` P > 0 the first P tokens of a window are its condition, `cond` (B, P), and `loss_mask` (B, L) is true
    on what follows: language models then complete real beginnings.
    """

    Options = PydocsOptions
    licence = cpython_docs.LICENCE

    def __init__(
        self,
        split: Split = "train",
        length: int = 128,
        stride: int | None = None,
        prompt: int = 0,
        path: str = "",
        tokenizer: str = "",
    ):
        chosen = PydocsOptions(split=split, length=length, stride=stride, prompt=prompt, path=path, tokenizer=tokenizer)
        self.options, self.name = chosen, split
        self.tokenizer = named(tokenizer)
        self.space = text_space(length, self.tokenizer)
        if path:
            self.licence = f"the texts in {path}"
        self.tokens = stream(split, path, tokenizer)
        if len(self.tokens) < length:
            where = path or "CPython's documents"
            raise ValueError(
                f"data.length: the {split} split of {where} has {len(self.tokens)} tokens, fewer than one window of "
                f"{length}. Use a shorter length, or more text"
            )
        self.step = stride or length

    def __len__(self) -> int:
        return (len(self.tokens) - self.options.length) // self.step + 1

    def batch(self, indices: Tensor) -> Batch:
        length, prompt = self.options.length, self.options.prompt
        starts = indices.cpu() * self.step
        x0 = self.tokens[starts[:, None] + torch.arange(length)]  # (B, L)
        if not prompt:
            return Batch(x0=x0).to(indices.device)
        learned = (torch.arange(length) >= prompt).expand(len(x0), -1)
        return Batch(x0=x0, cond=x0[:, :prompt], loss_mask=learned).to(indices.device)

    def split(self, name: Split) -> "Pydocs":
        """The same windows of another split; held-out ones never overlap."""
        changed: dict[str, Any] = {"split": name} | ({"stride": None} if name == "held_out" else {})
        return Pydocs(**{**self.options.model_dump(), **changed})
