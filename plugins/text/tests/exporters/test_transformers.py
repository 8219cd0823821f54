"""Exported folders load without Limbeck and hold the same model."""

import subprocess
import sys

import pytest
import torch
from tiny_language_models import recipe_of

import limbeck
from limbeck.errors import LimbeckError, RunExists
from limbeck_text.tokenizers.tokenizer import bundled

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


def predicted_by(network):
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


@pytest.mark.slow
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
        expected_ids, expected = predicted_by(network)
        assert ids.strip() == str(expected_ids)
        assert [float(number) for number in numbers.split()] == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_adapters_are_small_and_change_what_the_student_predicts(adapted, tmp_path):
    assert predicted_by(adapted.generator())[1] != pytest.approx(predicted_by(adapted.built.teacher)[1], abs=1e-2)
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
    assert (
        predicted_by(loaded)[1] == pytest.approx(predicted_by(run.generator())[1], abs=1e-5)
        and loaded.eos == bundled().eos
    )


def test_a_whole_model_has_no_adapters_to_export(run, tmp_path):
    with pytest.raises(LimbeckError, match="there are no adapters to write"):
        run.export("peft", tmp_path / "adapter")


def test_the_tied_head_survives_a_teacher_file(run, tmp_path):
    (path,) = run.export("teacher", tmp_path, dtype="float32")
    loaded = limbeck.create("teacher", "text/pydocs_lm", weights=str(path))
    assert predicted_by(loaded) == predicted_by(run.generator())
    assert loaded.plain.lm_head.weight is loaded.plain.model.embed_tokens.weight
    assert loaded.provenance["recipe"] == "tiny_lm"
