"""Formulas of the documentation as MathML, made while the site is built: nothing is fetched then or by the reader.

A page writes `$...$` and `$$...$$`, which GitHub renders too. The extension arithmatex finds them, outside of code, and
this hook of mkdocs replaces them. A formula that cannot be converted stops the build, with its page.
"""

import html
import re
from typing import Any

from math_core import LatexError, LatexToMathML
from mkdocs.exceptions import PluginError

_FORMULA = re.compile(r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL)
_CONVERTER = LatexToMathML(annotation=True, fancy_error=False)  # the source goes along, for copying


def mathml(latex: str, *, block: bool) -> str:
    """One formula as a `<math>` element."""
    return _CONVERTER.convert_with_local_state(latex, displaystyle=block)


def on_page_content(content: str, *, page: Any, **_: Any) -> str:
    """Replace what arithmatex marked in the HTML of a page."""

    def convert(match: re.Match[str]) -> str:
        latex, block = html.unescape(match["latex"]), match["tag"] == "div"
        try:
            formula = mathml(latex, block=block)
        except LatexError as err:
            raise PluginError(f"{page.file.src_uri}: {err}\nin the formula {latex.strip()}") from err
        return f'<div class="formula">{formula}</div>' if block else formula

    return _FORMULA.sub(convert, content)
