"""`limbeck compare` on a toy problem: what runs where, what is kept, what goes on, and what the table says."""

import json
import os
import re
import signal
import sys
from pathlib import Path

import engine_problem as problem
import pytest
import torch

from limbeck.cli import main
from limbeck.errors import Interrupted, MissingAbility, OptionError, RecipeError, RunExists, UnknownComponent
from limbeck.interfaces import Loss, Objective, Phase, average
from limbeck.manifest import Component, Needs
from limbeck.options import Options
from limbeck.plugins.registry import registry
from limbeck.recipe import load
from limbeck.runs import comparison

BASE = """
name: points
generator: {use: tiny_net, init: random, dropout: 0.0}
objective: {use: tiny_duel, critic_updates: 1, dropout: 0.0}
data: {use: tiny_points}
train:
  steps: 6
  batch_size: 8
  lr: 1.0e-2
  log_every: 1
  checkpoint: {every: 2}
  phases: {critic: {lr: 2.0e-2}}
evaluate: {samples: 32, metrics: [tiny_spread], grid: 8}
shortcuts: {speed: train.lr}
variants:
  regress: {objective.gain: 3.0, train: {steps: 4}}
  breaks: {train.lr: 5.0e-3}
"""
OTHER = """
name: others
generator: {use: other_net, init: random, dropout: 0.0}
objective: {use: tiny_duel, dropout: 0.0}
data: {use: tiny_points}
train: {steps: 2, batch_size: 8}
evaluate: {samples: 32, metrics: [tiny_spread], grid: 0}
report: {write: false}
"""


class RegressOptions(Options):
    gain: float = 1.0


class Regress(Objective):
    """The student's answer to noise, against the data; can be interrupted."""

    Options = RegressOptions
    default_source = "tiny_rows"

    def setup(self, generator, teacher=None, **named):
        self.add_role("generator", generator)

    def sampling(self):
        return {"use": "tiny_once", "steps": 1}

    def phases(self, step):
        return [Phase("generator", ("generator",))]

    def loss(self, phase, batch, rng):
        z = rng.normal("z", batch.x0.shape)
        error = (self.network("generator", phase)(z, torch.ones(len(z))).x0_hat - batch.x0).square().mean(1)
        return Loss(self.options.gain * average(error))


class Refuses(Regress):
    """Cannot be set up, and says why."""

    def setup(self, generator, teacher=None, **named):
        raise ValueError("this objective wants another network")


class Breaks(Regress):
    """Fails in its first step, of a fault of its own."""

    def loss(self, phase, batch, rng):
        raise ZeroDivisionError("nothing to divide by")


def components():
    predicts = {"gaussian", "denoiser", "sampling"}
    return [
        Component("objective", "regress", Regress, needs=Needs(generator={"denoiser"})),
        Component("objective", "refuses", Refuses, needs=Needs(generator={"denoiser"})),
        Component("objective", "breaks", Breaks, needs=Needs(generator={"denoiser"})),
        Component("objective", "maps", Regress, needs=Needs(generator={"flow_map"}, teacher={"denoiser"})),
        Component("generator", "other_net", problem.Net, can={*predicts, "flow_map"}, modality="others"),
        Component("recipe", "points", "toy_recipes:points.yaml", modality="points", details={"compare": "points"}),
        Component("recipe", "others", "toy_recipes:others.yaml", modality="others", details={"compare": "mixed"}),
        Component("recipe", "points_too", "toy_recipes:points.yaml", details={"compare": "mixed"}),
    ]


@pytest.fixture(autouse=True)
def toys(tmp_path, monkeypatch):
    """A working folder, the toy components, and their recipes in a package."""
    package = tmp_path / "packages/toy_recipes"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "points.yaml").write_text(BASE)
    (package / "others.yaml").write_text(OTHER)
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.delitem(sys.modules, "toy_recipes", raising=False)
    monkeypatch.chdir(tmp_path)
    problem.register()
    with registry.register(components(), name="toys"):
        yield
    sys.modules.pop("toy_recipes", None)


def contents(folder):
    """Bytes and time of every file."""
    return {
        path.relative_to(folder): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def weights(folder):
    return (max((folder / "checkpoints").glob("step-*")) / "generator.safetensors").read_bytes()


# --- what runs where -------------------------------------------------------------------------------------------------


def test_the_bases_own_objective_keeps_its_options_and_another_starts_from_its_own():
    duel, regress = comparison.plan(["tiny_duel", "regress"], ["toys/points"])
    assert duel.recipe.objective.options["critic_updates"] == 1 and duel.recipe.train.phases["critic"].lr == 2e-2
    assert duel.recipe.train.steps == 6 and duel.folder == Path("runs/compare/toys/points/tiny_duel")
    assert regress.recipe.objective.options == {"gain": 3.0}
    assert regress.recipe.train.steps == 4, "the variant's"
    assert regress.recipe.train.lr == 1e-2 and regress.recipe.generator.options["dropout"] == 0.0, "the base's"
    assert not regress.recipe.train.phases, "phases belong to the objective that was replaced"
    assert not regress.recipe.variants and regress.recipe.name == "toys_points_regress"


def test_overrides_reach_every_cell_or_those_of_one_base_and_come_last():
    given = ["train.steps=3", "points:train.seed=7", "points:speed=0.5"]
    duel, regress, other, _ = comparison.plan(["tiny_duel", "regress"], ["points", "mixed"], overrides=given)
    assert [c.recipe.train.steps for c in (duel, regress, other)] == [3, 3, 3]
    assert [c.recipe.train.seed for c in (duel, other)] == [7, 0] and duel.recipe.train.lr == 0.5
    for wrong, said in (("train.steps", "path=value"), ("pixels:train.steps=3", "'pixels' is not compared on")):
        with pytest.raises(RecipeError, match=said):
            comparison.plan(["regress"], ["points"], overrides=[wrong])
    with pytest.raises(OptionError, match="stepz"):
        comparison.plan(["regress"], ["points"], overrides=["train.stepz=3"])


def test_an_error_in_a_variant_names_its_file_and_line(tmp_path):
    path = tmp_path / "packages/toy_recipes/points.yaml"
    path.write_text(BASE.replace("train: {steps: 4}", "train: {steps: none at all}"))
    line = next(i for i, text in enumerate(path.read_text().splitlines(), 1) if "none at all" in text)
    with pytest.raises(OptionError, match=rf"points.yaml:{line}  train.steps"):
        comparison.plan(["regress"], ["points"])


def test_an_objective_runs_on_the_first_recipe_of_a_base_that_it_fits():
    maps = Component("objective", "only_maps", Regress, needs=Needs(generator={"flow_map"}))
    plain = Component("objective", "only_trains", Regress, needs=Needs(generator={"denoiser"}))
    with registry.register([maps, plain], name="more"):
        first, second = comparison.plan(["only_maps", "only_trains"], ["toys/mixed"])
        assert (first.recipe.generator.use, second.recipe.generator.use) == ("other_net", "other_net")
    on_second = Component("objective", "wants_conditions", Regress, needs=Needs(data={"samples"}))
    with registry.register(on_second, name="more"):
        assert comparison.plan(["wants_conditions"], ["mixed"])[0].recipe.name == "toys_mixed_wants_conditions"


def test_what_lacks_an_ability_is_a_cell_with_what_is_missing_and_an_error_only_when_nothing_is_left():
    regress, maps = comparison.plan(["regress", "maps"], ["points"])
    assert regress.recipe is not None and maps.recipe is None and maps.status == "impossible"
    assert maps.reason == "no flow_map (generator), denoiser (teacher)"
    with pytest.raises(MissingAbility, match=r"maps on toys/points: no flow_map .*\n.*limbeck matrix"):
        comparison.plan(["maps"], ["points"])


def test_without_names_everything_that_bases_and_variants_name_is_compared():
    cells = comparison.plan(None, ["toys/points"])
    assert [cell.objective for cell in cells] == ["tiny_duel", "regress", "breaks"]
    assert {"image/digits", "toys/points"} & set(comparison.bases())


def test_any_recipe_is_a_base_and_unknown_ones_are_told_with_what_is_there(tmp_path):
    (tmp_path / "mine.yaml").write_text(BASE.replace("name: points", "name: mine"))
    (cell,) = comparison.plan(["regress"], ["mine.yaml"], out=Path("out"))
    assert cell.folder == Path("out/mine/regress")
    with pytest.raises(UnknownComponent, match=r"'poinst'.*Did you mean 'points'|toys/points"):
        comparison.plan(["regress"], ["poinst"])
    with pytest.raises(UnknownComponent, match="no objective named 'regres'.*'regress'"):
        comparison.plan(["regres"], ["points"])
    with pytest.raises(RecipeError, match="toys/points is given twice"):
        comparison.plan(["regress"], ["points", "toys/points"])


# --- running ---------------------------------------------------------------------------------------------------------


def test_finished_runs_are_left_as_they_are_and_what_is_new_is_added(tmp_path):
    said = []
    first = comparison.compare(["tiny_duel"], ["points"], out="out", say=said.append)
    before = contents(tmp_path / "out/toys")
    found = comparison.compare(["tiny_duel", "regress", "maps"], ["points"], out="out", say=said.append)
    after = contents(tmp_path / "out/toys")
    assert {path: after[path] for path in before} == before, "a finished run was touched"
    assert {cell.objective: cell.status for cell in found.cells} == {
        "tiny_duel": "finished", "regress": "finished", "maps": "impossible",
    }  # fmt: skip
    assert first.rows()[0]["student"] == found.rows()[0]["student"]
    assert said == [
        "  1/1  tiny_duel on toys/points",
        "  maps on toys/points: cannot run, no flow_map (generator), denoiser (teacher)",
        "  1/2  tiny_duel on toys/points: finished before, kept",
        "  2/2  regress on toys/points",
    ]
    threads = torch.get_num_threads()
    comparison.compare(["regress"], ["points"], out="threads", overrides=[f"train.threads={threads + 1}"])
    assert torch.get_num_threads() == threads, "the threads of one run are not those of the next"


def test_a_cell_is_the_run_that_its_recipe_makes_alone(tmp_path):
    import limbeck

    (cell,) = comparison.compare(["regress"], ["points"], out="out").cells
    alone = limbeck.pretrain(cell.folder / "recipe.yaml", out="alone", progress=False)
    assert weights(cell.folder) == weights(alone.path)
    assert load(cell.folder).objective.options == {"gain": 3.0}


@pytest.mark.slow
def test_ctrl_c_saves_and_the_same_call_goes_on_to_the_same_end(tmp_path, monkeypatch):
    objectives = ["tiny_duel", "regress"]
    calm = comparison.compare(objectives, ["points"], out="calm")

    def press_ctrl_c_in_the_second(line):
        if "regress on" in line:
            monkeypatch.setattr(Regress, "loss", _interrupted(Regress.loss))

    with pytest.raises(Interrupted, match=r"stopped in regress on toys/points; 1 of 2 runs .*\n  go on: limbeck it"):
        comparison.compare(objectives, ["points"], out="out", again="limbeck it", say=press_ctrl_c_in_the_second)
    assert json.loads((tmp_path / "out/comparison.json").read_text())["cells"][1]["status"] == "interrupted"
    assert (tmp_path / "out/report.html").is_file()
    before = contents(tmp_path / "out/toys/points/tiny_duel")
    found = comparison.compare(objectives, ["points"], out="out")
    assert [cell.status for cell in found.cells] == ["finished", "finished"]
    assert contents(tmp_path / "out/toys/points/tiny_duel") == before
    for one, two in zip(calm.cells, found.cells, strict=True):
        assert weights(one.folder) == weights(two.folder)


def _interrupted(loss):
    """A loss that is interrupted in its third step, once."""

    def once(self, phase, batch, rng):
        if rng.step == 2:
            Regress.loss = loss
            os.kill(os.getpid(), signal.SIGINT)
        return loss(self, phase, batch, rng)

    return once


def test_a_run_that_fails_costs_its_row_and_not_the_others(tmp_path):
    found = comparison.compare(["refuses", "breaks", "regress"], ["points"], out="out")
    assert [cell.status for cell in found.cells] == ["failed", "failed", "finished"]
    assert found.cells[0].reason == "this objective wants another network"  # an answer to the recipe, in plain words
    assert found.cells[1].reason == "ZeroDivisionError: nothing to divide by"  # a fault: its kind is named
    assert [cell.objective for cell in found.failed] == ["refuses", "breaks"]


def test_a_run_of_another_recipe_is_refused_and_only_that_one_made_again_when_asked(tmp_path):
    comparison.compare(["tiny_duel", "regress"], ["points"], out="out")
    before = contents(tmp_path / "out/toys/points/tiny_duel")
    path = tmp_path / "packages/toy_recipes/points.yaml"
    path.write_text(BASE.replace("objective.gain: 3.0", "objective.gain: 2.0"))
    with pytest.raises(RunExists, match=r"regress holds a run of another recipe \(objective.gain 3.0 -> 2.0\)"):
        comparison.compare(["tiny_duel", "regress"], ["points"], out="out")
    comparison.compare(["tiny_duel", "regress"], ["points"], out="out", overwrite=True)
    assert contents(tmp_path / "out/toys/points/tiny_duel") == before
    assert load(tmp_path / "out/toys/points/regress").objective.options["gain"] == 2.0


def test_files_that_are_no_run_are_never_touched(tmp_path):
    diary = tmp_path / "out/toys/points/regress/diary.txt"
    diary.parent.mkdir(parents=True)
    diary.write_text("dear diary")
    with pytest.raises(RunExists, match="not a run; nothing was touched"):
        comparison.compare(["regress"], ["points"], out="out", overwrite=True)
    assert diary.read_text() == "dear diary"


def test_several_processes_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RecipeError, match="one after another, in one process"):
        comparison.compare(["regress"], ["points"])


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_a_row_holds_the_primary_metric_and_the_cost_of_its_run(tmp_path):
    found = comparison.compare(["regress", "maps"], ["points"], out="out")
    row, impossible = found.rows()
    table = json.loads((tmp_path / "out/toys/points/regress/evaluation.json").read_text())
    student = next(r for r in table["rows"] if r["role"] == "student")
    assert (row["metric"], row["better"], row["student"]) == ("spread", "lower", student["metrics"]["spread"])
    assert row["evaluations"] == 1 and row["ms_per_sample"] > 0 and row["steps"] == 4 and row["seconds"] > 0
    assert row["peak_memory_mib"] > 50 and row["run"] == "out/toys/points/regress"
    assert impossible["status"] == "impossible" and impossible["student"] is None and impossible["run"] is None
    assert json.loads((tmp_path / "out/comparison.json").read_text())["cells"] == found.rows()


def test_the_page_marks_the_best_shows_samples_and_leads_to_every_run(tmp_path):
    found = comparison.compare(["tiny_duel", "regress", "maps"], ["points"], out="out")
    page = found.report.read_text()
    assert "3 objectives on 1 base: 2 runs finished, 1 impossible." in page
    links = re.findall(r'href="([^"]+)"', page)
    assert links == [f"toys/points/{name}/report.html" for name in ("tiny_duel", "regress")]
    assert all((found.path / link).is_file() for link in links)
    assert page.count("★<span") == 1 and "no flow_map (generator)" in page
    assert page.count('<figure class="compared">') == 2 and "http" not in page.replace("http-equiv", "").replace(
        "http://www.w3.org/2000/svg", ""
    )


def test_the_command_prints_a_table_or_json_and_says_what_failed(capsys):
    arguments = ["compare", "--objectives", "regress,breaks,maps", "--on", "toys/points", "--out", "out"]
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    out, err = capsys.readouterr()
    assert stop.value.code == 1
    assert "1 of 3 runs failed" in err and "breaks on toys/points: ZeroDivisionError" in err
    lines = out.splitlines()
    assert lines[0].split()[:5] == ["on", "objective", "metric", "student", "teacher"]
    assert "spread (lower is better)" in lines[1] and re.search(r"breaks +failed", lines[2])
    assert "cannot run: no flow_map (generator), denoiser (teacher)" in lines[3]
    assert lines[-1] == "report    out/report.html"
    with pytest.raises(SystemExit):
        main([*arguments, "--json"])
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert [cell["status"] for cell in cells] == ["finished", "failed", "impossible"]
    with pytest.raises(SystemExit) as stop:
        main(["compare", "--objectives", "regress,", "--on", "points"])
    assert stop.value.code == 2 and "commas" in capsys.readouterr().err


def test_the_message_after_ctrl_c_is_the_command_that_goes_on(capsys, monkeypatch):
    monkeypatch.setattr(Regress, "loss", _interrupted(Regress.loss))
    with pytest.raises(SystemExit) as stop:
        main(["compare", "--objectives", "regress", "--on", "points", "--out", "a folder", "train.steps=5"])
    assert stop.value.code == 130
    said = capsys.readouterr().err
    assert "go on: limbeck compare --objectives regress --on points --out 'a folder' train.steps=5" in said
