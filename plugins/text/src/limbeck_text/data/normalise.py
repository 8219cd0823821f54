"""Texts in one form, wherever they come from."""

import re


def normalised(text: str) -> str:
    """Tabs become spaces, ends of lines are bare, rulers are short, at most one blank line separates paragraphs."""
    text = text.expandtabs(4).replace("\r", "")
    text = re.sub(r"([-=*#~_.])\1{5,}", r"\1\1\1\1", text)
    text = re.sub(r"[ \f]+$", "", text, flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", text).strip()
