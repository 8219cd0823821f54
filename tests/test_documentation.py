"""What is written is true: code blocks run, commands and files that are named exist, everything public is documented.

A Python block of a page runs in the namespace of the blocks above it. `<!-- slow: why -->` before a block moves the
rest of the page to the slow tests, `<!-- not run: why -->` leaves that block out and says why.
"""

import ast
import importlib
import inspect
import re
import shlex
from pathlib import Path

import pytest
import yaml

import limbeck

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    p.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "core/*.md", "plugins/*/*.md", "examples/**/*.md")
    for p in ROOT.glob(pattern)
)
BLOCK = re.compile(r"(?:<!-- (slow|not run): ([^>]*) -->\n+)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECTIONS = ["Idea", "Formula", "Needs", "Cost", "Toy", "Where it fails", "Reference"]


def blocks(page: str, *languages: str) -> list[tuple[str, str, str, int]]:
    """(mark, language, text, line) of the fenced blocks of a page."""
    text = (ROOT / page).read_text()
    return [
        (match[1] or "", match[3], match[4], text.count("\n", 0, match.start(4)))
        for match in BLOCK.finditer(text)
        if not languages or match[3] in languages
    ]


def run(page: str, slow: bool) -> None:
    found = blocks(page, "python")
    marked = [mark == "slow" for mark, *_ in found]
    first_slow = marked.index(True) if True in marked else len(found)
    namespace: dict = {"__name__": "__main__"}
    for mark, _, code, line in found if slow else found[:first_slow]:
        if mark != "not run":
            exec(compile("\n" * line + code, page, "exec"), namespace)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_the_python_blocks_of_a_page_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(page, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if any(mark == "slow" for mark, *_ in blocks(page, "python"))])
def test_the_slow_python_blocks_of_a_page_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(page, slow=True)


# --- commands --------------------------------------------------------------------------------------------------------


def commands(page: str) -> list[list[str]]:
    """Command lines of the shell blocks of a page, split into words; output lines of a transcript are left out."""
    lines = []
    for _, _, text, _ in blocks(page, "", "sh", "bash", "console"):
        transcript = any(line.lstrip().startswith("$ ") for line in text.splitlines())
        for line in text.splitlines():
            line = line.strip()
            if transcript and not line.startswith("$ "):
                continue
            line = line.removeprefix("$ ")
            if re.match(r"(limbeck|make|pip|python) ", line):
                for part in re.split(r" && |   +", line.partition(" # ")[0]):
                    lines.append(shlex.split(part))
    return [words for words in lines if words]


def test_every_limbeck_command_that_is_named_exists():
    from typer.main import get_command

    from limbeck.cli.app import build_app

    root = get_command(build_app())
    named = [words for page in PAGES for words in commands(page) if words[0] == "limbeck"]
    assert len(named) > 10
    for words in named:
        command, rest = root, words[1:]
        while hasattr(command, "commands") and rest and rest[0] in command.commands:
            command, rest = command.commands[rest[0]], rest[1:]
        assert command is not root or not rest or rest[0].startswith("-"), f"no such command: {' '.join(words)}"
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        used = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        assert used <= known | {"--help", "-h"}, f"no such option: {' '.join(words)}"


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"install", "demo", "test", "bench", "docs", "help"} <= targets
    named = {words[1] for page in PAGES for words in commands(page) if words[0] == "make"}
    named |= {word for page in PAGES for word in re.findall(r"`make ([a-z-]+)`", (ROOT / page).read_text())}
    assert {"demo", "test"} <= named <= targets


def test_registered_names_in_shown_commands_exist():
    recipes = {entry.component.name for entry in limbeck.registry.components("recipe")}
    everything = {entry.component.name for entry in limbeck.registry.components()}
    for page in PAGES:
        for words in commands(page):
            if words[:2] in (["limbeck", "distill"], ["limbeck", "pretrain"]) and re.fullmatch(r"\w+", words[2]):
                assert words[2] in recipes or words[2].isupper(), f"{page}: {' '.join(words)}"
            if words[:2] == ["limbeck", "show"] and not words[2].isupper():
                assert words[2].rpartition("/")[2] in everything | {"energy_distance"}, f"{page}: {' '.join(words)}"


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "yaml")])
def test_the_recipes_on_a_page_are_recipes(page):
    from limbeck.recipe import load

    for mark, _, text, _ in blocks(page, "yaml"):
        data = yaml.safe_load(text)
        if mark != "not run" and {"generator", "objective"} <= set(data):
            load(data)


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", (ROOT / page).read_text()):
            if not re.match(r"[a-z]+:", target):
                assert (ROOT / page).parent.joinpath(target).exists(), f"{page}: {target}"


def test_the_site_holds_every_page_and_no_other():
    def leaves(node):
        if isinstance(node, str):
            return [node]
        return [leaf for child in (node.values() if isinstance(node, dict) else node) for leaf in leaves(child)]

    navigation = leaves(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert sorted(navigation) == sorted(p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md"))


# --- everything public is documented ---------------------------------------------------------------------------------

OURS = {"limbeck", "limbeck-diffusion", "limbeck-image", "limbeck-text", "limbeck-3d", "limbeck-audio", "limbeck-video"}
ENTRIES = [entry for entry in limbeck.registry.components() if entry.distribution in OURS]


@pytest.mark.parametrize("name", [e.component.name for e in ENTRIES if e.component.kind == "objective"])
def test_every_objective_has_a_page_in_the_agreed_order(name):
    page = DOCS / f"objectives/{name}.md"
    assert page.is_file(), f"write docs/objectives/{name}.md: {', '.join(SECTIONS)}"
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), re.MULTILINE)
    assert headings == [name, *SECTIONS]
    assert blocks(f"docs/objectives/{name}.md", "python"), "a page has a toy that runs"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.component.kind}-{entry.qualified}")
def test_every_component_says_what_it_is(entry):
    component = entry.component
    assert component.summary
    target = limbeck.registry.resolve(component.kind, entry.qualified)
    if component.kind == "recipe":
        assert target.is_file()
        return
    assert inspect.getdoc(target), f"{component.target} has no docstring"
    for name, field in limbeck.registry.options_model(component.kind, entry.qualified).model_fields.items():
        if component.options is not None:
            assert field.description, f"option {name} of {component.kind} {component.name} has no description"


def test_every_public_name_has_a_docstring():
    for name in limbeck.__all__:
        value = getattr(limbeck, name)
        if inspect.isclass(value) or inspect.isfunction(value) or inspect.ismodule(value):
            assert (value.__doc__ or "").strip(), f"limbeck.{name} has no docstring"


def test_every_oracle_and_kit_class_has_a_docstring():
    testing = importlib.import_module("limbeck.testing")
    for name in testing.__all__:
        assert (getattr(testing, name).__doc__ or "").strip(), f"limbeck.testing.{name} has no docstring"


def test_every_module_says_what_it_is_for():
    sources = [*ROOT.glob("core/src/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py"), *ROOT.glob("examples/**/*.py")]
    assert sources
    bare = [str(p.relative_to(ROOT)) for p in sources if not ast.get_docstring(ast.parse(p.read_text()))]
    assert not [name for name in bare if (ROOT / name).read_text().strip()]


def test_public_names_do_not_depend_on_what_was_imported_before():
    # an attribute that shares its name with a submodule is one thing before that submodule is imported, another after
    for name in limbeck.__all__:
        try:
            module = importlib.import_module(f"limbeck.{name}")
        except ModuleNotFoundError:
            continue
        assert getattr(limbeck, name) is module, f"limbeck.{name} is both a module and something else"


def test_no_file_names_a_place_on_somebodys_machine():
    places = re.compile(r"(?<![\w.}/])/(?:work|root|home/\w+|Users/\w+|opt/wheels|tmp/vdev)/")
    texts = {".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".html", ".json", ".sh"}
    folders = ("core", "plugins", "examples", "docs", "tests", "benchmarks", "contrib", "tools", ".ci")
    files = [p for folder in folders for p in (ROOT / folder).rglob("*") if p.suffix in texts and p.is_file()]
    files += [p for p in ROOT.iterdir() if p.is_file() and p.name != ".git"]  # a worktree's points to its repository
    own = Path(__file__)
    assert not [str(p.relative_to(ROOT)) for p in files if p != own and places.search(p.read_text(errors="ignore"))]
