"""The examples do what they say. The example plugin has its own test: `test_stranger_plugin.py`."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOOP = ROOT / "examples/plain_loop.py"


def test_the_plain_loop_is_under_forty_lines():
    assert len(LOOP.read_text().splitlines()) < 40


@pytest.mark.slow
def test_the_plain_loop_trains_and_saves_a_picture_without_our_engine(tmp_path):
    code = (
        "import runpy, sys; sys.argv[1:] = ['2']; runpy.run_path(sys.argv[0], run_name='__main__'); "
        "assert 'limbeck.engine' not in sys.modules, 'the plain loop loaded the engine'"
    )
    command = [sys.executable, "-c", f"import sys; sys.argv = [{str(LOOP)!r}]; {code}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "step 2: " in done.stdout
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")
