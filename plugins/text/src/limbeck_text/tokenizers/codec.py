"""Tokens as people see them: decoding, and the view of texts in folders, terminals and reports."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from limbeck.interfaces import Codec, Picture
from limbeck_text.tokenizers.tokenizer import TextTokenizer

HOLE = "\u2591"  # a light shade: a token that is still masked


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


def left_padded(rows: Sequence[Sequence[int]], pad: int, device: Any = None) -> tuple[Tensor, Tensor]:
    """Rows of different lengths as (tokens (B, L), mask (B, L), true where a token is real), padded on the left: the
    next token of every row then comes at the same place."""
    import torch

    longest = max((len(row) for row in rows), default=0)
    tokens = torch.full((len(rows), longest), pad, dtype=torch.int64, device=device)
    mask = torch.zeros((len(rows), longest), dtype=torch.bool, device=device)
    for i, row in enumerate(rows):
        if row:
            tokens[i, longest - len(row) :] = torch.tensor(list(row), dtype=torch.int64, device=device)
            mask[i, longest - len(row) :] = True
    return tokens, mask


class Texts(Picture):
    """Texts to read: saved as .txt (or, for grids, as a page of them in .png), shown as a list of quotations."""

    still = False

    def __init__(self, texts: Sequence[str], captions: Sequence[str] | None = None):
        self.texts = list(texts)
        self.captions = list(captions) if captions is not None else None

    def _caption(self, i: int) -> str:
        return self.captions[i] if self.captions is not None and i < len(self.captions) else str(i + 1)

    def save(self, path: Any) -> None:
        path = Path(path)
        if path.suffix == ".png":
            self._draw(path)
            return
        rule = "-" * 8
        body = "\n\n".join(f"{rule} {self._caption(i)} {rule}\n{text}" for i, text in enumerate(self.texts))
        path.write_text(body + "\n", encoding="utf-8")

    def html(self) -> str:
        items = [
            f'<figure style="margin:0 0 1em 0"><figcaption>{html.escape(self._caption(i))}</figcaption>'
            f'<pre style="white-space:pre-wrap;margin:0;max-height:20em;overflow:auto">{html.escape(text)}</pre>'
            "</figure>"
            for i, text in enumerate(self.texts)
        ]
        return f'<div class="texts">{"".join(items)}</div>'

    def _draw(self, path: Path, shown: int = 8, columns: int = 100) -> None:
        """The first few texts on one page."""
        import textwrap

        from PIL import Image, ImageDraw, ImageFont

        lines: list[str] = []
        for i, text in enumerate(self.texts[:shown]):
            lines += [f"[{self._caption(i)}]"]
            for line in text.splitlines()[:24]:
                lines += textwrap.wrap(line, columns, replace_whitespace=False) or [""]
            lines += [""]
        font = ImageFont.load_default(size=13)
        page = Image.new("RGB", (columns * 8 + 24, max(1, len(lines)) * 17 + 20), "white")
        drawing = ImageDraw.Draw(page)
        for k, line in enumerate(lines):
            drawing.text((12, 10 + 17 * k), line, fill="black", font=font)
        page.save(path)


def view_tokens(samples: Any, cond: Any = None, *, captions: Sequence[str] | None = None) -> Texts:
    """The view of the domain `tokens`: decoded texts, or ids where nobody decoded them."""
    if isinstance(samples, Tensor):
        samples = [" ".join(map(str, row)) for row in samples.tolist()]
    return Texts(samples, captions)
