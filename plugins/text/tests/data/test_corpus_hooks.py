"""The documents are those of the interpreter, whatever a test runner or a console has done to it."""

import sys

from limbeck_text.data import cpython_docs as corpus


def test_hooks_that_somebody_replaced_change_no_document(monkeypatch):
    for name in ("unraisablehook", "excepthook", "displayhook"):
        monkeypatch.setattr(sys, name, getattr(sys, f"__{name}__"))
    before = list(corpus._members(sys))
    assert any(piece.startswith("def unraisablehook(") for piece in before)
    monkeypatch.setattr(sys, "unraisablehook", lambda *_: None)
    monkeypatch.setattr(sys, "excepthook", lambda *_: None)
    assert list(corpus._members(sys)) == before
