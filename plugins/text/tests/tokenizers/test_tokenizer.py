"""The bundled tokenizer, and those of transformers."""

import hashlib
import json
from importlib import resources

import pytest

from limbeck_text.data import cpython_docs
from limbeck_text.tokenizers.tokenizer import BUNDLED, PROVENANCE, bundled, wrap


def test_the_bundled_tokenizer_is_the_one_that_weights_were_trained_with():
    assets = resources.files("limbeck_text") / "assets"
    provenance = json.loads((assets / PROVENANCE).read_text())
    assert hashlib.sha256((assets / BUNDLED).read_bytes()).hexdigest() == provenance["sha256"]
    assert provenance["sha256"].startswith("95fbaedb8e21ab9d")


def test_it_has_4096_tokens_and_two_special_ones():
    assert (bundled().vocab, bundled().pad, bundled().eos) == (4096, 0, (1,))


@pytest.mark.parametrize("text", ["def f(x):\n    return x", "Ünïcode 数据 \U0001f40d\ttab", "", "  spaces   "])
def test_any_text_survives_a_round_trip(text):
    assert bundled().decode(bundled().encode(text)) == text


def test_it_cuts_documents_it_was_not_trained_on_into_few_tokens():
    text = "\n".join(t for name, t in cpython_docs.documents().items() if cpython_docs.split_of(name) == "held_out")
    assert 3.0 < len(text.encode()) / len(bundled().encode(text)) < 4.0


def test_the_transformers_form_gives_the_same_ids():
    theirs = bundled().as_transformers()
    text = "Return a list of the\n  items."
    assert theirs.encode(text, add_special_tokens=False) == bundled().encode(text)
    assert wrap(theirs).fingerprint() == bundled().fingerprint()


def test_end_ids_are_all_kept():
    assert wrap(bundled().as_transformers(), [7, 1, 9]).eos == (1, 7, 9)
