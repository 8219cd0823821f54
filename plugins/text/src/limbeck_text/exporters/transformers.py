"""Language models as folders that `transformers` and peft load without Limbeck.

Both exporters write the tokenizer and a model card beside the weights and refuse a folder that is not empty.
"""

import copy
from pathlib import Path
from typing import Any, Literal

import torch

from limbeck.errors import LimbeckError
from limbeck.export.card import about
from limbeck.export.folder import prepare
from limbeck.files import write_whole
from limbeck.interfaces import unwrap
from limbeck_text.models.language_model import LanguageModel

CARD, BASE = "README.md", "base"


def export_transformers(
    run: Any,
    directory: Path | str,
    *,
    dtype: Literal["float32", "bfloat16", "float16"] = "float32",
    overwrite: bool = False,
) -> list[Path]:
    """Model and tokenizer for `AutoModelForCausalLM` and `AutoTokenizer`; adapters are merged into the weights."""
    model = _language_model(run)
    directory = prepare(directory, overwrite)
    plain = model.merged().cpu().eval().to(getattr(torch, dtype))
    _save_ends(plain, model)
    plain.save_pretrained(directory)
    model.tokenizer.as_transformers().save_pretrained(directory)
    loading = [
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        'model, tokenizer = AutoModelForCausalLM.from_pretrained("."), AutoTokenizer.from_pretrained(".")',
    ]
    write_whole(directory / CARD, _card(run, model, loading))
    return sorted(path for path in directory.iterdir() if path.is_file())


def export_peft(run: Any, directory: Path | str, *, overwrite: bool = False) -> list[Path]:
    """The low-rank adapters alone, for `PeftModel.from_pretrained` on the model that they were trained on; that one is
    in `base` beside them when it has no folder or hub id of its own."""
    model = _language_model(run)
    adapted: Any = model.model
    if not hasattr(adapted, "peft_config"):
        raise LimbeckError(
            "this run trained the whole model, so there are no adapters to write. Export it with --to transformers, or "
            "train adapters: generator: {use: ..., init: teacher, lora: {rank: 8}}"
        )
    directory = prepare(directory, overwrite)
    base = getattr(model.plain.config, "_name_or_path", "")
    if not base:  # a bundled teacher, which has no folder or hub id: it is exported beside the adapters
        base = BASE
        copy.deepcopy(adapted).unload().cpu().save_pretrained(directory / BASE)
    for config in adapted.peft_config.values():
        config.base_model_name_or_path = base
    adapted.save_pretrained(directory, save_embedding_layers=False)  # they are frozen
    model.tokenizer.as_transformers().save_pretrained(directory)
    loading = [
        "from peft import PeftModel",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        f'base = AutoModelForCausalLM.from_pretrained("{base}")',
        'model, tokenizer = PeftModel.from_pretrained(base, "."), AutoTokenizer.from_pretrained(".")',
    ]
    write_whole(directory / CARD, _card(run, model, loading))
    return sorted(path for path in directory.iterdir() if path.is_file())


def _language_model(run: Any) -> LanguageModel:
    model = unwrap(run.generator())
    if not isinstance(model, LanguageModel):
        raise LimbeckError(
            f"the exporters transformers and peft write causal language models; {type(model).__name__} is none. "
            "For one that fits: limbeck list exporters"
        )
    return model


def _save_ends(plain: Any, model: LanguageModel) -> None:
    """Generation stops where ours does, and pads with a token that is masked anyway."""
    ends = list(model.eos)
    plain.generation_config.eos_token_id = ends[0] if len(ends) == 1 else ends or None
    plain.generation_config.pad_token_id = model.pad


def _card(run: Any, model: LanguageModel, loading: list[str]) -> str:
    from limbeck import __version__

    recipe = run.recipe
    teacher = recipe.teacher.use if recipe.teacher is not None else None
    made = (
        f"distilled from `{teacher}` with `{recipe.objective.use}`"
        if teacher
        else f"trained with `{recipe.objective.use}`"
    )
    parameters = sum(p.numel() for p in model.parameters())
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: text-generation",
        "---",
        "",
        f"# {recipe.name}",
        "",
        f"A causal language model ({type(model.plain).__name__}, {parameters:,} parameters, {model.vocab:,} tokens, "
        f"context {model.context:,}), {made} by Limbeck {__version__}.",
        "",
        "## Load it",
        "",
        "```python",
        *loading,
        'given = tokenizer("def join(self, ", return_tensors="pt", add_special_tokens=False)',
        'print(tokenizer.decode(model.generate(input_ids=given["input_ids"], max_new_tokens=64, do_sample=True)[0]))',
        "```",
        "",
        *about(run),
    ]
    return "\n".join(lines) + "\n"
