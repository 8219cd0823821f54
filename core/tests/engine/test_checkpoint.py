"""Checkpoints: complete or absent, checked by hash, readable by anybody."""

import errno
import json
from pathlib import Path

import engine_problem as problem
import pytest
import torch
from safetensors.torch import load_file

from limbeck.engine import checkpoint, tensor_file
from limbeck.errors import CheckpointError, LimbeckError
from limbeck.runs.run import Run


def some_tensors():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 3, generator=generator)
    return {
        "a.weight": weight, "b.weight": weight, "row": weight[1], "transposed": weight.t(),
        "half": weight.to(torch.bfloat16), "double": weight.double(), "count": torch.tensor(7),
        "flag": torch.tensor([True]), "empty": torch.zeros(0, 4),
    }  # fmt: skip


def two_checkpoints(folder):
    for step in (10, 20):
        checkpoint.save(folder, step, {"net": {"w": torch.arange(40.0) + step}}, {"note": step})
    return folder / "step-000020"


# --- files -----------------------------------------------------------------------------------------------------------


def test_files_are_read_by_the_safetensors_library_and_hold_equal_tensors(tmp_path):
    tensors = some_tensors()
    checkpoint.write_file(tmp_path / "x.safetensors", tensor_file.pieces(tensors))
    theirs = load_file(tmp_path / "x.safetensors")
    assert "a.weight" in theirs and "b.weight" not in theirs  # tied: stored once
    for name, value in theirs.items():
        assert value.dtype == tensors[name].dtype
        torch.testing.assert_close(value, tensors[name], rtol=0, atol=0)


def test_tied_tensors_are_stored_once_and_come_back_under_both_names(tmp_path):
    tensors = some_tensors()
    checkpoint.write_file(tmp_path / "x.safetensors", tensor_file.pieces(tensors))
    ours = tensor_file.read(tmp_path / "x.safetensors")
    assert set(ours) == set(tensors)
    torch.testing.assert_close(ours["b.weight"], tensors["a.weight"], rtol=0, atol=0)
    assert ours["a.weight"].abs().sum() > 1


def test_equal_tensors_give_equal_bytes():
    first, second = (b"".join(bytes(p) for p in tensor_file.pieces(some_tensors())) for _ in range(2))
    assert first == second


def test_state_that_is_no_tensor_is_refused_by_name():
    with pytest.raises(LimbeckError, match="'names' is a list, and checkpoints hold tensors only"):
        list(tensor_file.pieces({"names": ["a"]}))


# --- damage ----------------------------------------------------------------------------------------------------------


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-9])


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, empty, Path.unlink])
@pytest.mark.parametrize("name", ["net.safetensors", "state.json", "manifest.json"])
def test_damaged_file_is_named_and_the_last_good_checkpoint_used(tmp_path, damage, name):
    newest = two_checkpoints(tmp_path)
    damage(newest / name)
    with pytest.raises(CheckpointError, match=name):
        checkpoint.open_checkpoint(newest)
    found, refused = checkpoint.last_good(tmp_path)
    assert found is not None and found.step == 10 and found.state["note"] == 10
    assert float(found.tensors("net")["w"][1]) == 11.0
    assert len(refused) == 1 and name in str(refused[0])


def test_every_single_bit_flip_is_noticed(tmp_path):
    newest = two_checkpoints(tmp_path)
    for name in ("manifest.json", "state.json", "net.safetensors"):
        path = newest / name
        good = path.read_bytes()
        for position in range(0, len(good), 7):
            path.write_bytes(good[:position] + bytes([good[position] ^ (1 << position % 8)]) + good[position + 1 :])
            with pytest.raises(CheckpointError):
                checkpoint.open_checkpoint(newest)
        path.write_bytes(good)
    assert checkpoint.open_checkpoint(newest).step == 20


def test_foreign_folder_extra_file_and_copied_checkpoint_are_refused(tmp_path):
    newest = two_checkpoints(tmp_path)
    foreign = tmp_path / "step-000030"
    foreign.mkdir()
    (foreign / "manifest.json").write_text(json.dumps({"weights": "elsewhere"}))
    with pytest.raises(CheckpointError, match="not a Limbeck checkpoint"):
        checkpoint.open_checkpoint(foreign)
    newest.rename(tmp_path / "step-000040")
    with pytest.raises(CheckpointError, match="changed after it was written"):
        checkpoint.open_checkpoint(tmp_path / "step-000040")
    (tmp_path / "step-000010" / "extra.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"extra\.safetensors is not in the manifest"):
        checkpoint.open_checkpoint(tmp_path / "step-000010")


def test_when_no_checkpoint_is_good_all_reasons_are_given(tmp_path):
    two_checkpoints(tmp_path)
    truncate(tmp_path / "step-000010" / "net.safetensors")
    flip_a_bit(tmp_path / "step-000020" / "net.safetensors")
    with pytest.raises(CheckpointError, match=r"(?s)step-000020.*step-000010.*torn.*--overwrite"):
        checkpoint.last_good(tmp_path)


def test_newest_are_kept_and_leftovers_of_a_killed_run_removed(tmp_path):
    for step in range(1, 6):
        checkpoint.save(tmp_path, step, {"net": {"w": torch.ones(2)}}, {}, keep=2)
    assert [path.name for path in checkpoint.listed(tmp_path)] == ["step-000004", "step-000005"]
    (tmp_path / ".unfinished-step-000006").mkdir()
    checkpoint.clean(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000004", "step-000005"]


# --- in a run --------------------------------------------------------------------------------------------------------


def test_resume_falls_back_with_a_message_and_still_ends_bitwise_equal(tmp_path, capsys):
    problem.train(tmp_path / "calm")
    problem.train(tmp_path / "hurt", train={"steps": 12, "schedule": "constant"})
    problem.train(tmp_path / "reference", train={"schedule": "constant"})
    flip_a_bit(tmp_path / "hurt" / "checkpoints" / "step-000012" / "optimizer-critic.safetensors")
    problem.train(tmp_path / "hurt", resume=True, train={"schedule": "constant"})
    said = capsys.readouterr().err
    assert "step-000012/optimizer-critic.safetensors was changed after it was written" in said
    assert "going on from the last good one, step-000008" in said
    assert problem.results(tmp_path / "hurt") == problem.results(tmp_path / "reference")
    assert problem.results(tmp_path / "calm") != problem.results(tmp_path / "reference")
    assert (tmp_path / "hurt" / "checkpoints" / "refused-step-000012").is_dir()


def test_checkpoint_of_another_network_is_refused(tmp_path):
    problem.train(tmp_path / "run", train={"steps": 4})
    wide = {"use": "tiny_net", "init": "random", "width": 32}
    with pytest.raises(CheckpointError, match=r"generator\.safetensors is not of this recipe: size mismatch"):
        problem.train(tmp_path / "run", resume=True, generator=wide)


@pytest.mark.parametrize("files_before", [0, 3, 8])
def test_full_disk_ends_the_run_with_advice_and_loses_nothing(tmp_path, monkeypatch, files_before):
    real, written = checkpoint.write_file, []

    def full(path, parts):
        written.append(path)
        if len(written) > 9 * 2 + files_before:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, parts)

    monkeypatch.setattr(checkpoint, "write_file", full)
    with pytest.raises(CheckpointError, match=r"(?s)disk is full.*step-000012.*last good .* is step-000008.*resume:"):
        problem.train(tmp_path / "run")
    checkpoints = tmp_path / "run" / "checkpoints"
    assert sorted(path.name for path in checkpoints.iterdir()) == ["step-000004", "step-000008"]
    assert checkpoint.open_checkpoint(checkpoints / "step-000008").step == 8
    assert Run(tmp_path / "run").status == "failed"
    monkeypatch.setattr(checkpoint, "write_file", real)
    problem.train(tmp_path / "run", resume=True)
    problem.train(tmp_path / "calm")
    assert problem.results(tmp_path / "run") == problem.results(tmp_path / "calm")
