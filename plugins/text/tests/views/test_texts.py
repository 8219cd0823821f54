"""The view of texts."""

from limbeck.sampling.samples import Samples
from limbeck_text.tokenizers.codec import TextCodec, text_space
from limbeck_text.tokenizers.tokenizer import bundled
from limbeck_text.views.texts import Texts


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
