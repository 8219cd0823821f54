"""No pickle anywhere: loading one runs code. Weights are safetensors, everything else is JSON or YAML."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("core", "plugins", "contrib", "examples", "benchmarks", "tests", "tools")
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
CALLS = {"torch.load", "torch.save", "torch.jit.load", "torch.jit.save"}
SKIPPED = {".venv", "build", "node_modules"}


def findings(source: str, name: str = "source") -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source, name)):
        match node:
            case ast.Import(names=names):
                bad = [alias.name for alias in names if alias.name.partition(".")[0] in MODULES]
            case ast.ImportFrom(module=str(module), names=names):
                bad = [f"{module}.{a.name}" for a in names if f"{module}.{a.name}" in CALLS]
                bad += [module] if module.partition(".")[0] in MODULES else []
            case ast.Attribute():
                bad = [ast.unparse(node)] if ast.unparse(node) in CALLS else []
            case ast.keyword(arg="allow_pickle", value=value):
                bad = [] if isinstance(value, ast.Constant) and value.value is False else ["allow_pickle"]
            case _:
                continue
        found += [f"{name}:{getattr(node, 'lineno', '?')}: {what}" for what in bad]
    return found


def test_no_source_file_loads_or_writes_a_pickle():
    files = [p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py") if not SKIPPED & set(p.parts)]
    assert len(files) > 20
    assert not [line for path in files for line in findings(path.read_text(), str(path.relative_to(ROOT)))]


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "def f(p):\n    import torch\n    return torch.load(p)",
        "from torch import save",
        "load = torch.load",
        "x = np.load(p, allow_pickle=True)",
    ],
)
def test_the_scan_sees_a_pickle_however_it_is_reached(source):
    assert findings(source)


def test_no_pickled_file_is_shipped():
    suffixes = {".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib", ".npy", ".npz"}
    shipped = [p for folder in FOLDERS for p in (ROOT / folder).rglob("*") if p.suffix in suffixes]
    assert not [p for p in shipped if not SKIPPED & set(p.parts)]
