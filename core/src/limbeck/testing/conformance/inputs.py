"""What models under test are called with, and how their outputs are compared. Letters: B batch."""

from typing import Any

import torch
from torch import Tensor, nn

import limbeck
from limbeck.conditions import Conditions
from limbeck.interfaces import Prediction, Teacher
from limbeck.process.categorical import CategoricalProcess
from limbeck.testing.conformance.report import Case, Skip

ROWS = 4


def made(case: Case) -> Any:
    """A fresh object, in evaluation mode: dropout would make every comparison random."""
    return case.make().eval()


def predictor(case: Case) -> Any:
    if not isinstance(model := made(case), Teacher):
        raise Skip("not a predictor: it has no forward(xt, t, cond) to check")
    if model.process is None:
        raise Skip("not a predictor: it lives on no process (an autoregressive model)")
    return model


def gaussian(case: Case) -> Any:
    case.needs("gaussian")
    return predictor(case)


def states(model: Any, case: Case, rows: int = ROWS, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Any]:
    """xt, t, cond in the middle of the process: (B, *event), (B,), conditions or None."""
    rng, process = limbeck.rng(0, 0, "conformance"), model.process
    cond = case.conditions(rows)
    if isinstance(process, CategoricalProcess):
        t = torch.linspace(0.3, 0.9, rows)
        x0 = rng.integers("x0", min(process.vocab, process.states), (rows, *model.space.event))
        return process.add_noise(x0, process.noise(tuple(x0.shape), rng), t), t, cond
    t = torch.linspace(0.2, 0.9, rows, dtype=torch.float64) * process.t_max
    x0, eps = (rng.normal(name, (rows, *model.space.event), torch.float64) for name in ("x0", "eps"))
    return process.add_noise(0.5 * x0, eps, t).to(dtype), t.to(torch.promote_types(dtype, torch.float32)), cond


def predicted(prediction: Prediction) -> Tensor:
    """x0_hat or logits, whichever the process has."""
    value = prediction.x0_hat if prediction.x0_hat is not None else prediction.logits
    assert value is not None, "the prediction holds neither x0_hat nor logits"
    return value


def nudge(module: nn.Module, size: float, tag: str = "") -> None:
    """Move every parameter a little, the same way every time."""
    with torch.no_grad():
        for name, p in module.named_parameters():
            z = limbeck.rng(0, 0, f"nudge/{tag}").normal(name, (p.numel(),))
            p.add_(size * z.reshape(p.shape).to(p))


def pick(cond: Any, rows: slice) -> Any:
    return cond[rows] if cond is not None else None


def close(got: Tensor, expected: Tensor, what: str, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    assert got.shape == expected.shape, f"{what}: shape {tuple(got.shape)}, expected {tuple(expected.shape)}"
    torch.testing.assert_close(got, expected, rtol=rtol, atol=atol, msg=lambda text: f"{what}: {text}")


def cast(cond: Any, dtype: torch.dtype) -> Any:
    if isinstance(cond, Conditions):
        return Conditions({name: cast(tensor, dtype) for name, tensor in cond.items()})
    return cond.to(dtype) if isinstance(cond, Tensor) and cond.is_floating_point() else cond
