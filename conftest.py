"""Marks that hold for every test of the workspace.

quick (no mark, below 3 s) runs in `make test`; `slow` (3 to 90 s) in CI as well; `long` (above) with `make test-long`.
`gpu` needs CUDA, `browser` a Chromium on PATH; where it is missing they are skipped with that reason, and the summary
counts them.
"""

import os
import shutil

import pytest

# Tests work on tiny tensors: a second thread only waits for the first, and several times longer on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def browser() -> str | None:
    """The path of a Chromium, or None."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def chromium() -> str:
    """A Chromium's path, for tests marked `browser`."""
    found = browser()
    assert found is not None, "a test that uses this fixture carries the mark browser"
    return found


def pytest_collection_modifyitems(items):
    tiers = [item.nodeid for item in items if item.get_closest_marker("slow") and item.get_closest_marker("long")]
    if tiers:
        raise pytest.UsageError(f"a test is slow or long, not both: {', '.join(tiers)}")
    gpu = [item for item in items if item.get_closest_marker("gpu")]
    if gpu:
        import torch

        if not torch.cuda.is_available():
            for item in gpu:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device, and torch sees none here"))
    if browser() is None:
        for item in items:
            if item.get_closest_marker("browser"):
                item.add_marker(pytest.mark.skip(reason=f"needs a browser: none of {', '.join(BROWSERS)} is on PATH"))


def pytest_terminal_summary(terminalreporter):
    """How many tests needed a browser, and whether they had one."""
    ran = sum("browser" in r.keywords for name in ("passed", "failed") for r in terminalreporter.stats.get(name, ()))
    skipped = sum("browser" in r.keywords for r in terminalreporter.stats.get("skipped", ()))
    if ran or skipped:
        where = browser() or "no Chromium on PATH"
        terminalreporter.write_line(f"browser: {ran} tests ran, {skipped} skipped ({where})")
