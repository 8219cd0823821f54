"""Everything bundled states where it comes from, in one vocabulary."""

import json
from pathlib import Path

import pytest

from limbeck.export.teacher_files import PROVENANCE, read

ROOT = Path(__file__).parents[1]
ASSETS = sorted(path for path in ROOT.glob("plugins/*/src/*/assets/*") if not path.name.endswith(".provenance.json"))


def provenance_of(path):
    if path.suffix == ".safetensors":
        return read(path)[1].get("provenance", {})
    return json.loads(path.with_name(f"{path.stem}.provenance.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", ASSETS, ids=lambda path: path.name)
def test_the_provenance_of_every_asset_is_there_and_in_the_one_vocabulary(path):
    known = provenance_of(path)
    assert {"made_by", "data", "licence"} <= set(known) and all(known[word] for word in ("made_by", "data", "licence"))
    strange = (
        set(known) - set(PROVENANCE) - ({"sha256"} if path.suffix == ".json" else set())
    )  # no header to keep it in
    assert not strange, (
        f"{path.name}: {', '.join(sorted(strange))}. The words are limbeck.export.teacher_files.PROVENANCE"
    )
    if "recipe" in known:
        assert {"steps", "seed", "versions", "evaluation"} <= set(known)
    for row in known.get("evaluation", ()):
        assert {"name", "metrics"} <= set(row)


def test_there_are_assets_to_check():
    assert len(ASSETS) >= 15


@pytest.mark.parametrize("path", ASSETS, ids=lambda path: path.name)
def test_bundled_files_are_small(path):
    assert path.stat().st_size < 6_000_000
