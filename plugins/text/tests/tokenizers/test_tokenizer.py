"""The bundled tokenizer, the codec, and the view of texts."""

import hashlib
import json
from importlib import resources

import pytest
import torch

from limbeck.sampling.samples import Samples
from limbeck_text.data import cpython_docs as corpus
from limbeck_text.data.pydocs import text_space
from limbeck_text.tokenizers.codec import HOLE, TextCodec, Texts, left_padded
from limbeck_text.tokenizers.tokenizer import BUNDLED, PROVENANCE, bundled, train, wrap


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
    text = "\n".join(t for name, t in corpus.documents().items() if corpus.share_of(name) == "held_out")
    assert 3.0 < len(text.encode()) / len(bundled().encode(text)) < 4.0


def test_training_merges_the_most_frequent_pair_first():
    tokenizer = train(["abab abab abab"] * 4, vocab=260)
    assert {"ab", "abab"} <= set(tokenizer.get_vocab())
    assert tokenizer.token_to_id("<pad>") == 0 and tokenizer.token_to_id("<eos>") == 1


def test_the_transformers_form_gives_the_same_ids():
    theirs = bundled().as_transformers()
    text = "Return a list of the\n  items."
    assert theirs.encode(text, add_special_tokens=False) == bundled().encode(text)
    assert wrap(theirs).fingerprint() == bundled().fingerprint()


def test_end_ids_are_all_kept():
    assert wrap(bundled().as_transformers(), [7, 1, 9]).eos == (1, 7, 9)


# --- codec and view ---


def test_decoding_shows_ends_as_blank_lines_masks_as_shades_and_padding_not_at_all():
    codec, t = TextCodec(bundled()), bundled()
    a, b = t.encode("one two"), t.encode("three")
    row = [*a, t.eos[0], *b, t.vocab, t.pad, t.pad]
    assert codec.decode(torch.tensor([row])) == [f"one two\n\nthree{HOLE}"]


def test_encoding_pads_on_the_left():
    tokens, mask = TextCodec(bundled()).encode(["one two three", "one"])
    assert mask[0].all() and mask[1].tolist() == [False] * (tokens.shape[1] - 1) + [True]
    assert TextCodec(bundled()).decode(tokens) == ["one two three", "one"]


def test_left_padding_of_rows():
    tokens, mask = left_padded([[5, 6], [7], []], pad=0)
    assert tokens.tolist() == [[5, 6], [0, 7], [0, 0]]
    assert mask.tolist() == [[True, True], [False, True], [False, False]]


def test_samples_of_tokens_are_saved_as_text_and_shown_escaped(tmp_path):
    tokens, _ = TextCodec(bundled()).encode(["a <b> & c", "second text"])
    samples = Samples(tokens, None, text_space(tokens.shape[1], bundled()))
    saved = samples.save(tmp_path / "texts.txt").read_text(encoding="utf-8")
    assert "a <b> & c" in saved and "second text" in saved
    page = samples.picture(captions=["first", "2nd"]).html()
    assert "a &lt;b&gt; &amp; c" in page and "first" in page and "<b>" not in page


def test_a_page_of_texts_is_a_picture(tmp_path):
    from PIL import Image

    Texts(["one\n\ntwo", "three"]).save(tmp_path / "page.png")
    darkest, _ = Image.open(tmp_path / "page.png").convert("L").getextrema()
    assert darkest < 100  # something is written on it
