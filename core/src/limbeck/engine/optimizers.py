"""One optimizer per phase name, its learning rate, and what is done to gradients before it steps."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.engine.schedules import lr_factor
from limbeck.errors import CheckpointError, LimbeckError
from limbeck.interfaces import Phase, unwrap
from limbeck.networks.sharding import is_spread, part, rows_for, spread


def make_optimizer(
    name: str, groups: Sequence[dict[str, Any]], *, lr: float, betas: tuple[float, float], weight_decay: float
) -> torch.optim.Optimizer:
    """adamw, adam, radam or sgd (momentum betas[0]) over parameter groups; torch's fused kernels where it has them."""
    shared: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay}
    parameters = [p for group in groups for p in group["params"]]
    fused = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)
    if name == "sgd":
        return torch.optim.SGD(groups, momentum=betas[0], fused=fused, **shared)
    if name == "radam":
        return torch.optim.RAdam(groups, betas=betas, **shared)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[name]
    return kind(groups, betas=betas, fused=fused, **shared)


def _scale_of(name: str, scales: Mapping[str, float]) -> float:
    """The factor on the learning rate of a parameter: of the longest prefix of its name that `lr_scales` holds."""
    fitting = [prefix for prefix in scales if name == prefix or name.startswith(f"{prefix}.")]
    return float(scales[max(fitting, key=len)]) if fitting else 1.0


def gradient_norm(gradients: list[Tensor], spread: list[Tensor] | None = None, distributed: Any = None) -> Tensor:
    """Euclidean norm of all gradients together, (). `spread` are this process's parts of gradients that lie in
    several."""
    if not spread:
        return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    squared = distributed.sum(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(spread))) ** 2)
    return torch.sqrt(squared + gradient_norm(gradients) ** 2 if gradients else squared)


class PhaseOptimizer:
    """The optimizer of one phase name over the parameters of its roles."""

    def __init__(
        self, phase: Phase, roles: Mapping[str, nn.Module], train: Any, learning: Mapping[str, Sequence[Tensor]]
    ):
        unknown = [role for role in phase.roles if role not in roles]
        if unknown or not phase.roles:
            raise LimbeckError(f"phase '{phase.name}' moves roles {phase.roles}, but the objective has {sorted(roles)}")
        own = train.phases.get(phase.name)

        def option(key: str) -> Any:
            value = getattr(own, key, None) if own is not None else None
            return getattr(train, key) if value is None else value

        self.name, self.roles = phase.name, phase.roles
        found: dict[int, tuple[str, Tensor, float]] = {}
        for role in phase.roles:
            learns = {id(parameter) for parameter in learning[role]}
            scales = getattr(unwrap(roles[role]), "lr_scales", {})
            for name, parameter in roles[role].named_parameters():
                if id(parameter) in learns:
                    found.setdefault(id(parameter), (f"{role}/{name}", parameter, _scale_of(name, scales)))
        if not found:
            raise LimbeckError(f"phase '{phase.name}' has nothing to train: roles {phase.roles} have no parameters")
        ordered = sorted(found.values(), key=lambda entry: entry[2])  # stable: groups of one learning rate
        self.names = [name for name, _, _ in ordered]
        self.parameters = [parameter for _, parameter, _ in ordered]
        # what the optimizer moves: of a parameter that is spread over processes the rows here, sharing its memory
        self.own = [nn.Parameter(part(p)) if is_spread(p) else p for p in self.parameters]
        self.lr, self.clip = option("lr"), option("clip")
        self.schedule, self.warmup, self.steps = option("schedule"), option("warmup"), train.steps
        self.scales = sorted({scale for _, _, scale in ordered})
        scale_of = [own_scale for _, _, own_scale in ordered]
        groups = [
            {"params": [p for p, s in zip(self.own, scale_of, strict=True) if s == scale], "lr": self.lr * scale}
            for scale in self.scales
        ]
        self.optimizer = make_optimizer(
            train.optimizer, groups, lr=self.lr, betas=option("betas"), weight_decay=option("weight_decay")
        )
        self.lr_now = self.lr
        self.skips = 0  # updates in a row that could not be made

    def set_lr(self, index: int) -> None:
        lr = self.lr * lr_factor(self.schedule, index, self.steps, self.warmup)
        if lr != self.lr_now:
            self.lr_now = lr
            for group, scale in zip(self.optimizer.param_groups, self.scales, strict=True):
                group["lr"] = lr * scale

    def gradients(self) -> list[Tensor]:
        """The gradients there are; of spread parameters, the rows here."""
        for parameter, own in zip(self.parameters, self.own, strict=True):
            if own is not parameter:
                own.grad = None if parameter.grad is None else part(parameter.grad)
        return [p.grad for p in self.own if p.grad is not None]

    def norm(self, distributed: Any) -> Tensor:
        """Of the gradients that `gradients` returned, over all processes, ()."""
        kinds: tuple[list[Tensor], list[Tensor]] = ([], [])
        for parameter, own in zip(self.parameters, self.own, strict=True):
            if own.grad is not None:
                kinds[own is not parameter].append(own.grad)
        return gradient_norm(*kinds, distributed) if any(kinds) else torch.zeros((), device=distributed.device)

    def clip_gradients(self, gradients: list[Tensor], norm: Tensor) -> None:
        """Scale gradients so that their norm is at most `clip`."""
        if self.clip is not None:
            scale: Tensor = (self.clip / (norm + 1e-6)).clamp(max=1.0)
            torch._foreach_mul_(gradients, scale)

    def clear_gradients(self) -> None:
        for parameter, own in zip(self.parameters, self.own, strict=True):
            parameter.grad = own.grad = None

    def state_dict(self) -> dict[str, Tensor]:
        """Optimizer state by parameter name: '<role>/<parameter>:<key>'; spread where the parameter is."""
        state = {}
        for name, parameter, own in zip(self.names, self.parameters, self.own, strict=True):
            for key, value in self.optimizer.state.get(own, {}).items():
                if value is not None:
                    value = value if isinstance(value, Tensor) else torch.tensor(value)
                    state[f"{name}:{key}"] = spread(value, parameter) if value.ndim else value
        return state

    def load_state_dict(self, state: Mapping[str, Tensor], file: str) -> None:
        by_name: dict[str, dict[str, Tensor]] = {}
        for full, value in state.items():
            name, _, key = full.rpartition(":")
            by_name.setdefault(name, {})[key] = value
        if set(by_name) - set(self.names):
            stranger = min(set(by_name) - set(self.names))
            raise CheckpointError(f"{file} holds the state of '{stranger}', which phase '{self.name}' does not train")
        current = self.optimizer.state_dict()
        current["state"] = {index: by_name[name] for index, name in enumerate(self.names) if name in by_name}
        for name, parameter in zip(self.names, self.parameters, strict=True):
            for key, value in by_name.get(name, {}).items():
                if value.ndim and value.shape != parameter.shape:
                    raise CheckpointError(
                        f"{file}: '{name}:{key}' has shape {tuple(value.shape)}, the parameter {tuple(parameter.shape)}"
                    )
                by_name[name][key] = rows_for(value, parameter) if value.ndim else value
        self.optimizer.load_state_dict(current)
