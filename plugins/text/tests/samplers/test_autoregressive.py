"""Completion of prompts by the sampler."""

import pytest
import torch
from tiny_language_models import small_llama, tokens_of

from limbeck import Rng
from limbeck.errors import LimbeckError
from limbeck_text.samplers.autoregressive import Autoregressive


def test_samples_are_prompt_and_completion():
    prompt = tokens_of(3, 5)
    sample = Autoregressive(stop=False)(small_llama(), prompt, steps=7, rng=Rng(0))
    assert sample.value.shape == (3, 12) and torch.equal(sample.value[:, :5], prompt)
    assert sample.evaluations == 7


def test_without_a_prompt_a_document_begins_by_itself():
    network = small_llama()
    sample = Autoregressive(temperature=0)(network, None, steps=4, rng=Rng(0), batch_size=2)
    expected, _ = network.generate_tokens(torch.tensor([[1]]), length=4, temperature=0, rng=Rng(0))
    assert sample.value.tolist() == [expected[0, 1:].tolist()] * 2


def test_prompts_may_be_texts_of_different_lengths():
    network = small_llama()
    sample = Autoregressive(temperature=0, stop=False)(network, ["Return the value", "if"], steps=4, rng=Rng(0))
    alone = Autoregressive(temperature=0, stop=False)(network, ["if"], steps=4, rng=Rng(0))
    assert torch.equal(sample.value[1, -5:], alone.value[0])


def test_a_sampler_of_language_models_refuses_other_models():
    with pytest.raises(LimbeckError, match="continues prompts with a causal language model; Linear is none"):
        Autoregressive()(torch.nn.Linear(1, 1), None, steps=1, rng=Rng(0), batch_size=1)


def test_the_first_drawn_token_follows_the_models_distribution():
    network = small_llama()
    prompt = tokens_of(1, 3)
    p = (network(prompt)[0, -1].double() / 0.1).softmax(-1)
    sampler = Autoregressive(temperature=0.1, stop=False)
    drawn = sampler(network, prompt.expand(4000, -1), steps=1, rng=Rng(0)).value[:, -1]
    top = p.topk(10).indices
    frequency = torch.stack([(drawn == token).double().mean() for token in top])
    torch.testing.assert_close(frequency, p[top], rtol=0, atol=0.025)  # three standard deviations at p = 0.5
    assert p[top].max() > 0.1


def test_samples_of_a_run_are_texts(run, tmp_path):
    samples = run.sample(3, seed=1)
    assert samples.save(tmp_path / "s.txt").read_text(encoding="utf-8").count("--------") == 6
    assert len(samples.seen()) == 3 and all(isinstance(text, str) for text in samples.seen())


def test_a_prompted_stream_is_the_prompted_sample(run):
    text = "".join(run.stream("return the", seed=3))
    whole = run.sample(1, prompt="return the", seed=3).seen()[0]
    assert whole.startswith("return the") and whole in (text, "return the" + text)
