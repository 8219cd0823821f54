"""Tensors on disk: made once, found again by what they follow from, never half written."""

import pytest
import torch

from limbeck import disk_cache


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    calls = []

    def make():
        calls.append(1)
        return {"frames": torch.arange(6).view(2, 3).T}  # not contiguous

    return calls, make, tmp_path / "cache"


def test_made_once_for_equal_causes(made):
    calls, make, folder = made
    first = disk_cache.cached("toys", {"content": "abc", "size": [2, 3]}, make)
    again = disk_cache.cached("toys", {"size": [2, 3], "content": "abc"}, make)
    assert torch.equal(first["frames"], again["frames"]) and len(calls) == 1
    disk_cache.cached("toys", {"content": "abd", "size": [2, 3]}, make)
    disk_cache.cached("others", {"content": "abc", "size": [2, 3]}, make)
    assert len(calls) == 3 and sorted(p.parent.name for p in folder.rglob("*.safetensors")) == [
        "others",
        "toys",
        "toys",
    ]


def test_a_torn_file_is_made_again(made):
    calls, make, folder = made
    disk_cache.cached("toys", {"content": "abc"}, make)
    (path,) = folder.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-4])
    assert disk_cache.cached("toys", {"content": "abc"}, make)["frames"].shape == (3, 2) and len(calls) == 2
    assert disk_cache.cached("toys", {"content": "abc"}, make)["frames"][2, 1] == 5 and len(calls) == 2


def test_a_place_that_cannot_be_written_costs_a_warning_only(made, tmp_path, monkeypatch):
    _, make, _ = made
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="could not be kept: .* It is made again next time"):
        assert disk_cache.cached("toys", {"content": "abc"}, make)["frames"][0, 1] == 3


def test_an_interruption_leaves_no_half_file(made, monkeypatch):
    _, make, folder = made
    monkeypatch.setattr(disk_cache.os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        disk_cache.cached("toys", {"content": "abc"}, make)
    assert not [p for p in folder.rglob("*") if p.is_file()]


def test_digests_are_of_content(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # SHA-256 of "abc"
    assert disk_cache.digest(tmp_path / "a") == disk_cache.digest(str(tmp_path / "b")) == known
