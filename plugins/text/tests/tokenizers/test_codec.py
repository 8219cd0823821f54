"""Between tokens and texts."""

import torch

from limbeck_text.tokenizers.codec import HOLE, TextCodec
from limbeck_text.tokenizers.tokenizer import bundled


def test_decoding_shows_ends_as_blank_lines_masks_as_shades_and_padding_not_at_all():
    codec, t = TextCodec(bundled()), bundled()
    a, b = t.encode("one two"), t.encode("three")
    row = [*a, t.eos[0], *b, t.vocab, t.pad, t.pad]
    assert codec.decode(torch.tensor([row])) == [f"one two\n\nthree{HOLE}"]


def test_encoding_pads_on_the_left():
    tokens, mask = TextCodec(bundled()).encode(["one two three", "one"])
    assert mask[0].all() and mask[1].tolist() == [False] * (tokens.shape[1] - 1) + [True]
    assert TextCodec(bundled()).decode(tokens) == ["one two three", "one"]
