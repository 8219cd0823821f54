"""The words of the first dialect are gone: each has one word of the field in its place, in code, docs and messages."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# what was written -> what is written now. Patterns of identifiers, so that plain English (a "whole clip") is free, and
# so are parameter names inside bundled weights (`self.film`, Perez et al. 2018) and names of random draws (`PHASE`).
NAMES = {
    r"\.meet\(|def meet\b": "prepare",
    r"\bTold\b|[\"']untold[\"']|told\.py": "EncodedPrompts, unprepared",
    r"\basker\b|[Kk]ernel\.ask\b|def ask\(self": "x0_predictor",
    r"\bApart\b|\.apart\(|def apart\(": "Distances, distances",
    r"\b_moved\b|\b_produce\b": "field_loss, student_sample",
    r"\bcrew\b|\bAlone\b": "ranks, SingleProcess",
    r"class Place\b|: Place\b|places\.py|pipelines\.places\b": "Distributed, PipelineSource",
    r"def rest\(|import .*\brest\b|def whole\((module|files)|sharding\.whole\b": "reshard, unsharded",
    r"\bPlayer\b|class Turn\b|: Turn\b|class Micro\b|: Micro\b|list\[Micro\]": "PhaseOptimizer, Update, MicroBatch",
    r"class Notes\b|\bNotes\(|class Lines\b|\bLines\(": "MetricBuffer, JsonLines",
    r"\b_?cures?\b|_CURES\b": "hint",
    r"\bdef said\(|\bsaid\(error": "first_line",
    r"kernel\.count\(|def count\(self, at\b|\bself\._count\(": "reduction_size",
    r"\b[Ll]aws? of (the )?(training )?(time|t)\b|\bTimeLaw\b": "distribution of t",
    r"\b_focus\b|\bprior_noise\b": "focus, initial_noise",
    r"\bkl_(forward|backward)\b": "forward_kl, reverse_kl",
    r"\btampered\b|\bsoften\(|(?<!self\.)\b_?film(s|ed)?\b": "corrupted, degrade, video",
    r"\blevelled\b|def centred\b|import .*\bcentred\b": "normalize_loudness, pad_or_crop",
    r"\bdef (speak|go_on|continued|translated|share_of)\b": "synthesize, complete, retokenize, split_of",
    r"(?<!PHASE = \")([Ff]rame|[Cc]lip)_?[Rr]eader": "frame detector, clip encoder",
    r"\bold_runs\b|\bretired\b": "nothing: no bridges before a release",
}
TEXTS = (".py", ".md", ".yaml", ".j2", ".html")
OWN = (
    "tests/test_words.py",
    "tests/guard/cases.py",
    "CHANGELOG.md",
)  # the guard's cases keep the names of their values


def sources() -> list[Path]:
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, check=True
    )
    return [
        ROOT / name
        for name in listed.stdout.splitlines()
        if name.endswith(TEXTS) and not name.endswith(OWN) and (ROOT / name).is_file()
    ]


@pytest.fixture(scope="module")
def lines() -> list[tuple[str, str]]:
    """(place, text) of every line that we wrote."""
    found = [
        (f"{path.relative_to(ROOT)}:{number}", line)
        for path in sources()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    ]
    assert len(found) > 50_000
    return found


@pytest.mark.parametrize("pattern", NAMES, ids=NAMES.values())
def test_an_old_word_is_nowhere(pattern, lines):
    left = [f"{place}: {line.strip()[:100]}" for place, line in lines if re.search(pattern, line)]
    assert not left, f"write {NAMES[pattern]}:\n" + "\n".join(left[:20])


def test_the_patterns_find_what_they_look_for():
    planted = "data.meet(teacher)\nclass Told:\n    crew = Alone()\nthe law of t\ndef asker(x): ...\n"
    assert [len(re.findall(pattern, planted)) for pattern in list(NAMES)[:3]] == [1, 1, 1]
    assert sum(bool(re.search(pattern, planted)) for pattern in NAMES) == 5
