"""The site: formulas are mathematics, tables come from the manifests, nothing is fetched, nothing scrolls sideways."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import limbeck

pytestmark = pytest.mark.xdist_group("site")  # what is made for the module is made once

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
METHODS = [page for page in PAGES if page.parent.name == "objectives" and page.stem != "index"]

spec = importlib.util.spec_from_file_location("generated_docs", ROOT / "tools/generated_docs.py")
generated_docs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(generated_docs)


def formulas(page: Path) -> list[str]:
    """What stands between dollar signs, outside of code."""
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"\$\$.*?\$\$|\$[^$\n]+\$", text, re.DOTALL)


@pytest.mark.parametrize("page", METHODS, ids=lambda page: page.stem)
def test_a_method_writes_its_formula_as_mathematics(page):
    formula = page.read_text().partition("## Formula\n")[2].partition("\n## ")[0]
    assert "$$\n" in formula, "write $...$ and $$...$$: the site makes MathML of them, and GitHub shows them too"
    assert "```" not in formula


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_formulas_use_what_every_viewer_shows(page):
    for formula in formulas(page):
        assert not re.search(r"\\[,;!:{}|_#%&]", formula), f"Markdown may take the backslash away: {formula}"
        assert r"\operatorname" not in formula, f"GitHub refuses \\operatorname, write \\mathrm: {formula}"


def test_generated_parts_are_what_the_manifests_give():
    for path, part in generated_docs.pages().items():
        assert "generated: " in path.read_text(), path
        assert generated_docs.generated(path, part) == path.read_text(), f"{path}: run python tools/generated_docs.py"


def test_what_is_outside_the_marks_stays():
    path = DOCS / "objectives/index.md"
    before, _, after = path.read_text().partition("<!-- generated: methods -->")
    again = generated_docs.generated(path, lambda name: f"[{name}]")
    assert again == f"{before}<!-- generated: methods -->\n\n[methods]\n\n<!-- end of methods -->\n" and after


def test_every_method_and_recipe_has_its_place():
    index = (DOCS / "objectives/index.md").read_text()
    modalities = "".join((DOCS / f"modalities/{name}.md").read_text() for name in generated_docs.MODALITIES)
    for entry in generated_docs.ours("objective"):
        assert f"[`{entry.component.name}`]" in index
        assert f"[`{entry.component.name}`]" in modalities or not generated_docs.runs_on(entry)
    for entry in generated_docs.ours("recipe"):
        assert f" {entry.component.name}`" in modalities or entry.component.name.endswith("_compare")


def test_other_peoples_plugins_do_not_enter_our_pages():
    mine = limbeck.Component("objective", "somebodys", "mine:Objective", summary="of somebody else")
    with limbeck.registry.register(mine, name="somebody"):
        assert "somebodys" not in {entry.component.name for entry in generated_docs.ours("objective")}


# --- the built site --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` does."""
    for package in ("mkdocs", "material", "math_core"):
        pytest.importorskip(package, reason=f"{package} comes with make docs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.mark.slow
def test_the_site_is_whole_and_fetches_nothing(site):
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert "arithmatex" not in text, f"{page}: a formula that nobody converted"
        assert not re.search(r'<(?:script|link|img)[^>]*(?:src|href)="https?://', text), page
    assert (site / "objectives/dmd2/index.html").read_text().count("<math") > 20


MEASURE = """<script>addEventListener("load", () => document.fonts.ready.then(() => {
  const edge = document.querySelector("article").getBoundingClientRect().right
  const scrolls = [...document.querySelectorAll(".formula, .md-typeset__scrollwrap:has(math)")]
    .filter(e => e.scrollWidth > e.clientWidth + 1)
  const leaves = [...document.querySelectorAll("p > math, li > math")]
    .filter(e => e.getBoundingClientRect().right > edge + 1)
  document.title = "measured " + [...scrolls, ...leaves].map(e => e.textContent.trim().slice(0, 40)).join("; ") + " end"
}))</script>"""


@pytest.mark.slow
@pytest.mark.browser
def test_no_formula_scrolls_sideways(site, chromium):
    for page in sorted(site.rglob("index.html")):
        if "<math" not in page.read_text():
            continue
        probe = page.with_name("probe.html")
        probe.write_text(page.read_text().replace("</body>", MEASURE + "</body>"))
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--window-size=900,1000"]
        dumped = subprocess.run([chromium, *flags, "--dump-dom", probe.as_uri()], capture_output=True, text=True)
        title = re.search(r"<title>measured (.*?) end</title>", dumped.stdout, re.DOTALL)
        assert title is not None, f"{page}: nothing measured"
        assert not title[1], f"{page}: wider than the page: {title[1]}"
