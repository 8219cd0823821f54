"""Exports load without Limbeck, return what the student returns, and never overwrite unasked."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from limbeck.errors import LimbeckError, RunExists
from limbeck.export.safetensors import export_safetensors
from limbeck.export.torch_program import export_torch
from limbeck.interfaces import Batch, Data, Sample, Sampler, Space
from limbeck.networks.denoiser import Denoiser
from limbeck.process.gaussian import EDM, RectifiedFlow
from limbeck.sampling.rollouts import Plan, rollout


class Network(nn.Module):
    """A small conditional network with tied weights, so that sharing memory is met."""

    def __init__(self, classes=4):
        super().__init__()
        self.inner, self.middle, self.outer = nn.Linear(7, 16), nn.Linear(16, 16), nn.Linear(16, 6)
        self.label = nn.Embedding(classes, 16)
        self.again = self.middle

    def forward(self, x, time, cond=None, **asked):
        hidden = torch.tanh(self.inner(torch.cat([x.flatten(1), time[:, None]], 1)))
        if cond is not None:
            hidden = hidden + self.label(cond)
        return self.outer(torch.tanh(self.again(self.middle(hidden)))).reshape(x.shape)


class Renoise(Sampler):
    """The few-step rollout with fresh noise between calls."""

    def plan(self, process, steps):
        return Plan.uniform(process, steps)

    def __call__(self, predictor, cond, *, steps, rng, batch_size=None, noise=None):
        return rollout(predictor, cond, plan=self.plan(predictor.process, steps), rng=rng, grad="none", noise=noise)


class Uniform(Sampler):
    """Draws what cannot be an input."""

    def __call__(self, predictor, cond, *, steps, rng, batch_size=None, noise=None):
        value = noise + rng.uniform("jitter", noise.shape)
        return Sample(value=value, at=value, t_from=1.0, t_to=0.0, evaluations=1)


class Four(Data):
    space = Space((2, 3))

    def __len__(self):
        return 40

    def batch(self, indices):
        return Batch(x0=torch.zeros(len(indices), 2, 3), cond=indices % 4)


@pytest.fixture
def make_run(tmp_path):
    def make(*, steps=3, process=None, sampler=None, conditional=True, network=None):
        torch.manual_seed(0)
        network = network or Denoiser(Network(), process or RectifiedFlow(), Space((2, 3)))
        path = tmp_path / "toy"
        path.mkdir(exist_ok=True)
        table = {
            "rows": [{"role": "student", "metrics": {"frechet": 0.5}}, {"role": "teacher", "metrics": {"frechet": 0.4}}]
        }
        (path / "evaluation.json").write_text(json.dumps(table))
        content = {"name": "toy", "teacher": {"use": "big"}, "objective": {"use": "dmd2"}, "data": {"use": "four"}}
        recipe = SimpleNamespace(to_dict=lambda: content, generator=SimpleNamespace(use="toy"))
        data = Four() if conditional else None
        built = SimpleNamespace(
            sampler=sampler or Renoise(), sampling_steps=steps, data=data, teacher=None, recipe=recipe
        )
        built.teacher = SimpleNamespace(provenance={"licence": "CC BY 4.0"})
        return SimpleNamespace(path=path, recipe=recipe, built=built, generator=lambda: network)

    return make


WITHOUT_LIMBECK = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0].startswith("limbeck"):
            raise ImportError(name + " is not to be imported here")
sys.meta_path.insert(0, Refuse())
import torch
from safetensors.torch import load_file, save_file
given = load_file(sys.argv[2])
student = torch.export.load(sys.argv[1]).module()
save_file({"samples": student(*(given[name] for name in sorted(given)))}, sys.argv[3])
assert not any(name.startswith("limbeck") for name in sys.modules)
"""


def run_without_limbeck(program, inputs, folder):
    given, out = folder / "given.safetensors", folder / "out.safetensors"
    save_file({f"{k}": value for k, value in enumerate(inputs)}, given)
    command = [sys.executable, "-I", "-c", WITHOUT_LIMBECK, str(program), str(given), str(out)]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    return load_file(out)["samples"]


@pytest.mark.slow
def test_the_program_samples_in_a_process_without_limbeck(make_run, tmp_path):
    run = make_run(steps=3)
    files = export_torch(run, tmp_path / "out")
    assert [file.name for file in files] == ["student.pt2", "student.safetensors", "config.json", "README.md"]
    noise, first, second = (torch.randn(9, 2, 3) for _ in range(3))
    labels = torch.arange(9) % 4
    got = run_without_limbeck(files[0], (noise, labels, first, second), tmp_path)

    # the three calls written out: at t = 1, 2/3, 1/3 of rectified flow, x = (1 - t) x0_hat + t renoise between them
    network, x = run.generator(), noise
    with torch.no_grad():
        for t, renoise in ((1.0, first), (2 / 3, second), (1 / 3, None)):
            x0_hat = network(x, torch.full((9,), t), labels).x0_hat
            following = t - 1 / 3
            x = (1 - following) * x0_hat + following * renoise if renoise is not None else x0_hat
    torch.testing.assert_close(got, x0_hat, rtol=0, atol=1e-5)
    assert got.std() > 0.05


def test_any_batch_size_goes_in(make_run, tmp_path):
    student = torch.export.load(export_torch(make_run(steps=1), tmp_path / "out")[0]).module()
    for rows in (1, 2, 17):
        assert student(torch.randn(rows, 2, 3), torch.zeros(rows, dtype=torch.long)).shape == (rows, 2, 3)


def test_noise_is_standard_normal_whatever_the_process_starts_from(make_run, tmp_path):
    run = make_run(steps=1, process=EDM(), conditional=False)
    program = export_torch(run, tmp_path / "out")[0]
    noise = torch.randn(5, 2, 3)
    with torch.no_grad():
        expected = run.generator()(80.0 * noise, torch.full((5,), 80.0)).x0_hat
    torch.testing.assert_close(torch.export.load(program).module()(noise), expected, rtol=1e-4, atol=1e-4)


def test_weights_load_strictly_and_carry_the_config(make_run, tmp_path):
    run = make_run()
    weights, config = export_safetensors(run, tmp_path / "out")
    fresh = Denoiser(Network(), RectifiedFlow(), Space((2, 3)))
    fresh.load_state_dict(load_file(weights))
    assert torch.equal(fresh.network.inner.weight, run.generator().network.inner.weight)
    with safe_open(weights, framework="pt") as file:
        header = json.loads(file.metadata()["limbeck"])
    assert header == json.loads(config.read_text())
    assert header["sampling"]["evaluations"] == 3 and header["metrics"]["student"] == {"frechet": 0.5}
    assert header["process"] == {"type": "RectifiedFlow", "shift": 1.0}


def test_exporting_leaves_the_run_as_it_was(make_run, tmp_path):
    run = make_run()
    network = run.generator().train()
    export_torch(run, tmp_path / "out")
    assert network.training and all(parameter.requires_grad for parameter in network.parameters())


def test_the_card_says_how_to_load_and_its_code_runs(make_run, tmp_path, monkeypatch):
    card = export_torch(make_run(steps=2), tmp_path / "out")[3].read_text()
    assert "distilled from the teacher `big` with `dmd2`" in card and "2 network evaluations per sample" in card
    assert "| this model | 0.5 |" in card and "The teacher `big`: CC BY 4.0." in card and "```yaml\nname: toy" in card
    code = card.split("```python\n")[1].split("```")[0].replace("% 10", "% 4")
    monkeypatch.chdir(tmp_path / "out")
    scope = {}
    exec(code, scope)
    assert scope["samples"].shape == (16, 2, 3)


def test_no_folder_of_this_machine_is_left_in_the_program(make_run, tmp_path):
    program = export_torch(make_run(), tmp_path / "out")[0].read_bytes()
    assert b"stack_trace" not in program and str(tmp_path).encode() not in program and b"/src/limbeck" not in program


@pytest.mark.parametrize("exporter", [export_torch, export_safetensors])
def test_a_folder_that_holds_something_is_refused_unless_asked(make_run, tmp_path, exporter):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("precious")
    with pytest.raises(RunExists, match="is not empty, and nothing in it was touched"):
        exporter(make_run(), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
    exporter(make_run(), tmp_path / "out", overwrite=True)
    exporter(make_run(), tmp_path / "out", overwrite=True)
    assert (tmp_path / "out/mine.txt").read_text() == "precious"


def test_a_sampler_whose_draws_cannot_be_inputs_is_refused_with_a_way_out(make_run, tmp_path):
    with pytest.raises(LimbeckError, match=r"draws 'jitter'.*--to safetensors"):
        export_torch(make_run(sampler=Uniform()), tmp_path / "out")


def test_a_network_that_branches_on_values_is_refused_with_a_way_out(make_run, tmp_path):
    class Branching(Network):
        def forward(self, x, time, cond=None, **asked):
            return super().forward(x, time, cond) * (2.0 if float(x.sum()) > 0 else 1.0)

    network = Denoiser(Branching(), RectifiedFlow(), Space((2, 3)))
    with pytest.raises(LimbeckError, match="could not trace the student"):
        export_torch(make_run(network=network), tmp_path / "out")
