"""The command line: tables, JSON, messages and exit codes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from limbeck.catalogue.plain_text import columns
from limbeck.cli import main
from limbeck.cli.tables import number
from limbeck.cli.terminal import split_resume
from limbeck.errors import CheckpointError, NonFinite, RunExists
from limbeck.manifest import LIMBECK_API, Component, Needs, hookimpl
from limbeck.plugins.discovery import PluginStatus
from limbeck.plugins.registry import registry

COMMANDS = (
    "plugins",
    "list",
    "show",
    "matrix",
    "recipes",
    "pretrain",
    "distill",
    "sample",
    "evaluate",
    "export",
    "report",
)
TOY = [
    Component("objective", "toy_loss", "no_such:Loss", summary="a toy loss", needs=Needs(generator={"denoiser"}),
              details={"family": "toys"}, reference="Toy 2020"),
    Component("objective", "toy_map", "no_such:Map", needs=Needs(generator={"flow_map"}, data={"reward"})),
    Component("generator", "toy", "no_such:Net", modality="toyland", can={"denoiser"}),
    Component("teacher", "toy", "no_such:Teacher", modality="toyland", can={"denoiser"}),
    Component("sampler", "toy_walk", lambda size=3: size, summary="walks"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def toys():
    with registry.register(TOY, name="toy"):
        yield


@pytest.fixture
def limbeck(capsys):
    """Run a command in this process: (exit code, standard output, standard error)."""

    def run(*arguments):
        code = 0
        try:
            main(list(arguments))
        except SystemExit as stop:
            code = stop.code or 0
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_and_exit_codes(limbeck, command):
    code, out, _ = limbeck(command, "--help")
    assert code == 0
    assert f"limbeck {command}" in out and re.search("Examples?:", out) and "Exit codes:" in out


def test_the_front_page_names_every_command_and_exit_code(limbeck):
    code, out, _ = limbeck("--help")
    assert code == 0 and all(command in out for command in COMMANDS)
    for exit_code in (
        "0 done",
        "2 wrong recipe",
        "3 a plugin",
        "4 the output",
        "5 torn",
        "6 a loss",
        "130 interrupted",
    ):
        assert exit_code in " ".join(out.split())
    assert "--install-completion" in out
    assert limbeck("--version")[1].startswith("limbeck 0.")


def test_plugins_prints_a_row_each_and_the_same_as_json(limbeck):
    code, out, _ = limbeck("plugins")
    assert code == 0
    assert re.search(r"^limbeck +limbeck +\S+ +1 +ok +.*exporters 3", out, re.M)
    assert limbeck("plugins", "list")[1] == out
    rows = json.loads(limbeck("plugins", "--json")[1])
    mine = next(row for row in rows if row["distribution"] == "limbeck")
    assert mine["status"] == "ok" and {"kind": "exporter", "name": "torch"} in mine["components"]
    assert json.loads(limbeck("plugins", "list", "--json")[1]) == rows


def test_a_broken_plugin_is_a_row_and_the_doctor_says_how_to_mend_it(limbeck, monkeypatch):
    bad = PluginStatus("old", "old-video", "0.0.4", 0, "incompatible",
                       "written for plugin API 0; this Limbeck has API 1",
                       "pip install -U old-video")  # fmt: skip
    slow = PluginStatus("slow", "slow-one", "1.0", 1, "ok", warnings=("its manifest imports torch",))
    monkeypatch.setattr(registry.index, "rows", [*registry.plugins(), bad, slow])
    code, out, err = limbeck("plugins")
    assert code == 0
    assert "incompatible  written for plugin API 0; this Limbeck has API 1. pip install -U old-video" in out
    assert "warnings for slow-one: limbeck plugins doctor" in err
    code, out, _ = limbeck("plugins", "doctor")
    assert code == 3
    assert "error    old-video: incompatible" in out and "fix: pip install -U old-video" in out
    assert "warning  slow-one: its manifest imports torch" in out
    found = json.loads(limbeck("plugins", "doctor", "--json")[1])
    assert {"level", "distribution", "message", "fix"} == set(found[0])


def test_list_takes_singular_and_plural_and_filters_by_modality(limbeck):
    assert limbeck("list", "objective")[1] == limbeck("list", "objectives")[1]
    code, out, _ = limbeck("list", "objectives", "--on", "toyland")
    assert code == 0 and re.search(r"toy_loss +toy +toys +generator: denoiser +a toy loss +Toy 2020", out)
    assert "toy_map" not in out
    names = {row["qualified"] for row in json.loads(limbeck("list", "generators", "--on", "toyland", "--json")[1])}
    assert "toy/toy" in names and "image/digits" not in names  # others of this process work on any modality


def test_what_does_not_exist_gets_the_nearest_name_and_exit_code_2(limbeck):
    for arguments, said in (
        (("list", "objctives"), "Did you mean 'objectives'"),
        (("list", "objectives", "--on", "toylan"), "Did you mean 'toyland'"),
        (("show", "toy_los"), "Did you mean 'toy_loss'"),
        (("show", "toy_los", "--kind", "objective"), "Did you mean 'toy_loss'"),
        (("distil", "x"), "Did you mean"),
        (("distill", "no_such_recipe"), "A recipe is a registered name, a .yaml file or a run folder"),
        (("report", "no_such_run"), "no run in no_such_run"),
    ):
        code, out, err = limbeck(*arguments)
        assert (code, out) == (2, "") and said in err and "Traceback" not in err


def test_show_prints_the_card_and_its_options(limbeck):
    code, out, _ = limbeck("show", "toy_loss")
    assert code == 0
    for part in (
        "objective toy_loss",
        "a toy loss",
        "family",
        "toys",
        "needs of generator",
        "Toy 2020",
        "toy/toy_loss",
    ):
        assert part in out
    assert "options cannot be shown" in out and "no_such" in out, "a component that cannot load still has a card"
    assert re.search(r"size +\S+ +3", limbeck("show", "toy_walk")[1])
    cards = json.loads(limbeck("show", "toy/toy", "--json")[1])
    assert [card["kind"] for card in cards] == ["teacher", "generator"]
    assert [c["kind"] for c in json.loads(limbeck("show", "toy", "--kind", "teacher", "--json")[1])] == ["teacher"]


def test_the_matrix_says_runs_or_what_is_missing(limbeck):
    code, out, _ = limbeck("matrix", "--on", "toyland")
    assert code == 0
    assert re.search(r"toy_loss +toy +runs", out)
    assert re.search(r"toy_map +toy +no flow_map \(generator\), reward \(data\)", out)
    rows = json.loads(limbeck("matrix", "--json")[1])
    assert next(row for row in rows if row["name"] == "toy_loss")["toyland"] == "runs"


def test_piped_tables_have_no_markup_and_do_not_wrap(limbeck):
    out = limbeck("list", "objectives")[1]
    assert "\x1b" not in out and "[" not in out.splitlines()[0]
    assert len(out.splitlines()) == 1 + len(registry.components("objective"))


def test_brackets_in_text_are_text_on_a_terminal_too(monkeypatch, capsys):
    from limbeck.cli.tables import show

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    show(["fix"], [['pip install "acme[kernels]"']])
    assert 'pip install "acme[kernels]"' in capsys.readouterr().out


# --- commands that work ----------------------------------------------------------------------------------------------


class FakeRun:
    """Stands for limbeck.runs.run.Run: keeps how it was called."""

    asked: list = []

    def __init__(self, path):
        self.path = Path(path)

    def sample(self, n, **how):
        self.asked.append((n, how))
        return SimpleNamespace(save=lambda path: Path(path).write_text("picture"))

    def evaluate(self):
        return [{"name": "student", "evaluations": 1, "ms_per_sample": 0.012, "metrics": {"frechet": float("nan")}}]

    def export(self, to, directory, **options):
        self.asked.append((to, options))
        return [directory / f"student.{to}"]

    def report(self):
        return self.path / "report.html"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a recipe file and a run."""
    import limbeck.runs.run
    import limbeck.runs.training  # has the real Run, whatever is put in its place here

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(limbeck.runs.run, "Run", FakeRun)
    FakeRun.asked = []
    recipe = "name: mine\nteacher: toy/toy\ngenerator: toy/toy\nobjective: toy_loss\n"
    (tmp_path / "my.yaml").write_text(recipe)
    run = tmp_path / "runs/mine"
    run.mkdir(parents=True)
    (run / "recipe.yaml").write_text(recipe)
    rows = [{"name": "teacher", "evaluations": 35, "ms_per_sample": 0.33, "metrics": {"frechet": 0.47, "recall": 0.91}},
            {"name": "student", "evaluations": 1, "ms_per_sample": 0.01, "metrics": {"frechet": 0.5213}}]  # fmt: skip
    (run / "evaluation.json").write_text(json.dumps({"rows": rows, "better": {"frechet": "lower"}}))
    (run / "report.html").write_text("<html>")
    return tmp_path


@pytest.fixture
def calls(monkeypatch):
    """What reached `limbeck.distill` and `limbeck.pretrain`."""
    from limbeck import api

    seen = []

    def record(what):
        def call(recipe, **how):
            seen.append((what, recipe, how))
            return FakeRun("runs/mine")

        return call

    monkeypatch.setattr(api, "distill", record("distill"))
    monkeypatch.setattr(api, "pretrain", record("pretrain"))
    return seen


def test_distill_ends_with_a_table_the_report_and_what_to_do_next(limbeck, folder, calls):
    code, out, err = limbeck("distill", "my.yaml", "train.steps=3", "--out", "elsewhere")
    assert code == 0
    (what, recipe, how), *_ = calls
    assert what == "distill" and recipe.train.steps == 3
    assert how == {"out": Path("elsewhere"), "resume": False, "overwrite": False}
    assert "teacher   toy/toy" in err and "objective toy_loss" in err
    lines = out.splitlines()
    assert lines[0].split() == ["evaluations", "ms/sample", "frechet", "recall"]
    assert lines[1].split() == ["teacher", "35", "0.330", "0.470", "0.910"]
    assert lines[2].split() == ["student", "1", "0.0100", "0.521", "-"]
    assert "report    runs/mine/report.html" in out and "next      limbeck sample runs/mine -n 64" in out
    table = json.loads(limbeck("distill", "my.yaml", "--json")[1])
    assert table["run"] == "runs/mine" and table["rows"][0]["evaluations"] == 35


@pytest.mark.parametrize(
    ("arguments", "out"),
    [
        (["my.yaml", "--resume"], None),
        (["my.yaml", "--resume", "runs/mine"], Path("runs/mine")),
        (["my.yaml", "--resume=runs/mine", "train.lr=2e-4"], Path("runs/mine")),
        (["--resume", "runs/mine", "train.lr=2e-4"], Path("runs/mine")),
        (["runs/mine", "--resume", "--out", "runs/copy"], Path("runs/copy")),
    ],
)
def test_resume_takes_a_recipe_or_a_run_folder(limbeck, folder, calls, arguments, out):
    code, _, err = limbeck("distill", *arguments)
    assert code == 0, err
    _, recipe, how = calls[0]
    assert (how["resume"], how["out"], recipe.name) == (True, out, "mine")
    assert recipe.train.lr == (2e-4 if "train.lr=2e-4" in arguments else 1e-4)


def test_an_override_without_a_value_is_refused(limbeck, folder, calls):
    code, _, err = limbeck("distill", "my.yaml", "train.steps")
    assert code == 2 and "'train.steps' is not an override of the form path=value" in err and not calls


def test_pretrain_and_distill_refuse_the_other_ones_recipe(limbeck, folder):
    code, _, err = limbeck("pretrain", "my.yaml")
    assert code == 2 and "has a teacher (toy/toy)" in err and "limbeck distill mine" in err
    code, _, err = limbeck("distill", "my.yaml", "teacher=null", "generator.init=random")
    assert code == 2 and "has no teacher" in err and "limbeck pretrain mine" in err


def test_an_existing_run_is_never_guessed_about(limbeck, folder):
    code, _, err = limbeck("distill", "my.yaml")
    assert code == 4 and "--resume" in err and "--overwrite" in err and "--out" in err
    assert (folder / "runs/mine/report.html").exists()
    (folder / "notes").mkdir()
    (folder / "notes/diary.txt").write_text("dear diary")
    for flags in ([], ["--resume"], ["--overwrite"]):
        code, _, err = limbeck("distill", "my.yaml", "--out", "notes", *flags)
        assert code == 4 and "not a run" in err and (folder / "notes/diary.txt").exists()
    assert limbeck("distill", "my.yaml", "--out", "my.yaml")[0] == 4
    assert limbeck("distill", "my.yaml", "--resume", "--overwrite")[0] == 2


def test_overwrite_deletes_the_old_run_only_once_the_new_one_can_be_built(limbeck, folder):
    code, _, err = limbeck("distill", "my.yaml", "--overwrite")
    assert code == 3 and "no_such" in err
    assert (folder / "runs/mine/report.html").exists()


@pytest.mark.parametrize(("error", "code"), [(RunExists, 4), (CheckpointError, 5), (NonFinite, 6)])
def test_errors_of_ours_are_a_message_and_their_exit_code(limbeck, folder, monkeypatch, error, code):
    from limbeck import api

    def fail(*_, **__):
        raise error("this went wrong; do that")

    monkeypatch.setattr(api, "distill", fail)
    got, out, err = limbeck("distill", "my.yaml")
    assert (got, out) == (code, "") and "this went wrong; do that" in err and "Traceback" not in err
    monkeypatch.setenv("LIMBECK_DEBUG", "1")
    with pytest.raises(error):
        main(["distill", "my.yaml"])


def test_sample_evaluate_export_and_report_reach_the_run(limbeck, folder):
    code, out, _ = limbeck(
        "sample", "runs/mine", "-n", "10", "-o", "x.png", "--seed", "3", "--cond", "[1, 2]", "--steps", "2"
    )
    assert code == 0 and out.strip() == "x.png" and Path("x.png").read_text() == "picture"
    assert FakeRun.asked == [(10, {"cond": [1, 2], "seed": 3, "steps": 2, "prompt": None})]
    assert "student" in limbeck("evaluate", "runs/mine")[1]
    assert json.loads(limbeck("evaluate", "runs/mine", "--json")[1])[0]["metrics"] == {"frechet": None}
    assert limbeck("export", "runs/mine", "--to", "torch", "out")[1].strip() == "out/student.torch"
    assert limbeck("export", "runs/mine", "out", "--to", "torch", "overwrite=true", "frames=60")[0] == 0
    assert FakeRun.asked[-2:] == [("torch", {}), ("torch", {"overwrite": True, "frames": 60})]
    code, _, err = limbeck("export", "runs/mine", "out", "directory=elsewhere")
    assert code == 2 and "'directory' is no option of an exporter" in err
    assert limbeck("report", "runs/mine")[1].strip() == "runs/mine/report.html"
    code, _, err = limbeck("export", "runs/mine", "--to", "torhc", "out")
    assert code == 2 and "Did you mean 'torch'" in err


def test_a_plugin_adds_commands_and_a_failing_one_costs_only_its_own(limbeck):
    @hookimpl
    def add_cli_commands(app):
        @app.command("toy-hello")
        def hello():
            """Say hello."""
            print("hello from a plugin")

    with registry.register(SimpleNamespace(LIMBECK_API=LIMBECK_API, add_cli_commands=add_cli_commands), name="hello"):
        assert limbeck("toy-hello")[1] == "hello from a plugin\n"
    bad = SimpleNamespace(LIMBECK_API=LIMBECK_API, add_cli_commands=hookimpl(lambda app: 1 / 0))
    with registry.register(bad, name="bad"):
        code, out, err = limbeck("recipes")
        assert code == 0 and out and "plugin 'bad' raised in hook 'add_cli_commands'" in err


def test_numbers_are_short_and_not_scientific():
    assert [number(v) for v in (35, 0.33, 0.0123, 18.2, 1.0, None, 1234.5, float("nan"))] == [
        "35", "0.330", "0.0123", "18.2", "1.00", "-", "1234", "nan"]  # fmt: skip
    assert columns(["a", "bb"], [["ccc", "d"]]) == ["a    bb", "ccc  d"]


def test_resume_with_an_equals_sign_is_split():
    assert split_resume(["a", "--resume=b", "c=d"]) == ["a", "--resume", "b", "c=d"]


def test_completion_scripts_can_be_made():
    done = subprocess.run(
        [sys.executable, "-c", "from limbeck.cli import main; main()"],
        env={**os.environ, "_LIMBECK_COMPLETE": "complete_bash", "COMP_WORDS": "limbeck pl", "COMP_CWORD": "1"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert "plugins" in done.stdout, done.stderr
