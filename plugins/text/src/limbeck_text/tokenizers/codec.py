"""The codec between tokens and texts, and the space of sequences that has it."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from limbeck.interfaces import Codec, Space
from limbeck_text.tokenizers.padding import left_padded
from limbeck_text.tokenizers.tokenizer import TextTokenizer

HOLE = "\u2591"  # a light shade: a token that is still masked


def text_space(length: int, tokenizer: TextTokenizer) -> Space:
    """Sequences of `length` tokens, (L,), that decode to text."""
    return Space((length,), domain="tokens", codec=TextCodec(tokenizer))


class TextCodec(Codec):
    """Between tokens (B, L) and texts."""

    def __init__(self, tokenizer: TextTokenizer):
        super().__init__()
        self.tokenizer = tokenizer

    def encode(self, seen: Sequence[str]) -> Any:  # type: ignore[override]
        """Texts -> (tokens (B, L) padded on the left, mask (B, L) true where a token is real)."""
        return left_padded([self.tokenizer.encode(text) for text in seen], self.tokenizer.pad)

    def decode(self, value: Tensor) -> list[str]:
        """Tokens (B, L) -> B texts. The end of a document becomes a blank line, ids beyond the vocabulary (masks) a
        shade, padding nothing."""
        return [self._text(row) for row in value.tolist()]

    def fingerprint(self) -> str:
        return self.tokenizer.fingerprint()

    def _text(self, row: list[int]) -> str:
        eos, tokenizer = set(self.tokenizer.eos), self.tokenizer
        while row and row[-1] in (*eos, tokenizer.pad):
            row = row[:-1]
        parts: list[str] = []
        run: list[int] = []
        for token in row:
            if token in eos or not 0 <= token < tokenizer.vocab:
                parts += [tokenizer.decode(run) if run else "", "\n\n" if token in eos else HOLE]
                run = []
            else:
                run.append(token)
        return "".join([*parts, tokenizer.decode(run) if run else ""])
