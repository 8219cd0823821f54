"""Files that are whole or absent."""

import os
import stat

import pytest

from limbeck.files import write_whole


def test_bytes_text_and_pieces_are_written_and_an_old_file_is_replaced(tmp_path):
    path = tmp_path / "x"
    assert write_whole(path, b"one") == path and path.read_bytes() == b"one"
    assert write_whole(str(path), "zwei ü").read_text(encoding="utf-8") == "zwei ü"
    write_whole(path, (bytes([k]) for k in range(3)))
    assert path.read_bytes() == b"\x00\x01\x02" and list(tmp_path.iterdir()) == [path]


def test_what_breaks_off_leaves_the_old_file_and_nothing_else(tmp_path):
    path = write_whole(tmp_path / "x", b"old")

    def pieces():
        yield b"new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, pieces())
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError):
        write_whole(path / "x", b"new")  # in a file


def test_a_link_is_replaced_and_what_it_leads_to_is_not_touched(tmp_path):
    other = write_whole(tmp_path / "other", b"mine")
    (tmp_path / "x").symlink_to(other)
    write_whole(tmp_path / "x", b"new")
    assert other.read_bytes() == b"mine" and not (tmp_path / "x").is_symlink()


def test_others_may_read_what_the_umask_lets_them_read(tmp_path):
    before = os.umask(0o022)
    try:
        assert stat.S_IMODE(write_whole(tmp_path / "x", b"").stat().st_mode) == 0o644
    finally:
        os.umask(before)


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    order = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: order.append("sync") or sync(file))
    monkeypatch.setattr(os, "replace", lambda a, b: order.append("rename") or replace(a, b))
    write_whole(tmp_path / "x", b"new")
    assert order == ["sync", "rename"]
