"""Networks whose weights are spread over processes, in place, by torch's `fully_shard` (FSDP2).

Every process then holds some rows of each tensor, as a DTensor, and a call of `forward` gathers what it needs, in all
processes at once. Whatever reads weights otherwise comes here: `unsharded` for methods other than forward,
`plain_copy` for a network of one's own, `part` for what lies in this process. For a network that is not spread they do
nothing, so that an objective or a source need not distinguish.
"""

import copy
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from limbeck.errors import RecipeError

OLDEST_TORCH = (2, 13)  # sees the tensors inside a dataclass (Prediction); before, gradients were lost in silence
_skeletons: WeakKeyDictionary[nn.Module, nn.Module] = WeakKeyDictionary()  # of spread networks: all but their weights


def is_sharded(module: nn.Module) -> bool:
    """Whether the module, as it was given to `shard`, is spread."""
    return module in _skeletons


# --- tensors ---------------------------------------------------------------------------------------------------------


def is_spread(tensor: Any) -> bool:
    return hasattr(tensor, "full_tensor")


@torch.no_grad()
def part(tensor: Tensor) -> Tensor:
    """What of a tensor lies in this process, sharing its memory; the tensor itself when it is not spread."""
    return tensor.to_local() if is_spread(tensor) else tensor  # type: ignore[attr-defined]


@torch.no_grad()
def gathered(tensor: Tensor) -> Tensor:
    """All of a tensor. Every process has to call it, in the same order."""
    return tensor.detach().full_tensor() if is_spread(tensor) else tensor.detach()  # type: ignore[attr-defined]


def rows_for(tensor: Tensor, like: Tensor) -> Tensor:
    """What of a whole tensor belongs into this process if it is spread as `like` is; all of it when that is not."""
    if not is_spread(like):
        return tensor
    mesh: Any = like.device_mesh  # type: ignore[attr-defined]
    pieces = tensor.chunk(mesh.size(), 0)
    rank = mesh.get_local_rank()
    return pieces[rank] if rank < len(pieces) else tensor[:0]


def spread(rows: Tensor, like: Tensor) -> Tensor:
    """Rows of this process as a tensor spread as `like` is; the rows themselves when that is not."""
    if not is_spread(like):
        return rows
    from torch.distributed.tensor import DTensor

    model: Any = like
    return DTensor.from_local(
        rows, model.device_mesh, model.placements, run_check=False, shape=model.shape, stride=model.stride()
    )


def spread_state(state: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """A whole state dict as `module.load_state_dict` takes it."""
    own = module.state_dict()
    found = {}
    for name, value in state.items():
        like = own.get(name, value)
        fits = is_spread(like) and like.shape == value.shape
        found[name] = spread(rows_for(value, like).to(like.device), like) if fits else value
    return found


# --- networks --------------------------------------------------------------------------------------------------------


def shard(module: nn.Module, mesh: Any, *, leave: Collection[int] = (), inner: nn.Module | None = None) -> None:
    """Spread a network's weights over the processes of a mesh.

    What repeats (items of a ModuleList) is gathered by itself; the rest together, for as long as a turn lasts.

    Args:
        module: a network that is called through forward.
        mesh: a one-dimensional DeviceMesh.
        leave: ids of parameters that stay whole in every process; scalars do too.
        inner: the module inside that is called, when it is not `module` itself (a guided teacher's network).
    """
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    if tuple(int(n) for n in torch.__version__.split(".")[:2]) < OLDEST_TORCH:
        oldest = ".".join(map(str, OLDEST_TORCH))
        raise RecipeError(f"train.parallel: fully_shard needs torch {oldest} or newer; this is {torch.__version__}")
    _skeletons[module] = _skeleton(module, leave)
    root = module if inner is None else inner
    usual = next((p.dtype for p in root.parameters() if p.requires_grad), None)
    ignored = {
        p
        for p in root.parameters()
        if id(p) in leave or p.ndim == 0 or not p.is_contiguous() or (usual and p.requires_grad and p.dtype != usual)
    }
    for unit in _repeated(root, ignored):
        fully_shard(unit, mesh=mesh, ignored_params=ignored)
    fully_shard(root, mesh=mesh, ignored_params=ignored)
    # whatever is called first would take itself for the root: `unsharded` may call parts of it before any forward
    root.begin_sharded = _nothing  # type: ignore[assignment]
    register_fsdp_forward_method(root, "begin_sharded")
    with torch.no_grad():
        root.begin_sharded()  # type: ignore[operator]
    reshard(root)


def _nothing() -> None:
    pass


def _repeated(root: nn.Module, ignored: set) -> list[nn.Module]:
    """The outermost items of ModuleLists that are called by themselves and share no parameter with anything else."""
    found: list[nn.Module] = []

    def take(item: nn.Module) -> None:
        if type(item).forward is nn.Module.forward:  # never called itself: a list, or a holder of parts
            for child in item.children():
                take(child)
        elif item not in found and any(p not in ignored for p in item.parameters()):
            found.append(item)

    def look(module: nn.Module) -> None:
        for child in module.children():
            take(child) if isinstance(module, nn.ModuleList) else look(child)

    look(root)
    uses: dict[int, int] = {}
    for _, parameter in root.named_parameters(remove_duplicate=False):
        uses[id(parameter)] = uses.get(id(parameter), 0) + 1

    def alone(unit: nn.Module) -> bool:
        own: dict[int, int] = {}
        for _, parameter in unit.named_parameters(remove_duplicate=False):
            own[id(parameter)] = own.get(id(parameter), 0) + 1
        return all(uses[key] == count for key, count in own.items())

    return [unit for unit in found if alone(unit)]


def _units(module: nn.Module) -> list[Any]:
    from torch.distributed.fsdp import FSDPModule

    return [unit for unit in module.modules() if isinstance(unit, FSDPModule)]


def reshard(module: nn.Module) -> None:
    """Free what forward calls gathered; parameters are the spread ones again."""
    for unit in _units(module):
        unit.reshard()


def synchronise(module: nn.Module, wanted: bool) -> None:
    """Whether the next backward pass shares its gradients between processes, or keeps adding them up here."""
    for unit in _units(module):
        unit.set_requires_gradient_sync(wanted, recurse=False)


@contextmanager
def unsharded(module: nn.Module) -> Iterator[None]:
    """All weights are there inside, as plain tensors: for calls other than forward (`generate_tokens`), and for loops
    whose length differs between processes. No gradients."""
    if not is_sharded(module):
        yield
        return
    units = _units(module)
    for unit in units:
        unit.set_reshard_after_forward(False, recurse=False)
        unit.unshard()
    try:
        with torch.no_grad():
            yield
    finally:
        for unit in units:
            unit.set_reshard_after_forward(unit is not units[0], recurse=False)
            unit.reshard()


# --- plain copies ----------------------------------------------------------------------------------------------------


def _sharing_codecs(module: nn.Module) -> dict[int, Any]:
    """A memo for `deepcopy` with which the codecs of spaces, often networks themselves, are not copied."""
    codecs = (getattr(getattr(m, "space", None), "codec", None) for m in module.modules())
    return {id(codec): codec for codec in codecs if codec is not None}


def _skeleton(module: nn.Module, leave: Collection[int]) -> nn.Module:
    """A copy without weights: its parameters take no memory. Frozen ones that are left alone are the very same."""
    memo = _sharing_codecs(module)
    for parameter in module.parameters():
        if id(parameter) in leave and not parameter.requires_grad:
            memo[id(parameter)] = parameter
            continue
        empty = torch.empty_like(parameter, device="meta")
        memo[id(parameter)] = nn.Parameter(empty, requires_grad=parameter.requires_grad)
    return copy.deepcopy(module, memo)


def plain_copy(module: nn.Module, weights: Mapping[str, Tensor] | None = None, *, keep: bool = True) -> Any:
    """A copy of a network that is spread no longer; of any other network, a deep copy.

    Of a spread one, every process has to call it.

    Args:
        weights: other values for its parameters, by their names (an average).
        keep: False: None comes back, and only the other processes get a copy.
    """
    if not is_sharded(module):
        if not keep:
            return None
        twin = copy.deepcopy(module, _sharing_codecs(module))
        if weights is not None:
            twin.load_state_dict(dict(weights))
        return twin
    reshard(module)
    live = dict(module.named_parameters(remove_duplicate=False))
    chosen: dict[int, Tensor] = {id(parameter): parameter for parameter in live.values()}
    for name, parameter in live.items():
        if weights is not None and name in weights:
            chosen[id(parameter)] = weights[name]
    made: Any = copy.deepcopy(_skeletons[module], _sharing_codecs(module)) if keep else None
    filled: dict[int, nn.Parameter] = {}
    there = dict(_skeletons[module].named_parameters(remove_duplicate=False))
    for name, parameter in live.items():
        if there[name] is parameter:  # shared with the skeleton
            continue
        if id(parameter) not in filled:
            value = gathered(chosen[id(parameter)])
            value = value.clone() if keep and not is_spread(chosen[id(parameter)]) else value
            filled[id(parameter)] = nn.Parameter(value if keep else value.new_empty(0), requires_grad=False)
        if made is not None:
            owner, _, leaf = name.rpartition(".")
            setattr(made.get_submodule(owner), leaf, filled[id(parameter)])
    if made is None:
        return None
    for parameter, like in zip(made.parameters(), _skeletons[module].parameters(), strict=True):
        parameter.requires_grad_(like.requires_grad)
    current = dict(module.named_buffers())
    for name, buffer in list(made.named_buffers()):
        owner, _, leaf = name.rpartition(".")
        made.get_submodule(owner)._buffers[leaf] = current[name].detach().clone() if name in current else buffer
    return made.train(module.training)


__all__ = ["gathered", "is_sharded", "is_spread", "part", "plain_copy", "rows_for", "shard", "spread", "unsharded"]
