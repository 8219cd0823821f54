"""Data of text: documents, splits, windows, prompts, and what bad input gets."""

import pytest
import torch

from limbeck import Rng
from limbeck_text.data import cpython_docs as corpus
from limbeck_text.data.pydocs import Pydocs
from limbeck_text.tokenizers.tokenizer import bundled


@pytest.fixture(scope="module")
def documents():
    return corpus.documents()


def test_documents_hold_docstrings_help_topics_and_modules_written_in_c(documents):
    assert "Encoding basic Python object hierarchies" in documents["json"]
    assert "def gcd(" in documents["math"]  # compiled: no source to parse
    assert "assert_stmt" in documents["topics/assert"]
    assert sum(map(len, documents.values())) > 2_000_000


def test_no_document_comes_from_installed_packages_or_the_test_suite(documents):
    assert not [name for name in documents if name.startswith(("test.", "torch", "numpy", "pip."))]


def test_splits_hold_their_shares_of_the_documents(documents):
    shares = [corpus.share_of(name) for name in documents]
    assert {name: pytest.approx(shares.count(name) / len(shares), abs=0.05) for name in set(shares)} == {
        "train": 0.5,
        "judge": 0.4,
        "held_out": 0.1,
    }


def test_the_split_of_a_document_follows_from_its_name_for_good():
    # pinned: weights were trained on this split
    names = ("itertools", "logging", "json", "tkinter", "tkinter.tix", "topics/string-methods")
    assert [corpus.share_of(name) for name in names] == ["train", "train", "judge", "judge", "held_out", "held_out"]


def test_a_module_and_its_twin_in_c_are_in_one_split():
    assert corpus.share_of("_pydecimal") == corpus.share_of("_decimal") == corpus.share_of("decimal")
    assert corpus.share_of("pydoc") != "" and corpus.share_of("_io") == corpus.share_of("_pyio")


def test_no_long_paragraph_stands_in_two_documents(documents):
    seen: dict[str, str] = {}
    for name, text in documents.items():
        for paragraph in {" ".join(p.split()) for p in text.split("\n\n")}:
            if len(paragraph) >= corpus.PARAGRAPH:
                assert seen.setdefault(paragraph, name) == name, paragraph


def test_a_function_is_introduced_by_its_name_and_arguments():
    f = '    def f(self, x, *rest, key=1, **more):\n        """Do it."""\n'
    source = f'class A:\n    """An A."""\n{f}    def g(): pass\n'
    assert corpus.from_source(source) == ["class A:\nAn A.", "def A.f(self, x, *rest, key, **more):\nDo it."]


def test_only_long_comments_count_as_prose():
    prose = [
        "One line of a comment that explains at length why",
        "the code below does what it does, and what was tried",
        "before: it is prose.",
    ]
    lines = ["x = 1  # short", "# also short", "y = 2", *(f"# {line}" for line in prose), "z = 3"]
    assert corpus.from_source("\n".join(lines)) == ["\n".join(prose)]


def test_normalising_keeps_indentation_and_drops_the_rest():
    assert corpus.normalised("a  \r\n\tb\n\n\n\nc\n=========\n") == "a\n    b\n\nc\n===="


def test_windows_are_the_stream_in_order():
    data = Pydocs(length=16)
    x0 = data.batch(torch.tensor([0, 1, 7])).x0
    assert torch.equal(x0[:2].flatten(), data.tokens[:32])
    assert torch.equal(x0[2], data.tokens[112:128])


def test_documents_end_with_the_end_of_sequence_token(documents):
    eos = bundled().eos[0]
    tokens = Pydocs("held_out").tokens
    held_out = [name for name in documents if corpus.share_of(name) == "held_out"]
    assert int((tokens == eos).sum()) == len(held_out) and int(tokens[-1]) == eos


def test_a_stride_makes_windows_overlap_and_the_held_out_split_never():
    data = Pydocs(length=16, stride=4)
    x0 = data.batch(torch.tensor([0, 1])).x0
    assert torch.equal(x0[0, 4:], x0[1, :12])
    assert data.split("held_out").step == 16
    last = data.batch(torch.tensor([len(data) - 1])).x0
    assert last.shape == (1, 16)


def test_a_prompt_is_the_condition_and_is_not_learned():
    batch = Pydocs(length=16, prompt=5).batch(torch.tensor([3, 4]))
    assert torch.equal(batch.cond, batch.x0[:, :5])
    assert batch.loss_mask.sum(1).tolist() == [11, 11] and not batch.loss_mask[:, :5].any()
    conditions = Pydocs(length=16, prompt=5).conditions(7, Rng(0))
    assert conditions.shape == (7, 5)


def test_without_a_prompt_there_is_no_condition():
    assert Pydocs(length=16).conditions(3, Rng(0)) is None


def test_a_prompt_that_fills_the_window_is_refused():
    with pytest.raises(ValueError, match="a prompt of 16 tokens leaves nothing to complete in windows of 16"):
        Pydocs(length=16, prompt=16)


# --- a folder of one's own ---


def test_a_folder_of_ones_own_is_split_by_document(tmp_path):
    for k in range(20):
        (tmp_path / f"{k}.txt").write_text(f"document number {k} " * 30)
    train, held_out = Pydocs(path=str(tmp_path), length=8), Pydocs("held_out", path=str(tmp_path), length=8)
    eos = train.tokenizer.eos[0]
    assert (int((train.tokens == eos).sum()), int((held_out.tokens == eos).sum())) == (18, 2)
    assert str(tmp_path) in train.licence


def test_an_empty_folder_is_refused_by_name(tmp_path):
    (tmp_path / "a.md").write_text("   \n")
    with pytest.raises(ValueError, match=r"has no text in it \(1 .txt or .md files, all empty\)"):
        Pydocs(path=str(tmp_path))


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        Pydocs(path=str(tmp_path / "nothing"))


def test_text_that_is_no_utf8_is_refused_by_name(tmp_path):
    (tmp_path / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    with pytest.raises(ValueError, match="latin.txt is not UTF-8"):
        Pydocs(path=str(tmp_path))


def test_too_little_text_says_how_much_there_is(tmp_path):
    (tmp_path / "a.txt").write_text("few words")
    with pytest.raises(ValueError, match="tokens, fewer than one window of 128"):
        Pydocs(path=str(tmp_path))


def test_one_document_has_no_held_out_split(tmp_path):
    (tmp_path / "a.txt").write_text("some words " * 100)
    assert len(Pydocs(path=str(tmp_path), length=8)) > 10
    with pytest.raises(ValueError, match="add a second file"):
        Pydocs("held_out", path=str(tmp_path), length=8)
