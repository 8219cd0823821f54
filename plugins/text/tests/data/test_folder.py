"""A folder of one's own: its split, and what is refused."""

import pytest

from limbeck_text.data.pydocs import Pydocs


def test_a_folder_of_ones_own_is_split_by_document(tmp_path):
    for k in range(20):
        (tmp_path / f"{k}.txt").write_text(f"document number {k} " * 30)
    train, held_out = Pydocs(path=str(tmp_path), length=8), Pydocs("held_out", path=str(tmp_path), length=8)
    eos = train.tokenizer.eos[0]
    assert (int((train.tokens == eos).sum()), int((held_out.tokens == eos).sum())) == (18, 2)
    assert str(tmp_path) in train.licence


def test_an_empty_folder_is_refused_by_name(tmp_path):
    (tmp_path / "a.md").write_text("   \n")
    with pytest.raises(ValueError, match=r"holds no text \(1 .txt or .md files, all empty\)"):
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
