"""Pretraining, sampling, metrics and exports of language models, on tiny ones."""

import math
import subprocess
import sys

import pytest
import torch

import limbeck
from limbeck import Batch, Rng
from limbeck.errors import LimbeckError, RunExists
from limbeck_text.metrics.likelihood import NLL, GenerativeNLL, KLToTeacher, bytes_of, forward_kl, token_nll, until_end
from limbeck_text.models.language_model import pydocs_lm
from limbeck_text.objectives.language_modelling import LanguageModelling, next_token_mask
from limbeck_text.samplers.autoregressive import Autoregressive
from limbeck_text.tokenizers.codec import TextCodec
from limbeck_text.tokenizers.tokenizer import bundled

TINY = {"hidden": 16, "layers": 1, "heads": 2, "context": 32}


def tokens_of(rows=4, length=12, seed=0):
    return torch.randint(2, 4096, (rows, length), generator=torch.Generator().manual_seed(seed))


def model(seed=0, **more):
    torch.manual_seed(seed)
    made = pydocs_lm(**{**TINY, **more}).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim == 2:
                parameter.mul_(10)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve short documents."""
    place = tmp_path_factory.mktemp("texts")
    for k in range(12):
        (place / f"{k}.md").write_text(f"def f{k}(x): return the value of x and {k} more.\n" * 12)
    return place


# --- pretraining ---


def objective_of(network):
    objective = LanguageModelling()
    objective.setup(network)
    (phase,) = objective.phases(0)
    return objective, phase


def test_the_loss_is_the_mean_log_likelihood_of_valid_next_tokens():
    network, x0 = model(), tokens_of()
    valid = torch.zeros(4, 12, dtype=torch.bool)
    valid[0, 5:9], valid[2, 1:], valid[3, 0] = True, True, True  # the first token of a row is predicted by nothing
    objective, phase = objective_of(network)
    loss = objective.loss(phase, Batch(x0=x0, loss_mask=valid), Rng(0))
    log_p = network(x0).double().log_softmax(-1)
    chosen = [-log_p[b, k - 1, x0[b, k]] for b in range(4) for k in range(1, 12) if valid[b, k]]
    assert int(loss.count) == len(chosen) == 15
    torch.testing.assert_close(loss.value.double(), torch.stack(chosen).mean(), rtol=1e-5, atol=1e-5)
    assert loss.value > 8.5  # larger than log V: the model is confident and wrong


def test_padding_is_never_learned_even_when_it_looks_like_an_end():
    x0 = tokens_of()
    real = torch.ones_like(x0, dtype=torch.bool)
    real[1, 6:] = False
    batch = Batch(x0=x0, attention_mask=real)
    assert next_token_mask(batch).sum(1).tolist() == [11, 5, 11, 11]
    objective, phase = objective_of(model())
    a = objective.loss(phase, batch, Rng(0)).value
    b = objective.loss(phase, Batch(x0=torch.where(real, x0, 1), attention_mask=real), Rng(0)).value
    assert torch.equal(a, b)


def test_left_padded_rows_lose_what_would_be_predicted_from_padding():
    x0 = tokens_of(1)
    real = torch.ones_like(x0, dtype=torch.bool)
    real[0, :3] = False
    assert next_token_mask(Batch(x0=x0, attention_mask=real))[0].tolist() == [False] * 3 + [True] * 8


def test_gradients_reach_embedding_and_blocks():
    network = model()
    objective, phase = objective_of(network)
    objective.loss(phase, Batch(x0=tokens_of()), Rng(0)).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())


def test_a_batch_with_nothing_to_learn_is_refused():
    objective, phase = objective_of(model())
    with pytest.raises(ValueError, match="no token of the batch is to be learned"):
        objective.loss(phase, Batch(x0=tokens_of(), loss_mask=torch.zeros(4, 12, dtype=torch.bool)), Rng(0))
    with pytest.raises(ValueError, match=r"the source yields x0 \(4, 1\) torch.int64"):
        objective.loss(phase, Batch(x0=tokens_of(length=1)), Rng(0))


# --- the sampler ---


def test_samples_are_prompt_and_completion():
    prompt = tokens_of(3, 5)
    sample = Autoregressive(stop=False)(model(), prompt, steps=7, rng=Rng(0))
    assert sample.value.shape == (3, 12) and torch.equal(sample.value[:, :5], prompt)
    assert sample.evaluations == 7


def test_without_a_prompt_a_document_begins_by_itself():
    network = model()
    sample = Autoregressive(temperature=0)(network, None, steps=4, rng=Rng(0), batch_size=2)
    expected, _ = network.generate_tokens(torch.tensor([[1]]), length=4, temperature=0, rng=Rng(0))
    assert sample.value.tolist() == [expected[0, 1:].tolist()] * 2


def test_prompts_may_be_texts_of_different_lengths():
    network = model()
    sample = Autoregressive(temperature=0, stop=False)(network, ["Return the value", "if"], steps=4, rng=Rng(0))
    alone = Autoregressive(temperature=0, stop=False)(network, ["if"], steps=4, rng=Rng(0))
    assert torch.equal(sample.value[1, -5:], alone.value[0])


def test_a_sampler_of_language_models_refuses_other_models():
    with pytest.raises(LimbeckError, match="continues prompts with a causal language model; Linear is none"):
        Autoregressive()(torch.nn.Linear(1, 1), None, steps=1, rng=Rng(0), batch_size=1)


def test_the_first_drawn_token_follows_the_models_law():
    network = model()
    prompt = tokens_of(1, 3)
    p = (network(prompt)[0, -1].double() / 0.1).softmax(-1)
    sampler = Autoregressive(temperature=0.1, stop=False)
    drawn = sampler(network, prompt.expand(4000, -1), steps=1, rng=Rng(0)).value[:, -1]
    top = p.topk(10).indices
    frequency = torch.stack([(drawn == token).double().mean() for token in top])
    torch.testing.assert_close(frequency, p[top], rtol=0, atol=0.025)  # three standard deviations at p = 0.5
    assert p[top].max() > 0.1


# --- metrics ---


def test_token_nll_is_minus_the_log_probability_of_the_next_token():
    network, tokens = model(), tokens_of(2, 6)
    with torch.no_grad():
        log_p = network(tokens).double().log_softmax(-1)
        expected = torch.stack([-log_p[b, k, tokens[b, k + 1]] for b in range(2) for k in range(5)]).reshape(2, 5)
        torch.testing.assert_close(token_nll(network, tokens).double(), expected, rtol=1e-5, atol=1e-5)


def test_forward_kl_against_the_definition():
    p, q = torch.tensor([0.7, 0.2, 0.1]).double(), torch.tensor([0.3, 0.3, 0.4]).double()
    expected = 0.7 * math.log(0.7 / 0.3) + 0.2 * math.log(0.2 / 0.3) + 0.1 * math.log(0.1 / 0.4)
    assert float(forward_kl(p.log() + 5, q.log() - 3)) == pytest.approx(expected, abs=1e-6)
    assert expected > 0.3 and float(forward_kl(p.log(), p.log())) == pytest.approx(0, abs=1e-7)


def test_held_out_nll_is_the_mean_over_tokens_and_counts_bytes(folder):
    data = limbeck.create("data", "text/pydocs", path=str(folder), length=8)
    network = model()
    held_out = data.split("held_out")
    x0 = held_out.batch(torch.arange(len(held_out))).x0
    with torch.no_grad():
        found = NLL(windows=10_000, batch_size=3)(network, None, data)
        total = float(token_nll(network, x0).double().sum())
    size = sum(bytes_of(bundled(), row) for row in x0[:, 1:])
    assert found["nll"] == pytest.approx(total / (7 * len(held_out)), rel=1e-5)
    assert found["bits_per_byte"] == pytest.approx(total / size / math.log(2), rel=0.01)  # ends of rows may join
    assert found["nll"] > 5


def test_kl_to_the_teacher_is_zero_for_the_teacher_itself_and_needs_one(folder):
    data = limbeck.create("data", "text/pydocs", path=str(folder), length=8)
    metric, teacher, other = KLToTeacher(windows=5), model(0), model(1)
    with torch.no_grad():
        assert metric(teacher, teacher, data)["kl_to_teacher"] == pytest.approx(0, abs=1e-5)
        assert metric(other, teacher, data)["kl_to_teacher"] > 0.1
    with pytest.raises(LimbeckError, match="this run has none"):
        metric(other, None, data)


def test_rows_count_up_to_their_first_end_and_prompts_do_not():
    tokens = torch.tensor([[1, 5, 6, 1, 7], [4, 5, 6, 7, 8]])
    assert until_end(tokens, (1,)).int().tolist() == [[1, 0, 0, 0, 0], [1, 1, 1, 1, 1]]
    assert until_end(tokens, (1, 6), prompt=2).int().tolist() == [[0, 0, 1, 0, 0], [0, 0, 1, 0, 0]]


def test_generative_nll_prefers_text_to_noise():
    data = limbeck.create("data", "text/pydocs", split="held_out", length=64)
    text = data.batch(torch.arange(0, 40, 5)).x0
    noise = torch.randint(2, 4096, text.shape, generator=torch.Generator().manual_seed(0))
    judged = GenerativeNLL()
    real, nonsense = (judged(x, None, data)["generative_nll"] for x in (text, noise))
    assert 2.5 < real < 6.5 < nonsense


# --- runs and exports ---


def recipe_of(folder, **more):
    return {
        "name": "tiny_lm",
        "generator": {"use": "text/pydocs_lm", "init": "random", **TINY},
        "objective": {"use": "language_modelling"},
        "data": {"use": "text/pydocs", "path": str(folder), "length": 16},
        "sampling": {"use": "text/autoregressive", "steps": 8},
        "train": {"steps": 12, "batch_size": 8, "lr": 0.01, "log_every": 1},
        "evaluate": {"metrics": ["nll"], "samples": 2, "batch_size": 2, "grid": 2},
        "report": {"write": False},
        **more,
    }


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    return limbeck.pretrain(recipe_of(folder), out=tmp_path_factory.mktemp("runs") / "tiny", progress=False)


def test_pretraining_lowers_the_loss_and_reports_likelihood(run):
    losses = [line["loss"] for line in run.metrics if "loss" in line]
    assert losses[-1] < losses[0] - 0.3
    (row,) = [row for row in run.evaluation["rows"] if row["role"] == "student"]
    assert 0 < row["metrics"]["nll"] < 8.4 and row["evaluations"] == 8
    assert (run.path / "samples" / "comparison" / "student.png").is_file()


def test_samples_of_a_run_are_texts(run, tmp_path):
    samples = run.sample(3, seed=1)
    assert samples.save(tmp_path / "s.txt").read_text(encoding="utf-8").count("--------") == 6
    assert len(samples.seen()) == 3 and all(isinstance(text, str) for text in samples.seen())


def test_a_prompted_stream_is_the_prompted_sample(run):
    text = "".join(run.stream("return the", seed=3))
    whole = run.sample(1, prompt="return the", seed=3).seen()[0]
    assert whole.startswith("return the") and whole in (text, "return the" + text)


LOADING = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
for folder in sys.argv[1:]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if folder.endswith("peft"):
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder + "/base"), folder)
    else:
        model = AutoModelForCausalLM.from_pretrained(folder)
    ids = tokenizer("def join(self, x):", return_tensors="pt", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logits = model.eval()(input_ids=ids).logits[0, -1].double()
    print(ids[0].tolist(), "|", float(logits.logsumexp(-1)), float(logits[9]), float(logits.max()))
assert not any(name.split(".")[0].startswith("limbeck") for name in sys.modules)
"""


def said_by(network):
    """Ids of a text, and three numbers made of the logits behind it."""
    ids = torch.tensor([network.tokenizer.encode("def join(self, x):")])
    with torch.no_grad():
        logits = network.eval()(ids)[0, -1].double()
    return ids[0].tolist(), [float(logits.logsumexp(-1)), float(logits[9]), float(logits.max())]


@pytest.fixture(scope="module")
def adapted(run, folder, tmp_path_factory):
    """A student of adapters on a teacher file of our own."""
    (weights,) = run.export("teacher", tmp_path_factory.mktemp("teacher"), dtype="float32")
    recipe = recipe_of(
        folder,
        name="tiny_lora",
        teacher={"use": "text/pydocs_lm", "weights": str(weights)},
        generator={"use": "text/pydocs_lm", "init": "teacher", "lora": {"rank": 2}},
    )
    recipe["train"] = {**recipe["train"], "lr": 0.05}
    recipe["evaluate"] = {"metrics": ["kl_to_teacher"], "samples": 2, "compare": False, "grid": 0}
    return limbeck.distill(recipe, out=tmp_path_factory.mktemp("runs") / "lora", progress=False)


def test_exported_folders_load_without_limbeck(run, adapted, tmp_path):
    files = run.export("transformers", tmp_path / "whole")
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= {path.name for path in files}
    adapted.export("transformers", tmp_path / "merged")
    adapted.export("peft", tmp_path / "peft")
    folders = [str(tmp_path / name) for name in ("whole", "merged", "peft")]
    done = subprocess.run([sys.executable, "-c", LOADING, *folders], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    networks = (run.generator(), adapted.generator(), adapted.generator())
    for line, network in zip(done.stdout.splitlines(), networks, strict=True):
        ids, numbers = line.split("|")
        expected_ids, expected = said_by(network)
        assert ids.strip() == str(expected_ids)
        assert [float(number) for number in numbers.split()] == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_adapters_are_small_and_change_what_the_student_says(adapted, tmp_path):
    assert said_by(adapted.generator())[1] != pytest.approx(said_by(adapted.built.teacher)[1], abs=1e-2)
    adapted.export("peft", tmp_path / "peft")
    adapter, base = (tmp_path / "peft" / name for name in ("adapter_model.safetensors", "base/model.safetensors"))
    assert adapter.stat().st_size < base.stat().st_size / 5


def test_an_exported_folder_has_a_card_is_not_overwritten_and_comes_back_as_a_teacher(run, tmp_path):
    run.export("transformers", tmp_path / "hf")
    card = (tmp_path / "hf" / "README.md").read_text(encoding="utf-8")
    assert "trained with `language_modelling`" in card and "AutoModelForCausalLM" in card and "## Licence" in card
    with pytest.raises(RunExists, match="is not empty"):
        run.export("transformers", tmp_path / "hf")
    loaded = limbeck.create("teacher", "text/causal_lm", model=str(tmp_path / "hf"))
    assert said_by(loaded)[1] == pytest.approx(said_by(run.generator())[1], abs=1e-5) and loaded.eos == bundled().eos


def test_a_whole_model_has_no_adapters_to_export(run, tmp_path):
    with pytest.raises(LimbeckError, match="there are no adapters to write"):
        run.export("peft", tmp_path / "adapter")


def test_the_tied_head_survives_a_teacher_file(run, tmp_path):
    (path,) = run.export("teacher", tmp_path, dtype="float32")
    loaded = limbeck.create("teacher", "text/pydocs_lm", weights=str(path))
    assert said_by(loaded) == said_by(run.generator())
    assert loaded.plain.lm_head.weight is loaded.plain.model.embed_tokens.weight
    assert loaded.provenance["recipe"] == "tiny_lm"


def test_an_interrupted_pretraining_resumes_bitwise(folder, run, tmp_path):
    from limbeck.runs.build import weights_of

    recipe = recipe_of(folder)
    recipe["evaluate"] = {"metrics": [], "samples": 1, "compare": False, "grid": 0}
    recipe["train"] = {**recipe["train"], "steps": 6}
    limbeck.pretrain(recipe, out=tmp_path / "a", progress=False)
    recipe["train"]["steps"] = 12
    limbeck.pretrain(recipe, out=tmp_path / "a", resume=True, progress=False)
    whole, parts = weights_of(str(run.path)), weights_of(str(tmp_path / "a"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


# --- the bundled models ---


@pytest.mark.parametrize(("judge", "at_most"), [(False, 4.3), (True, 4.8)])
def test_bundled_models_are_as_good_as_their_provenance_says(judge, at_most):
    made = limbeck.create("teacher", "text/pydocs_lm", judge=judge)
    (row,) = [row for row in made.provenance["evaluation"] if row["name"] == "model"]
    assert row["metrics"]["nll"] < at_most
    data = limbeck.create("data", "text/pydocs", length=160)
    with torch.no_grad():
        found = NLL(windows=12)(made, None, data)["nll"]
    assert found == pytest.approx(row["metrics"]["nll"], abs=0.5)  # twelve windows of a hundred
    assert not any(p.requires_grad for p in made.parameters())
    assert TextCodec(bundled()).decode(torch.tensor([[1]])) == [""]
