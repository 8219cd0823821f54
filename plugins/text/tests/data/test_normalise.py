"""Texts in one form."""

from limbeck_text.data.normalise import normalised


def test_normalising_keeps_indentation_and_drops_the_rest():
    assert normalised("a  \r\n\tb\n\n\n\nc\n=========\n") == "a\n    b\n\nc\n===="
