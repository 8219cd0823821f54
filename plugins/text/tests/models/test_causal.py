"""The adapter of transformers' causal language models, on tiny models built here."""

import copy

import pytest
import torch
import transformers

from limbeck import Rng
from limbeck.errors import LimbeckError
from limbeck.recipe import load
from limbeck.runs.build import build as build_recipe
from limbeck_text.models.language_model import (
    LanguageModel,
    causal_lm,
    check_head,
    check_same_tokenizer,
    positions,
    pydocs_lm,
    to_left,
)
from limbeck_text.tokenizers.tokenizer import bundled, wrap

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
KINDS = ("llama", "llama_untied", "gpt2", "qwen2_padded", "gemma2_capped", "cohere_scaled")


def build(kind: str):
    """A random tiny model; weights larger than usual, so that logits differ clearly from uniform."""
    torch.manual_seed(0)
    vocab, more = 300, {"max_position_embeddings": 64}
    if kind.startswith("llama"):
        config = transformers.LlamaConfig(
            vocab_size=vocab, **SMALL, **more, num_key_value_heads=1, tie_word_embeddings=kind == "llama"
        )
        model = transformers.LlamaForCausalLM(config)
    elif kind == "gpt2":
        config = transformers.GPT2Config(vocab_size=vocab, n_embd=16, n_layer=2, n_head=2, n_positions=64)
        model = transformers.GPT2LMHeadModel(config)
    elif kind == "qwen2_padded":
        config = transformers.Qwen2Config(vocab_size=vocab + 20, **SMALL, **more, num_key_value_heads=2)
        model = transformers.Qwen2ForCausalLM(config)
    elif kind == "gemma2_capped":
        config = transformers.Gemma2Config(
            vocab_size=vocab, **SMALL, **more, num_key_value_heads=1, head_dim=8, final_logit_softcapping=3.0,
            attn_logit_softcapping=5.0, sliding_window=32, query_pre_attn_scalar=8,
        )  # fmt: skip
        model = transformers.Gemma2ForCausalLM(config)
    else:
        config = transformers.CohereConfig(vocab_size=vocab, **SMALL, **more, num_key_value_heads=2, logit_scale=0.25)
        model = transformers.CohereForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8)
    return model.eval()


class _Words:
    """The part of a tokenizer that the adapter asks: 300 tokens, padding equal to the end."""

    vocab, pad, eos = 300, 2, (2, 5)

    def fingerprint(self):
        return "words"

    def __deepcopy__(self, memo):
        return self


@pytest.fixture(scope="module", params=KINDS)
def pair(request):
    plain = build(request.param)
    return plain, LanguageModel(copy.deepcopy(plain), _Words()).eval()


def some_tokens(rows=2, length=9, seed=1):
    return torch.randint(300, (rows, length), generator=torch.Generator().manual_seed(seed))


# --- logits ---


def test_logits_are_the_models_own_on_the_true_vocabulary(pair):
    plain, model = pair
    tokens = some_tokens()
    with torch.no_grad():
        logits, expected = model(tokens), plain(input_ids=tokens).logits
    assert logits.shape == (2, 9, 300) and expected.std() > 0.1
    torch.testing.assert_close(logits, expected[..., :300], rtol=1e-5, atol=1e-6)


def test_padding_on_either_side_changes_nothing(pair):
    _, model = pair
    tokens = some_tokens()
    noise = some_tokens(seed=2)[:, :4]  # whatever stands at padding
    real, padding = torch.ones_like(tokens, dtype=torch.bool), torch.zeros_like(noise, dtype=torch.bool)
    with torch.no_grad():
        expected = model(tokens)
        right = model(torch.cat([tokens, noise], 1), torch.cat([real, padding], 1))[:, :9]
        left = model(torch.cat([noise, tokens], 1), torch.cat([padding, real], 1))
    torch.testing.assert_close(right, expected, rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(left[:, 4:], expected, rtol=1e-5, atol=2e-6)
    assert torch.isfinite(left).all()  # padding that is nan would spoil gradients although it is masked


def test_gradients_pass_padding_without_nan(pair):
    _, model = pair
    model = copy.deepcopy(model)
    tokens, mask = some_tokens(), torch.ones(2, 9, dtype=torch.bool)
    mask[0, :5] = False
    model(tokens, mask)[mask].square().mean().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.isfinite(g).all() for g in gradients) and any(g.abs().max() > 0 for g in gradients)


def test_then_sees_hidden_states_and_the_head_that_make_the_logits(pair):
    _, model = pair
    tokens = some_tokens()
    with torch.no_grad():
        hidden, head = model(tokens, then=lambda hidden, head: (hidden, head))
        torch.testing.assert_close(head.logits(hidden), model(tokens))
    assert head.weight.shape[0] == 300


def test_a_sequence_longer_than_the_context_is_refused():
    with pytest.raises(LimbeckError, match="65 tokens is longer than the model's context of 64"):
        LanguageModel(build("llama"), _Words())(torch.zeros(1, 65, dtype=torch.int64))


def test_a_head_smaller_than_the_vocabulary_is_refused():
    words = _Words()
    words.vocab = 301
    with pytest.raises(LimbeckError, match="301 tokens and the model only 300 rows"):
        LanguageModel(build("llama"), words)


def test_an_architecture_that_changes_its_logits_otherwise_is_found_out():
    model = LanguageModel(build("llama"), _Words())
    check_head(model)
    model.scale = 1.5
    with pytest.raises(LimbeckError, match="treats its logits in a way this adapter does not know"):
        check_head(model)


# --- masks ---


def test_positions_count_real_tokens_only():
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 0]], dtype=torch.bool)
    assert positions(mask).tolist() == [[0, 0, 0, 1], [0, 1, 2, 2]]


def test_moving_padding_to_the_left_keeps_the_order():
    tokens = torch.tensor([[5, 6, 9, 9], [7, 8, 3, 9]])
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0]], dtype=torch.bool)
    moved, real = to_left(tokens, mask)
    assert moved.tolist() == [[9, 9, 5, 6], [9, 7, 8, 3]]
    assert real.tolist() == [[False, False, True, True], [False, True, True, True]]


# --- generation ---


def test_greedy_generation_with_a_cache_is_greedy_recomputation(pair):
    _, model = pair
    prompt = some_tokens(3, 5)
    tokens, mask = model.generate_tokens(prompt, length=6, temperature=0, rng=Rng(0), stop=False)
    expected = prompt
    with torch.no_grad():
        for _ in range(6):
            expected = torch.cat([expected, model(expected)[:, -1].argmax(-1, keepdim=True)], 1)
    assert torch.equal(tokens, expected) and mask.all()


def test_prompts_of_different_lengths_are_continued_as_if_alone(pair):
    _, model = pair
    a, b = some_tokens(1, 5), some_tokens(1, 3, seed=4)
    padded = torch.cat([a, torch.cat([b, b.new_full((1, 2), 2)], 1)])  # padded on the right, with the end's id
    mask = torch.tensor([[1] * 5, [1] * 3 + [0] * 2], dtype=torch.bool)
    both, real = model.generate_tokens(padded, mask, length=6, temperature=0, rng=Rng(0), stop=False)
    alone_a, _ = model.generate_tokens(a, length=6, temperature=0, rng=Rng(0), stop=False)
    alone_b, _ = model.generate_tokens(b, length=6, temperature=0, rng=Rng(0), stop=False)
    assert torch.equal(both[0], alone_a[0]) and torch.equal(both[1, 2:], alone_b[0])
    assert real[1].tolist() == [False] * 2 + [True] * 9


class _Scripted(LanguageModel):
    """Always continues with the next of a list of tokens."""

    script = (7, 5, 8, 2)

    def head(self):
        head = super().head()
        scripted = self

        class Told:
            vocab = head.vocab

            def logits(self, hidden):
                logits = torch.full((len(hidden), 300), -50.0)
                logits[:, scripted.script[scripted.calls]] = 50.0
                scripted.calls += 1
                return logits

        return Told()


def test_a_row_ends_at_any_of_several_end_tokens_and_is_padded_after():
    model = _Scripted(build("llama"), _Words())
    model.calls = 0
    tokens, mask = model.generate_tokens(some_tokens(2, 3), length=4, rng=Rng(0))
    assert tokens[:, 3:].tolist() == [[7, 5, 2, 2]] * 2  # 5 ends; 2 pads, although it is an end, too
    assert mask[:, 3:].tolist() == [[True, True, False, False]] * 2
    model.calls = 0
    assert list(model.stream(some_tokens(1, 3)[0], length=4, rng=Rng(0))) == [7]
    model.calls = 0
    assert model.generate_tokens(some_tokens(1, 3), length=4, rng=Rng(0), stop=False)[0][0, 3:].tolist() == [7, 5, 8, 2]


def test_a_stream_draws_what_generation_draws():
    model = LanguageModel(build("llama_untied"), _Words())
    prompt = some_tokens(1, 4)
    whole, _ = model.generate_tokens(prompt, length=12, rng=Rng(3), stop=False)
    assert list(model.stream(prompt[0], length=12, rng=Rng(3), stop=False)) == whole[0, 4:].tolist()
    other, _ = model.generate_tokens(prompt, length=12, rng=Rng(4), stop=False)
    assert not torch.equal(whole, other)


def test_generation_is_in_evaluation_mode_and_leaves_the_mode_alone():
    model = pydocs_lm(hidden=16, layers=1, heads=2, dropout=0.5).train()
    prompt = some_tokens(2, 4)
    a, _ = model.generate_tokens(prompt, length=5, temperature=0, rng=Rng(0))
    b, _ = model.eval().generate_tokens(prompt, length=5, temperature=0, rng=Rng(0))
    assert torch.equal(a, b)
    model.train()
    model.generate_tokens(prompt, length=1, rng=Rng(0))
    assert model.training and all(module.training for module in model.modules())


def test_dropout_acts_while_training_only():
    model = pydocs_lm(hidden=16, layers=1, heads=2, dropout=0.5).train()
    tokens = some_tokens()
    torch.manual_seed(0)
    assert not torch.allclose(model(tokens), model(tokens))
    model.eval()
    assert torch.equal(model(tokens), model(tokens))


def test_an_empty_prompt_and_one_beyond_the_context_are_refused():
    model = LanguageModel(build("llama"), _Words())
    with pytest.raises(LimbeckError, match="the prompt is empty: a language model continues at least one token"):
        model.generate_tokens(torch.zeros(1, 0, dtype=torch.int64), length=3, rng=Rng(0))
    mask = torch.tensor([[True, True], [False, False]])
    with pytest.raises(LimbeckError, match=r"the prompt \(row 1\) is empty"):
        model.generate_tokens(some_tokens(2, 2), mask, length=3, rng=Rng(0))
    with pytest.raises(
        LimbeckError, match="a prompt of 60 tokens and 5 new ones do not fit into the model's context of 64"
    ):
        model.generate_tokens(some_tokens(1, 60), length=5, rng=Rng(0))
    with pytest.raises(LimbeckError, match="do not fit"):
        next(model.stream(some_tokens(1, 60)[0], length=5, rng=Rng(0)))


def test_a_model_that_answers_nan_is_named():
    broken = build("llama")
    with torch.no_grad():
        broken.model.norm.weight.fill_(float("nan"))
    with pytest.raises(LimbeckError, match="logits are not finite at new token 0"):
        LanguageModel(broken, _Words()).generate_tokens(some_tokens(1, 3), length=2, rng=Rng(0))


# --- copies, ties ---


def test_a_full_copy_is_equal_and_independent(pair):
    _, model = pair
    student = model.freeze().trainable_copy()
    tokens = some_tokens()
    with torch.no_grad():
        torch.testing.assert_close(student.eval()(tokens), model(tokens))
    assert all(p.requires_grad for p in student.parameters()) and not any(p.requires_grad for p in model.parameters())
    with torch.no_grad():
        next(student.parameters()).add_(1.0)
        assert not torch.allclose(student.eval()(tokens), model(tokens))


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_adapters_start_as_the_teacher_and_alone_learn(kind):
    teacher = LanguageModel(build(kind), _Words()).freeze()
    student = teacher.trainable_copy("lora", rank=2, alpha=4.0)
    tokens = some_tokens()
    torch.testing.assert_close(student.eval()(tokens), teacher(tokens))
    student(tokens).square().mean().backward()
    learning = {name for name, p in student.named_parameters() if p.requires_grad}
    assert learning and all("lora_" in name for name in learning)
    assert {name for name, p in student.named_parameters() if p.grad is not None} == learning
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    changed = student(tokens)
    assert not torch.allclose(changed, teacher(tokens), atol=1e-2)
    merged = LanguageModel(student.merged(), _Words()).eval()
    torch.testing.assert_close(merged(tokens), changed, rtol=1e-4, atol=1e-4)


def test_wrong_targets_of_adapters_name_the_layers_there_are():
    teacher = LanguageModel(build("llama"), _Words())
    with pytest.raises(TypeError, match="Linear layers here: .*q_proj"):
        teacher.trainable_copy("lora", targets=("no_such_layer",))
    with pytest.raises(TypeError, match="the head cannot be adapted"):
        teacher.trainable_copy("lora", targets=("lm_head",))


def test_tied_weights_stand_once_in_the_state_and_stay_tied():
    model = pydocs_lm(hidden=16, layers=1, heads=2)
    state = model.state_dict()
    assert "model.lm_head.weight" not in state and "model.model.embed_tokens.weight" in state
    other = copy.deepcopy(pydocs_lm(hidden=16, layers=1, heads=2))
    other.load_state_dict({name: value.clone() for name, value in state.items()})
    assert other.plain.lm_head.weight is other.plain.model.embed_tokens.weight
    torch.testing.assert_close(other.head().weight, model.head().weight)
    untied = pydocs_lm(hidden=16, layers=1, heads=2, tied=False)
    assert "model.lm_head.weight" in untied.state_dict()


# --- tokenizers, folders ---


def test_models_of_one_tokenizer_may_pad_their_vocabulary_differently():
    check_same_tokenizer(LanguageModel(build("llama"), _Words()), LanguageModel(build("qwen2_padded"), _Words()))


def test_another_tokenizer_is_refused_with_an_example():
    teacher = pydocs_lm(hidden=16, layers=1, heads=2)
    from limbeck_text.tokenizers.tokenizer import train

    other = train(["other words altogether"] * 3, vocab=270)
    wrapped = wrap(transformers.PreTrainedTokenizerFast(tokenizer_object=other, pad_token="<pad>", eos_token="<eos>"))
    config = transformers.LlamaConfig(vocab_size=270, **SMALL, num_key_value_heads=1)
    student = LanguageModel(transformers.LlamaForCausalLM(config), wrapped)
    with pytest.raises(LimbeckError, match=r"different tokenizers: 4096 and \d+ tokens; 'Return the string.' is \["):
        check_same_tokenizer(teacher, student)
    with pytest.raises(LimbeckError, match="has no tokenizer"):
        check_same_tokenizer(torch.nn.Linear(1, 1), teacher)


def test_data_of_another_tokenizer_is_refused_before_the_first_step(tmp_path):
    from limbeck_text.tokenizers.tokenizer import train

    config = transformers.LlamaConfig(vocab_size=270, **SMALL, num_key_value_heads=1)
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path)
    other = train(["other words altogether"] * 3, vocab=270)
    transformers.PreTrainedTokenizerFast(tokenizer_object=other, pad_token="<pad>", eos_token="<eos>").save_pretrained(
        tmp_path
    )
    recipe = {
        "name": "mixed",
        "generator": {"use": "text/causal_lm", "model": str(tmp_path)},
        "objective": "language_modelling",
        "data": {"use": "text/pydocs", "length": 16},
        "train": {"steps": 1, "batch_size": 1},
    }
    with pytest.raises(LimbeckError, match="use different tokenizers, so the ids of one mean other words"):
        build_recipe(load(recipe))


def test_a_folder_of_transformers_is_loaded_with_all_its_ends(tmp_path):
    config = transformers.LlamaConfig(vocab_size=4160, **SMALL, num_key_value_heads=2, max_position_embeddings=64)
    model = transformers.LlamaForCausalLM(config)  # 64 rows of padding
    model.generation_config.eos_token_id = [1, 9]
    model.save_pretrained(tmp_path)
    bundled().as_transformers().save_pretrained(tmp_path)
    loaded = causal_lm(model=str(tmp_path))
    assert (loaded.vocab, loaded.eos, loaded.pad, loaded.context) == (4096, (1, 9), 0, 64)
    tokens = some_tokens()
    with torch.no_grad():
        torch.testing.assert_close(loaded.eval()(tokens), model.eval()(input_ids=tokens).logits[..., :4096])
    check_same_tokenizer(loaded, pydocs_lm(hidden=16, layers=1, heads=2))


def test_a_folder_without_a_model_says_what_to_give(tmp_path):
    with pytest.raises(LimbeckError, match="(?s)could not load .*folder written by save_pretrained"):
        causal_lm(model=str(tmp_path))
