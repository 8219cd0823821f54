"""The documents that ship with CPython, and their splits."""

import sys

import pytest

from limbeck_text.data import cpython_docs


@pytest.fixture(scope="module")
def documents():
    return cpython_docs.documents()


def test_documents_hold_docstrings_help_topics_and_modules_written_in_c(documents):
    assert "Encoding basic Python object hierarchies" in documents["json"]
    assert "def gcd(" in documents["math"]  # compiled: no source to parse
    assert "assert_stmt" in documents["topics/assert"]
    assert sum(map(len, documents.values())) > 2_000_000


def test_no_document_comes_from_installed_packages_or_the_test_suite(documents):
    assert not [name for name in documents if name.startswith(("test.", "torch", "numpy", "pip."))]


def test_splits_hold_their_shares_of_the_documents(documents):
    shares = [cpython_docs.split_of(name) for name in documents]
    assert {name: pytest.approx(shares.count(name) / len(shares), abs=0.05) for name in set(shares)} == {
        "train": 0.5,
        "judge": 0.4,
        "held_out": 0.1,
    }


def test_the_split_of_a_document_follows_from_its_name_for_good():
    # pinned: weights were trained on this split
    names = ("itertools", "logging", "json", "tkinter", "tkinter.tix", "topics/string-methods")
    assert [cpython_docs.split_of(name) for name in names] == [
        "train",
        "train",
        "judge",
        "judge",
        "held_out",
        "held_out",
    ]


def test_a_module_and_its_twin_in_c_are_in_one_split():
    assert cpython_docs.split_of("_pydecimal") == cpython_docs.split_of("_decimal") == cpython_docs.split_of("decimal")
    assert cpython_docs.split_of("pydoc") != "" and cpython_docs.split_of("_io") == cpython_docs.split_of("_pyio")


def test_no_long_paragraph_stands_in_two_documents(documents):
    seen: dict[str, str] = {}
    for name, text in documents.items():
        for paragraph in {" ".join(p.split()) for p in text.split("\n\n")}:
            if len(paragraph) >= cpython_docs.PARAGRAPH:
                assert seen.setdefault(paragraph, name) == name, paragraph


def test_a_function_is_introduced_by_its_name_and_arguments():
    f = '    def f(self, x, *rest, key=1, **more):\n        """Do it."""\n'
    source = f'class A:\n    """An A."""\n{f}    def g(): pass\n'
    assert cpython_docs.from_source(source) == ["class A:\nAn A.", "def A.f(self, x, *rest, key, **more):\nDo it."]


def test_only_long_comments_count_as_prose():
    prose = [
        "One line of a comment that explains at length why",
        "the code below does what it does, and what was tried",
        "before: it is prose.",
    ]
    lines = ["x = 1  # short", "# also short", "y = 2", *(f"# {line}" for line in prose), "z = 3"]
    assert cpython_docs.from_source("\n".join(lines)) == ["\n".join(prose)]


def test_hooks_that_somebody_replaced_change_no_document(monkeypatch):
    for name in ("unraisablehook", "excepthook", "displayhook"):
        monkeypatch.setattr(sys, name, getattr(sys, f"__{name}__"))
    before = list(cpython_docs._members(sys))
    assert any(piece.startswith("def unraisablehook(") for piece in before)
    monkeypatch.setattr(sys, "unraisablehook", lambda *_: None)
    monkeypatch.setattr(sys, "excepthook", lambda *_: None)
    assert list(cpython_docs._members(sys)) == before
