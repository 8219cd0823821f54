"""Low-rank adapters on one shared base: every role is a thin tree of modules whose frozen parameters are the teacher's.

Student, critic and averages differ by their adapters alone (Hu et al. 2022). There is no global switch: a role is a
module tree of its own, made by copying everything but the parameters, with peft's layers put into it. So roles can be
called in any order, recomputed by activation checkpointing, and wrapped by DDP one by one. Names inside are peft's and
diffusers' own (`...to_q.lora_A.default.weight`), which makes the export a matter of writing them down.

`SharedBase` is what a predictor that may hold such a network is made of: a role is saved as its adapters alone, a deep
copy of one shares the base too, the teacher moves the base and every role with it.
"""

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.errors import first_line

ADAPTER = "default"
# what is adapted where no option names it: projections of attention, by their names in diffusers
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")


# --- the thin tree ---------------------------------------------------------------------------------------------------


def share(module: nn.Module) -> nn.Module:
    """A copy of the module tree that holds the very same parameters and buffers: no memory but that of the tree."""
    memo: dict[int, Any] = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return copy.deepcopy(module, memo)


def adapted(
    base: nn.Module,
    *,
    rank: int = 8,
    alpha: float = 16.0,
    dropout: float = 0.0,
    targets: Iterable[str] | None = None,
    usual: Iterable[str] = ATTENTION,
) -> nn.Module:
    """`base` with fresh adapters (they start as zero), in a tree of its own that shares the frozen parameters.

    Args:
        base: the denoiser. A base that learns cannot be shared, because its adapters would move with it: it is copied.
        targets: ends of the names of adapted layers, as peft reads them (`to_q`, `ff.net.2`); `usual` when None.

    Raises:
        TypeError: no layer has such a name, or the layer is of a kind that has no low-rank form.
    """
    from peft import LoraConfig, inject_adapter_in_model

    if is_adapted(base):
        raise TypeError("this network already has adapters; copy the one they were put on, or merge them first")
    wanted = tuple(targets) if targets is not None else tuple(usual)
    learns = any(parameter.requires_grad for parameter in base.parameters())
    tree = copy.deepcopy(base) if learns else share(base)
    tree.requires_grad_(False)
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(wanted))  # type: ignore[arg-type]
    try:
        inject_adapter_in_model(config, tree, adapter_name=ADAPTER)
    except ValueError as error:
        raise TypeError(
            f"lora.targets {', '.join(wanted)}: {first_line(error).rstrip('.')}. {_layers(base)}"
        ) from error
    for name, parameter in tree.named_parameters():
        if is_adapter(name):  # in half precision small updates would be lost
            parameter.data = parameter.data.to(torch.promote_types(parameter.dtype, torch.float32))
    return tree


def is_adapter(name: str) -> bool:
    """Whether a name inside an adapted network is one of its adapters'."""
    return ".lora_" in name


def is_adapted(network: nn.Module) -> bool:
    return any(is_adapter(name) for name, _ in network.named_parameters())


def _layers(base: nn.Module) -> str:
    """Ends of the names of layers that can be adapted."""
    ends = {_end(name) for name, module in base.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    return f"Layers here: {', '.join(sorted(ends))}"


def _end(name: str) -> str:
    """`to_out.0` of `block.attn.to_out.0`: as many last parts as it takes to reach a word."""
    parts = name.split(".")
    start = next(i for i in range(len(parts) - 1, -1, -1) if i == 0 or not parts[i].isdigit())
    return ".".join(parts[start:])


# --- what leaves -----------------------------------------------------------------------------------------------------


def adapter_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Adapters as files of peft and diffusers have them: `down_blocks.0...to_q.lora_A.weight`."""
    tensors = {}
    for name, parameter in network.named_parameters():
        if is_adapter(name):
            tensors[name.replace(f".{ADAPTER}.", ".")] = parameter.detach().cpu().contiguous().clone()
    return tensors


def adapter_config(network: nn.Module) -> dict[str, Any]:
    """Rank, scale and targets, as peft writes them; without what is None."""
    config: Mapping[str, Any] = network.peft_config[ADAPTER].to_dict()  # type: ignore[union-attr, index]
    kept = {}
    for key, value in config.items():
        if value is None or value == {} or key in ("runtime_config", "auto_mapping", "loftq_config", "peft_version"):
            continue
        kept[key] = sorted(value) if isinstance(value, set) else getattr(value, "value", value)
    return kept


def merged(network: nn.Module, device: torch.device | str | None = None) -> nn.Module:
    """A plain copy with the adapters folded into the weights, W + (alpha / rank) B A; the base stays untouched.

    Args:
        device: where the copy is made; beside the original when None.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    memo: dict[int, Any] = {}
    if device is not None:
        for parameter in network.parameters():
            there = parameter.detach().to(device, copy=True)
            memo[id(parameter)] = nn.Parameter(there, requires_grad=parameter.requires_grad)
        memo |= {id(buffer): buffer.detach().to(device, copy=True) for buffer in network.buffers()}
    plain = copy.deepcopy(network, memo)
    if not is_adapted(network):
        return plain
    layers = [(name, module) for name, module in plain.named_modules() if isinstance(module, BaseTunerLayer)]
    for name, layer in layers:
        layer.merge(safe_merge=True)
        parent, _, own = name.rpartition(".")
        setattr(plain.get_submodule(parent) if parent else plain, own, layer.get_base_layer())
    for attribute in ("peft_config", "_hf_peft_config_loaded"):
        plain.__dict__.pop(attribute, None)
    return plain


# --- the holder ------------------------------------------------------------------------------------------------------


class SharedBase:
    """Mixin, before nn.Module, of a predictor that holds a network (`HELD`), adapted or plain. Once it is adapted:

    - `state_dict` holds the adapters alone, and is all that `load_state_dict` expects: checkpoints are small.
    - A deep copy shares the base (an average of the student, a target network).
    - The owner of the base moves it, in place, and every role with it. A role that is moved elsewhere alone takes a
      copy of the base along (`take_base_along`), so that it can leave, for an export, without pulling the base from
      under the others.
    """

    HELD = "network"

    def keep_base_apart(self) -> None:
        """Call once the network is there."""
        module: Any = self
        module.register_state_dict_post_hook(_without_base)
        module.register_load_state_dict_pre_hook(_with_base)

    def base(self) -> dict[str, Tensor]:
        """What a state dict would hold of the base, by the names it has there; empty while there are no adapters."""
        network: nn.Module = getattr(self, self.HELD)
        if not is_adapted(network):
            return {}
        state = network.state_dict(keep_vars=True)
        return {f"{self.HELD}.{name}": tensor for name, tensor in state.items() if not is_adapter(name)}

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        network: nn.Module = getattr(self, self.HELD)
        if is_adapted(network):
            memo |= {id(buffer): buffer for buffer in network.buffers()}
            memo |= {id(tensor): tensor for name, tensor in network.named_parameters() if not is_adapter(name)}
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.__dict__ = copy.deepcopy(self.__dict__, memo)
        return twin

    def take_base_along(self, fn: Any) -> None:
        """Before `_apply(fn)`: where it would change the base's device or type, the base becomes this module's own."""
        shared = {id(tensor) for tensor in self.base().values()}
        own: dict[int, nn.Parameter] = {}
        for module in getattr(self, self.HELD).modules() if shared else ():
            for name, parameter in module._parameters.items():
                if parameter is None or id(parameter) not in shared:
                    continue
                probe = fn(parameter.data.reshape(-1)[:0])
                if probe.device != parameter.device or probe.dtype != parameter.dtype:
                    alone = own.setdefault(id(parameter), nn.Parameter(parameter.data, requires_grad=False))
                    module._parameters[name] = alone


def _without_base(module: Any, state: dict[str, Tensor], prefix: str, metadata: Any) -> None:
    for name in module.base():
        state.pop(prefix + name, None)


def _with_base(module: Any, state: dict[str, Tensor], prefix: str, *rest: Any) -> None:
    """What a file leaves out stays as it is: the base's own tensors stand in, and are copied onto themselves."""
    for name, tensor in module.base().items():
        state[prefix + name] = tensor


__all__ = [
    "ADAPTER", "ATTENTION", "SharedBase", "adapted", "adapter_config", "adapter_tensors", "is_adapted", "is_adapter",
    "merged", "share",
]  # fmt: skip
