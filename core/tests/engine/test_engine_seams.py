"""What tokens and scenes ask of the engine: learning rates by name, frozen bases, losses over items, schedules,
exports, metrics of models, teacher files."""

import json

import engine_problem as problem
import pytest
import torch
from torch import nn

from limbeck.engine import tensor_file
from limbeck.errors import CheckpointError, LimbeckError, RecipeError
from limbeck.evaluation import measure
from limbeck.export import teacher_files
from limbeck.interfaces import Loss, ModelMetric, Objective, Phase, Teacher, average
from limbeck.manifest import Component, Needs
from limbeck.plugins.registry import registry
from limbeck.recipe import load
from limbeck.runs.run import Run
from limbeck.sampling.samples import Samples

STILL = {"use": "tiny_net", "init": "random", "dropout": 0.0}
NO_EVALUATION = {"every": None, "metrics": []}


def weights(folder, name="generator"):
    return tensor_file.read(max((folder / "checkpoints").glob("step-*")) / f"{name}.safetensors")


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


# --- learning rates by name ------------------------------------------------------------------------------------------


class Scaled(problem.Net):
    """Parts of the network learn at other rates; of two prefixes the longer one counts."""

    lr_scales = {"first": 0.25, "first.bias": 3.0, "last": 0.0}


def test_a_step_moves_every_parameter_by_its_own_share_of_the_rate(tmp_path):
    once = {"steps": 1, "optimizer": "sgd", "betas": [0.0, 0.0], "schedule": "constant", "warmup": 0, "clip": None,
            "lr": 0.1, "phases": {}, "ema": None}  # fmt: skip
    with registry.register(Component("generator", "tiny_scaled", Scaled), name="scaled"):
        moved = {}
        for use in ("tiny_net", "tiny_scaled"):
            options = {"use": use, "init": "random", "dropout": 0.0}
            built = problem.build(generator=options, train=once, objective={"use": "tiny_duel", "dropout": 0.0})
            before = {k: v.clone() for k, v in built.generator.state_dict().items()}
            from limbeck.runs import training

            training.train(built, tmp_path / use, progress=False)
            moved[use] = {k: v - before[k] for k, v in built.generator.state_dict().items()}
    plain, scaled = moved["tiny_net"], moved["tiny_scaled"]
    assert all(float(plain[k].abs().max()) > 1e-4 for k in ("first.weight", "first.bias", "middle.weight", "last.bias"))
    for name, factor in (("first.weight", 0.25), ("first.bias", 3.0), ("middle.weight", 1.0), ("last.bias", 0.0)):
        torch.testing.assert_close(scaled[name], factor * plain[name], rtol=1e-4, atol=1e-7)


def test_a_run_with_several_rates_resumes_bitwise(tmp_path):
    with registry.register(Component("generator", "tiny_scaled", Scaled), name="scaled"):
        options = {"generator": {"use": "tiny_scaled", "init": "random"}, "evaluate": NO_EVALUATION}
        constant = {"schedule": "constant"}  # a shorter cosine is another schedule
        problem.train(tmp_path / "calm", **options, train=constant)
        problem.train(tmp_path / "twice", **options, train={**constant, "steps": 8})
        problem.train(tmp_path / "twice", **options, train=constant, resume=True)
    assert problem.results(tmp_path / "calm") == problem.results(tmp_path / "twice")


# --- what is frozen stays frozen -------------------------------------------------------------------------------------


def test_parameters_that_are_frozen_when_a_role_is_added_never_move(tmp_path):
    options = {"use": "tiny_adapted", "init": "random"}
    built = problem.build(generator=options, train={"steps": 6})
    before = {k: v.clone() for k, v in built.generator.state_dict().items()}
    from limbeck.runs import training

    training.train(built, tmp_path / "run", progress=False)
    for name, value in built.generator.state_dict().items():
        same = torch.equal(value, before[name])
        assert same is not name.startswith(("adapter", "calls")), f"{name} {'stood still' if same else 'moved'}"
    kept = weights(tmp_path / "run", "optimizer-generator")
    assert {name.partition(":")[0] for name in kept} == {"generator/adapter.weight", "generator/adapter.bias"}
    assert [name for name, p in built.generator.named_parameters() if p.requires_grad and "adapter" not in name] == []


def test_a_network_that_is_frozen_altogether_is_a_teachers_copy_and_learns():
    objective = problem.Counted()
    objective.setup(problem.Net(dropout=0.0).requires_grad_(False))
    assert len(objective.learning("generator")) == len(list(problem.Net().parameters()))


# --- losses over items -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accumulate", [2, 8])
def test_a_mean_over_items_is_that_of_the_whole_batch_however_it_is_divided(tmp_path, accumulate):
    shared = {"generator": STILL, "objective": {"use": "tiny_counted"}, "evaluate": NO_EVALUATION}
    train = {"phases": {}, "steps": 8}
    for name, more in (("whole", {}), ("parts", {"accumulate": accumulate})):
        recipe = problem.recipe(**shared, train={**train, **more})
        recipe["train"]["phases"] = {}
        from limbeck.runs import training
        from limbeck.runs.build import build

        problem.register()
        training.train(build(load(recipe)), tmp_path / name, progress=False)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    for key in set(whole) - {"calls"}:
        torch.testing.assert_close(parts[key], whole[key], rtol=0, atol=1e-6)
    for a, b in zip(lines(tmp_path / "whole"), lines(tmp_path / "parts"), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-6) and a["error"] == pytest.approx(b["error"], abs=1e-6)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], abs=1e-5) and a["loss"] > 1e-3


# --- schedules -------------------------------------------------------------------------------------------------------


class Pull(Teacher):
    """Says where to go, and changes its mind with the step."""

    def __init__(self):
        super().__init__()
        self.heard, self.aim = [], 0.0

    def at_step(self, step):
        self.heard.append(step)
        self.aim = 0.1 * step

    def forward(self, x):
        return torch.full_like(x, self.aim)


class Follow(Objective):
    """The student follows the teacher's prediction."""

    default_source = "tiny_rows"

    def setup(self, generator, teacher=None, **named):
        self.teacher = teacher
        self.add_role("generator", generator)

    def sampling(self):
        return {"use": "tiny_once", "steps": 1}

    def phases(self, step):
        return [Phase("generator", ("generator",))]

    def loss(self, phase, batch, rng):
        z = rng.normal("z", batch.x0.shape)
        x0 = self.network("generator", phase)(z, torch.ones(len(z))).x0_hat
        return Loss(average((x0 - self.teacher(x0.detach())).square().mean(1)))


def test_who_follows_a_schedule_hears_every_step_once_and_the_right_ones_after_a_resume(tmp_path):
    taught = [Component("teacher", "tiny_pull", Pull), Component("objective", "tiny_follow", Follow, needs=Needs())]
    with registry.register(taught, name="taught"):

        def train(folder, steps, **how):
            recipe = problem.recipe(
                teacher={"use": "tiny_pull"}, generator=STILL, objective={"use": "tiny_follow"}, evaluate=NO_EVALUATION
            )
            recipe["train"] = {**recipe["train"], "steps": steps, "phases": {}, "schedule": "constant"}
            from limbeck.runs import training
            from limbeck.runs.build import build

            problem.register()
            built = build(load(recipe))
            training.train(built, folder, progress=False, **how)
            return built.teacher.heard

        assert train(tmp_path / "calm", 12) == list(range(12))
        assert train(tmp_path / "twice", 5) == list(range(5))
        assert train(tmp_path / "twice", 12, resume=True) == list(range(5, 12))
    assert problem.results(tmp_path / "calm") == problem.results(tmp_path / "twice")
    assert lines(tmp_path / "calm")[-1]["loss"] > 1e-3


# --- exports and shortcuts -------------------------------------------------------------------------------------------


def note(run, directory, *, word: str = "hello"):
    """Writes one word and how many weights there are."""
    directory.mkdir(parents=True)
    weights = sum(p.numel() for p in run.generator().parameters())
    (directory / "note.txt").write_text(f"{word} {weights}")
    return [directory / "note.txt"]


def spoils(run, directory):
    raise LimbeckError("there is no surface to export")


@pytest.fixture
def exporters():
    brought = [Component("exporter", "tiny_note", note), Component("exporter", "tiny_spoils", spoils)]
    with registry.register(brought, name="leaving"):
        yield


def test_a_recipes_exports_lie_in_the_run_and_one_that_fails_costs_a_line(tmp_path, exporters, capsys):
    wanted = ["tiny_spoils", {"use": "tiny_note", "word": "bye"}]
    problem.train(tmp_path / "run", train={"steps": 2}, evaluate=NO_EVALUATION, export=wanted)
    count = sum(p.numel() for p in problem.Net().parameters())
    assert (tmp_path / "run/exports/tiny_note/note.txt").read_text() == f"bye {count}"
    said = capsys.readouterr().err
    assert "export tiny_spoils failed: there is no surface to export" in said
    assert f"limbeck export {tmp_path / 'run'} --to tiny_spoils DIR" in said
    assert Run(tmp_path / "run").status == "finished"


def test_an_exporter_that_is_not_known_is_refused_before_anything_runs(tmp_path, exporters):
    with pytest.raises(
        LimbeckError, match=r"export\[0\].use: no exporter named 'tiny_notes'. Did you mean 'tiny_note'"
    ):
        load(problem.recipe(export=["tiny_notes"]))


def test_a_shortcut_stands_for_its_path_on_the_command_line_only():
    problem.register()
    shortcuts = {"speed": "train.lr", "judge": "evaluate"}
    recipe = load(problem.recipe(shortcuts=shortcuts), ["speed=0.5", "judge.samples=7"])
    assert recipe.train.lr == 0.5 and recipe.evaluate.samples == 7 and recipe.shortcuts == shortcuts
    assert load(recipe.to_dict(), ["speed=0.25"]).train.lr == 0.25
    with pytest.raises(RecipeError, match="unknown key 'sped'. Did you mean 'speed'"):
        load(problem.recipe(shortcuts=shortcuts), ["sped=0.5"])


# --- metrics of models, samples of tokens ----------------------------------------------------------------------------


class Size(ModelMetric):
    """Looks at the model, and beside it at the teacher."""

    better = {"weights": "lower", "more": "higher"}

    def __call__(self, model, teacher, reference):
        assert not model.training and not torch.is_grad_enabled()
        mine, theirs = (sum(p.numel() for p in m.parameters()) if m is not None else 0 for m in (model, teacher))
        return {"weights": mine, "more": mine - theirs}


def test_metrics_of_models_are_asked_about_models_and_left_out_for_real_data():
    model, teacher = nn.Linear(3, 1).train(), nn.Linear(1, 1)
    metrics = {"size": Size(), "spread": problem.Spread()}
    samples = Samples(torch.randn(8, 2))
    data = problem.Points()
    found = measure(samples, metrics, data, model=model, teacher=teacher)
    assert (found["weights"], found["more"]) == (4.0, 2.0) and "spread" in found and model.training
    assert set(measure(samples, metrics, data)) == {"spread"}
    broken = measure(Samples(torch.full((2, 2), torch.nan)), metrics, data, model=model)
    assert broken["weights"] == 4.0 and broken["spread"] != broken["spread"]


def test_the_table_has_a_metric_of_models_in_every_row_but_that_of_real_data(tmp_path):
    with registry.register(Component("metric", "tiny_size", Size), name="sizes"):
        evaluate = {"every": None, "compare": True, "metrics": ["tiny_size"], "samples": 8}
        problem.train(tmp_path / "run", train={"steps": 2}, evaluate=evaluate)
    table = json.loads((tmp_path / "run/evaluation.json").read_text())
    assert [row["role"] for row in table["rows"]] == ["student"] and table["primary"] == "weights"
    assert table["rows"][0]["metrics"]["weights"] == sum(p.numel() for p in problem.Net().parameters())


# --- teacher files ---------------------------------------------------------------------------------------------------


def test_a_run_becomes_a_teacher_file_that_says_how_it_is_built_and_where_it_comes_from(tmp_path):
    options = {"use": "tiny_net", "init": "random", "width": 8, "dropout": 0.5}
    problem.train(tmp_path / "run", generator=options, train={"steps": 2}, evaluate=NO_EVALUATION)
    (path,) = Run(tmp_path / "run").export("teacher", tmp_path / "out", dtype="float32")
    teacher = teacher_files.load(path, problem.Net, dropout=0.0)
    assert teacher.dropout.p == 0.0 and teacher.first.out_features == 8, "width as trained, dropout as asked"
    assert not teacher.training and not any(p.requires_grad for p in teacher.parameters())
    trained = Run(tmp_path / "run").generator().state_dict()
    assert all(torch.equal(value, trained[name]) for name, value in teacher.state_dict().items())
    assert teacher.provenance["recipe"] == "tiny" and teacher.provenance["steps"] == 2
    (half,) = Run(tmp_path / "run").export("teacher", tmp_path / "half")
    assert half.stat().st_size < path.stat().st_size
    worst = max(
        float((v - trained[k]).abs().max()) for k, v in teacher_files.load(half, problem.Net).state_dict().items()
    )
    assert 0 < worst < 1e-3


def test_a_teacher_file_names_the_file_that_its_training_began_from(tmp_path):
    problem.train(tmp_path / "run", train={"steps": 1}, evaluate=NO_EVALUATION)
    (first,) = Run(tmp_path / "run").export("teacher", tmp_path / "first", dtype="float32")
    header = teacher_files.read(first)[1]
    assert header["provenance"]["began_from"] == "random"
    generator = {"use": "tiny_net", "init": str(first)}
    problem.train(tmp_path / "more", generator=generator, train={"steps": 2}, evaluate=NO_EVALUATION)
    (second,) = Run(tmp_path / "more").export("teacher", tmp_path / "second", dtype="float32")
    began = teacher_files.read(second)[1]["provenance"]["began_from"]
    assert began["file"] == first.name and str(tmp_path) not in json.dumps(began)
    assert began["provenance"] == header["provenance"] and len(began["sha256"]) == 64
    generator = {"use": "tiny_net", "init": str(tmp_path / "more")}
    problem.train(tmp_path / "third", generator=generator, train={"steps": 1}, evaluate=NO_EVALUATION)
    (third,) = Run(tmp_path / "third").export("teacher", tmp_path / "out")
    assert teacher_files.read(third)[1]["provenance"]["began_from"] == "more"


def test_a_changed_teacher_file_is_refused(tmp_path):
    path = tmp_path / "teacher.safetensors"
    teacher_files.write(path, problem.Net(width=8).state_dict(), config={"width": 8})
    teacher_files.load(path, problem.Net)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="does not hold what was written"):
        teacher_files.load(path, problem.Net)
