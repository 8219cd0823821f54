"""Texts in folders, terminals and reports."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from limbeck.files import write_whole
from limbeck.interfaces import Picture


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
        write_whole(path, body + "\n")

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
    """The view of the domain `tokens`: decoded texts, or ids where they are not decoded."""
    if isinstance(samples, Tensor):
        samples = [" ".join(map(str, row)) for row in samples.tolist()]
    return Texts(samples, captions)
