"""A folder of files as data, with a decoder that everybody can check: numbers in text files."""

import warnings

import pytest
import torch

from limbeck.data.folder import FolderData, Unusable
from limbeck.data.options import FolderOptions
from limbeck.errors import LimbeckError
from limbeck.interfaces import Space
from limbeck.randomness import Rng


class Numbers(FolderData):
    """A row for every line of a .num file."""

    suffixes, group = (".num",), "numbers"
    hints = {"no number": "write one", "empty": "take it out", "unreadable": "make it readable"}
    space = Space((1,))
    decoded: list[str] = []
    scale = 1

    def __init__(self, **options):
        super().__init__(FolderOptions(**options))

    def decode(self, path):
        self.decoded.append(path.name)
        try:
            numbers = [float(line) for line in path.read_text().split()]
        except ValueError as error:
            raise Unusable("no number", str(error)) from error
        if not numbers:
            raise Unusable("empty", "nothing in it")
        return self.scale * torch.tensor(numbers)[:, None], ["cut into rows"] if len(numbers) > 1 else []

    def follows_from(self):
        return {"scale": self.scale}


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path_factory.mktemp("cache")))
    Numbers.decoded.clear()


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "numbers"
    for word, first in (("even", 0), ("odd", 1)):
        (root / word / "deeper").mkdir(parents=True)
        for k in range(first, 24, 2):
            (root / word / "deeper" / f"{k:02d}.NUM").write_text(f"{k}")
    return root


def quiet(**options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return Numbers(**options)


def test_rows_classes_and_splits_of_a_clean_folder_come_without_a_word(folder):
    data = quiet(path=str(folder))
    held_out = data.split("held_out")
    assert data.classes == ("even", "odd") and len(data) + len(held_out) == 24 and len(held_out) == 2
    assert not set(data.files) & set(held_out.files) and sorted(held_out.labels.tolist()) == [0, 1]
    for part in (data, held_out, held_out.split("train")):
        batch = part.batch(torch.arange(len(part)))
        assert batch.x0.dtype == torch.float32 and torch.equal(batch.x0[:, 0] % 2, batch.cond.float())
        assert [int(name[-6:-4]) for name in part.files] == batch.x0[:, 0].tolist()
    assert held_out.options.split == held_out.name == "held_out" and data.name == "train"
    assert torch.equal(quiet(path=str(folder), split="held_out").rows, held_out.rows)
    assert set(data.conditions(50, Rng(0)).tolist()) == {0, 1}


def test_a_file_is_decoded_once_for_its_content_and_settings(folder, monkeypatch):
    quiet(path=str(folder))
    assert len(Numbers.decoded) == 24
    (folder / "even" / "deeper" / "00.NUM").rename(folder / "even" / "zero.num")
    (folder / "odd" / "new.num").write_text("99")
    quiet(path=str(folder))
    assert Numbers.decoded[24:] == ["new.num"]
    monkeypatch.setattr(Numbers, "scale", 2)
    assert quiet(path=str(folder)).rows.max() == 198 and len(Numbers.decoded) == 50


def test_what_is_left_out_is_counted_named_and_remembered(folder):
    (folder / "odd" / "words.num").write_text("seven")
    (folder / "odd" / "blank.num").write_text("")
    (folder / "odd" / "again.num").write_text("5")
    (folder / "odd" / "many.num").write_text("31 33")
    (folder / "readme.txt").write_text("no numbers")
    (folder / "odd" / "._01.num").write_text("what some file systems leave behind")
    for _ in range(2):
        with pytest.warns(UserWarning) as warned:
            data = Numbers(path=str(folder))
        text = " ".join(str(w.message) for w in warned)
        for part in (
            "3 of 28 files left out",
            "1 no number (odd/words.num)",
            "1 empty (odd/blank.num)",
            "1 there twice (odd/deeper/05.NUM)",
            "no number: write one",
            "1 cut into rows (odd/many.num)",
        ):
            assert part in text, text
    assert data.notes["passed_over"] == 1 and data.notes["left_out"]["empty"] == ["odd/blank.num"]
    assert Numbers.decoded.count("words.num") == 1, "that nothing can be made of it is kept as well"
    with pytest.raises(
        LimbeckError, match=r"blank\.num is empty: nothing in it\. To mend it, take it out; or data\.bad"
    ):
        Numbers(path=str(folder), bad_files="error")


def test_rows_of_one_file_stay_on_one_side(tmp_path):
    for k in range(3):
        (tmp_path / f"{k}.num").write_text(f"{k} {k + 10} {k + 20}")
    with pytest.warns(UserWarning, match="3 cut into rows"):
        data = Numbers(path=str(tmp_path))
    assert len(data) == 6 and len(data.split("held_out")) == 3 and data.classes is None and data.labels is None
    assert data.batch(torch.tensor([0])).cond is None and data.conditions(3, Rng(0)) is None


def test_folders_without_anything_usable_are_refused_with_what_to_do(tmp_path):
    with pytest.raises(LimbeckError, match=r"no folder '.*nowhere'\. Give a folder with \.num files"):
        Numbers(path=str(tmp_path / "nowhere"))
    (tmp_path / "x.txt").write_text("1")
    with pytest.raises(LimbeckError, match=r"no \.num file below .* \(1 other files\)\. Put some there"):
        Numbers(path=str(tmp_path))
    (tmp_path / "x.num").write_text("")
    with pytest.raises(LimbeckError, match=r"nothing in .* can be used; 1 of 1 files left out: 1 empty \(x\.num\)"):
        Numbers(path=str(tmp_path))
    (tmp_path / "x.num").write_text("1")
    with pytest.raises(LimbeckError, match="add a second one"):
        Numbers(path=str(tmp_path), split="held_out")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "y.num").write_text("3")
    with pytest.raises(LimbeckError, match=r"1 files lie in none \(x\.num\).*data\.labels=none"):
        Numbers(path=str(tmp_path))
    assert Numbers(path=str(tmp_path), labels="none").classes is None
