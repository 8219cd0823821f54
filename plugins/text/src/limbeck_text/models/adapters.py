"""Low-rank adapters (Hu et al. 2022) on models of `transformers`, by peft."""

import copy
from typing import Any

from torch import nn


def with_adapters(
    plain: Any, rank: int = 8, alpha: float = 16.0, dropout: float = 0.0, targets: tuple[str, ...] | None = None
) -> Any:
    """A peft model on a frozen copy of `plain`.

    Args:
        rank, alpha, dropout: as in peft's LoraConfig.
        targets: names of layers; all linear ones but the head when None.

    Raises:
        TypeError: targets that name the head, or no layer of this model.
    """
    from peft import LoraConfig, get_peft_model
    from transformers.pytorch_utils import Conv1D

    names = list(targets) if targets else "all-linear"
    if targets and any(name.endswith(("lm_head", "embed_out")) for name in targets):
        raise TypeError(
            f"generator.lora.targets {list(targets)}: the head cannot be adapted, because losses are fused with its "
            "weight. Leave it out"
        )
    base = copy.deepcopy(plain).requires_grad_(False)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]
        lora_dropout=dropout,
        target_modules=names,
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in base.modules()),
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(base, config)
    except ValueError as err:
        layers = sorted({n.rsplit(".", 1)[-1] for n, m in base.named_modules() if isinstance(m, nn.Linear | Conv1D)})
        raise TypeError(f"generator.lora.targets {names}: {err} Linear layers here: {', '.join(layers)}") from err


def has_adapters(model: Any) -> bool:
    """Whether peft wrapped it."""
    return hasattr(model, "get_base_model")


def without_wrapper(model: Any) -> Any:
    """The `transformers` model inside, adapters injected if there are any."""
    return model.get_base_model() if has_adapters(model) else model


def merged(model: Any) -> Any:
    """A copy as a plain `transformers` model, adapters folded into the weights."""
    model = copy.deepcopy(model)
    return model.merge_and_unload() if has_adapters(model) else model
