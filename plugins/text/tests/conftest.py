"""Models and runs that several tests share."""

import copy

import pytest
from tiny_language_models import (
    recipe_of,
)
from tiny_transformers import KINDS, Words, build

import limbeck
from limbeck_text.models.language_model import LanguageModel


@pytest.fixture(scope="module", params=KINDS)
def pair(request):
    plain = build(request.param)
    return plain, LanguageModel(copy.deepcopy(plain), Words()).eval()


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Twelve short documents."""
    place = tmp_path_factory.mktemp("texts")
    for k in range(12):
        (place / f"{k}.md").write_text(f"def f{k}(x): return the value of x and {k} more.\n" * 12)
    return place


@pytest.fixture(scope="session")
def run(folder, tmp_path_factory):
    return limbeck.pretrain(recipe_of(folder), out=tmp_path_factory.mktemp("runs") / "tiny", progress=False)
