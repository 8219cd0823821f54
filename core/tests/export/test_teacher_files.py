"""Teacher files: what they hold, what builds them, and what is refused."""

import math

import pytest
import torch
from torch import nn

from limbeck.errors import CheckpointError, LimbeckError
from limbeck.export import teacher_files
from limbeck.interfaces import Space
from limbeck.manifest import Component, bundled
from limbeck.networks.denoiser import Denoiser
from limbeck.plugins.registry import registry
from limbeck.process.gaussian import EDM, RectifiedFlow


class Network(nn.Module):
    def __init__(self, width, dropout):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, width), nn.Dropout(dropout), nn.Linear(width, 3))

    def forward(self, x, time, cond=None, **more):
        return self.body(x)


def toy(width: int = 4, dropout: float = 0.0, prediction: str = "edm") -> Denoiser:
    return Denoiser(Network(width, dropout), RectifiedFlow(), Space((3,)), prediction=prediction)


@pytest.fixture
def toys():
    with registry.register(Component("generator", "toy", toy), name="toys"):
        yield


def written(path, header="toys/toy", **config):
    network = toy(**config)
    named = {"generator": header} if header else {}
    teacher_files.write(path, network.state_dict(), config=config, provenance={"seed": 0}, **named)
    return network


def test_the_generator_that_the_header_names_builds_it_frozen_and_without_dropout(toys, tmp_path):
    network = written(tmp_path / "x.safetensors", width=5, dropout=0.5)
    made = teacher_files.load(tmp_path / "x.safetensors")
    assert not made.training and not any(p.requires_grad for p in made.parameters())
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in made.state_dict().items())
    assert made.network.body[1].p == 0 and made.provenance == {"seed": 0}


def test_a_header_that_names_no_generator_takes_the_one_that_is_given(toys, tmp_path):
    path = tmp_path / "x.safetensors"
    written(path, header=None, width=5)
    for generator in ("toys/toy", toy):
        assert teacher_files.load(path, generator).network.body[0].out_features == 5
    with pytest.raises(CheckpointError, match=r"names? the generator.*teacher\.generator=PLUGIN/NAME"):
        teacher_files.load(path)


def test_a_generator_that_is_not_installed_is_named(tmp_path):
    written(tmp_path / "x.safetensors", header="gone/toy")
    with pytest.raises(LimbeckError, match="no generator named 'gone/toy'"):
        teacher_files.load(tmp_path / "x.safetensors")


def test_a_bundled_teacher_is_a_row_and_a_file_of_ones_own_takes_its_place(toys, tmp_path, monkeypatch):
    package = tmp_path / "ships_a_teacher"
    (package / "assets").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    written(package / "assets" / "small.safetensors", header=None, width=5)
    written(tmp_path / "mine.safetensors", width=6)
    row = bundled("small", "ships_a_teacher", "small.safetensors", generator="toys/toy", summary="", modality="image")
    with registry.register(row, name="ships"):
        assert registry.create("teacher", "ships/small").network.body[0].out_features == 5
        mine = registry.create("teacher", "ships/small", weights=str(tmp_path / "mine.safetensors"))
        assert mine.network.body[0].out_features == 6


def test_only_an_edm_network_moves_to_another_process(toys, tmp_path):
    path = str(tmp_path / "x.safetensors")
    written(path)
    assert teacher_files.teacher(path).process == RectifiedFlow()
    assert teacher_files.teacher(path, process="edm").process == EDM()
    written(path, prediction="velocity")
    assert teacher_files.teacher(path, process="rectified_flow").process == RectifiedFlow()
    with pytest.raises(ValueError, match="only prediction edm can be moved to another process"):
        teacher_files.teacher(path, process="edm")


def test_a_damaged_file_is_refused_by_name(toys, tmp_path):
    path = tmp_path / "mine.safetensors"
    written(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"mine\.safetensors.*hash differs"):
        teacher_files.load(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=r"mine\.safetensors is not a readable"):
        teacher_files.load(path)
    with pytest.raises(CheckpointError, match=r"no file at .*nowhere\.safetensors"):
        teacher_files.load(tmp_path / "nowhere.safetensors")


def test_a_file_without_configuration_is_refused_with_the_remedy(tmp_path):
    teacher_files.write(tmp_path / "bare.safetensors", {"w": torch.ones(2)})
    with pytest.raises(CheckpointError, match="limbeck export RUN --to teacher"):
        teacher_files.load(tmp_path / "bare.safetensors")


def test_weights_survive_the_round_trip_with_their_header(tmp_path):
    state = {"a": torch.randn(3, 4), "b": torch.arange(5), "c": torch.tensor(math.pi)}
    teacher_files.write(tmp_path / "x.safetensors", state, config={"n": [1, 2]}, provenance={"seed": 0})
    back, header = teacher_files.read(tmp_path / "x.safetensors")
    assert header == {"config": {"n": [1, 2]}, "provenance": {"seed": 0}}
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_provenance_has_one_vocabulary(tmp_path):
    with pytest.raises(ValueError, match="provenance has no author. Allowed: made_by, recipe"):
        teacher_files.write(tmp_path / "x.safetensors", {}, provenance={"author": "me"})
    assert not (tmp_path / "x.safetensors").exists()


def test_the_hash_sees_names_shapes_and_values():
    one = {"a": torch.zeros(4)}
    others = {"b": torch.zeros(4)}, {"a": torch.zeros(2, 2)}, {"a": torch.ones(4)}, {"a": torch.zeros(4).double()}
    assert len({teacher_files.digest(state) for state in (one, *others)}) == 5


def test_a_package_path_is_a_file_inside_it_and_anything_else_a_path(tmp_path, monkeypatch):
    assert teacher_files.located("limbeck:py.typed").is_file()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert teacher_files.located("~/x.safetensors") == tmp_path / "x.safetensors"
    for path in ("no_such_package:x", "no_such.package:x", "limbeck.errors:x"):
        assert str(teacher_files.located(path)) == path
