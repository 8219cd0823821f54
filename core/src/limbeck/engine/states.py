"""Everything that a checkpoint holds, gathered from a run and given back to it."""

from collections.abc import Mapping

from torch import Tensor, nn

from limbeck.engine.checkpoint import Checkpoint
from limbeck.engine.ema import EMA
from limbeck.engine.optimizers import PhaseOptimizer
from limbeck.errors import CheckpointError
from limbeck.interfaces import Objective
from limbeck.networks.sharding import gathered, is_spread, spread_state


def gather(
    objective: Objective,
    optimizers: Mapping[str, PhaseOptimizer],
    waiting: Mapping[str, Mapping[str, Tensor]],
    ema: EMA | None,
) -> dict[str, Mapping[str, Tensor]]:
    """File name without suffix -> tensors, spread where their network is. `waiting` are loaded optimizers whose phase
    has not come yet."""
    files: dict[str, Mapping[str, Tensor]] = {name: module.state_dict() for name, module in objective.roles().items()}
    files |= {f"optimizer-{name}": state for name, state in waiting.items()}
    files |= {f"optimizer-{name}": optimizer.state_dict() for name, optimizer in optimizers.items()}
    if ema is not None:
        files |= {f"ema-{decay}": ema.state_dict(decay) for decay in ema.decays}
    own = objective.state_dict()
    return files | ({"objective": own} if own else {})


def unsharded(files: Mapping[str, Mapping[str, Tensor]], *, keep: bool = True) -> dict[str, Mapping[str, Tensor]]:
    """The same with nothing spread, on the CPU. Every process has to ask; those that do not `keep` get nothing."""
    found: dict[str, Mapping[str, Tensor]] = {}
    for stem, content in files.items():
        if not any(is_spread(value) for value in content.values()):
            found[stem] = content
            continue
        tensors = {name: gathered(value) for name, value in content.items()}
        found[stem] = {name: value.cpu() for name, value in tensors.items()} if keep else {}
    return found if keep else {}


def give_back(checkpoint: Checkpoint, objective: Objective, ema: EMA | None) -> dict[str, dict[str, Tensor]]:
    """Load roles, averages and the objective's own state; the optimizers' states by phase name."""
    for name, module in objective.roles().items():
        _load(module, checkpoint.tensors(name), f"{checkpoint.path / name}.safetensors")
    stems = checkpoint.stems()
    if ema is not None:
        ema.updates = int(checkpoint.state.get("ema_updates", 0))
        live = objective.roles()["generator"].state_dict()
        for decay in ema.decays:  # a decay added on resume starts from the weights of now
            ema.load_state_dict(decay, checkpoint.tensors(f"ema-{decay}") if f"ema-{decay}" in stems else live)
    objective.load_state_dict(checkpoint.tensors("objective") if "objective" in stems else {})
    start = "optimizer-"
    return {stem.removeprefix(start): checkpoint.tensors(stem) for stem in stems if stem.startswith(start)}


def _load(module: nn.Module, tensors: Mapping[str, Tensor], file: str) -> None:
    try:
        module.load_state_dict(spread_state(tensors, module))
    except RuntimeError as error:
        detail = " ".join(str(error).split("\n")[1:3]).strip()
        raise CheckpointError(
            f"{file} is not of this recipe: {detail} Resume with the options that the run was started with, or start "
            "another run"
        ) from error
