"""Which scheduler of diffusers walks a few-step student exactly as our sampler does, and how it has to be set.

| process                   | our walk                         | scheduler                                             |
|---------------------------|----------------------------------|-------------------------------------------------------|
| rectified flow            | multistep, transition renoise    | FlowMatchEulerDiscrete with stochastic_sampling       |
| rectified flow            | multistep ddim; euler; ddim      | FlowMatchEulerDiscrete                                |
| VP, a table (eps, v, x0)  | multistep, transition renoise    | LCM                                                   |
| VP, a table               | multistep ddim; ddim             | DDIM, trailing                                        |
| cosine (Stable Audio)     | multistep renoise, 1 or 2 calls  | CosineDPMSolverMultistep from (nearly) infinite noise |

With the same noise each of them gives our samples. A scheduler makes its grid from the number of steps alone; here its
settings are chosen so that this grid is ours, and the grid that it makes is compared with ours before anything is
written. Grids that no setting gives are passed as `sigmas` or `timesteps` where the pipeline's call takes them.
"""

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from limbeck.errors import LimbeckError
from limbeck.interfaces import Sampler
from limbeck.process.gaussian import RectifiedFlow, VPCosine
from limbeck.sampling.rollouts import Plan
from limbeck_diffusion.pipelines.schedule import Schedule, VPTable
from limbeck_diffusion.samplers.gaussian import DDIM, Euler, GridSampler

PREDICTIONS = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}
INFINITE = 1e6  # noise level of the cosine path's first call, where ours is infinite


@dataclass(frozen=True)
class FewStep:
    """A scheduler, and what the pipeline's call is given about steps."""

    scheduler: Any
    arguments: Mapping[str, Any] = field(default_factory=dict)


def plan_of(sampler: Sampler, process: Any, steps: int) -> Plan:
    """The calls that a sampler makes. LimbeckError for one that schedulers of diffusers do not reproduce."""
    plan = getattr(sampler, "plan", None)
    if plan is not None:
        found: Plan = plan(process, steps)
        if found.transition in ("renoise", "ddim"):
            return found
    straight = isinstance(sampler, Euler) and isinstance(process, RectifiedFlow)
    if isinstance(sampler, GridSampler) and (isinstance(sampler, DDIM) or straight):
        return Plan(tuple(sampler.grid(process, steps)[:-1].tolist()), "ddim")
    raise LimbeckError(
        f"the student is sampled by {type(sampler).__name__.lower()}, and no scheduler of diffusers walks like that on "
        f"{type(process).__name__}. Sample with multistep or ddim (sampling: {{use: multistep, steps: {steps}}})"
    )


def few_step(schedule: Schedule, own: Any, plan: Plan, call: Mapping[str, Any], *, own_sigmas: bool = False) -> FewStep:
    """The scheduler for a plan.

    Args:
        own: the scheduler that the teacher's pipeline came with: its table of noise levels is kept.
        call: parameters of the pipeline's call; what it takes of `sigmas` and `timesteps` may be used.
        own_sigmas: of the family.

    Raises:
        LimbeckError: no scheduler gives this plan.
    """
    process = schedule.process
    if abs(plan.times[0] - process.t_max) > 1e-6:
        raise LimbeckError(
            f"the student's first call is at t = {plan.times[0]:g}, but pipelines start from pure noise, t = "
            f"{process.t_max:g}. Let sampling.times start there"
        )
    if isinstance(process, RectifiedFlow):
        return _flow(schedule, plan, call, own_sigmas)
    if isinstance(process, VPTable):
        return _table(schedule, process, own, plan, call)
    if isinstance(process, VPCosine):
        return _cosine(own, plan)
    raise LimbeckError(f"no scheduler of diffusers is known for {process}")


# --- rectified flow --------------------------------------------------------------------------------------------------


def _flow(schedule: Schedule, plan: Plan, call: Mapping[str, Any], own_sigmas: bool) -> FewStep:
    from diffusers import FlowMatchEulerDiscreteScheduler

    renoises = plan.transition == "renoise" and plan.steps > 1

    def scheduler(**settings: Any) -> Any:
        return FlowMatchEulerDiscreteScheduler(
            num_train_timesteps=schedule.steps, stochastic_sampling=renoises, **settings
        )

    n = plan.steps
    given = torch.linspace(1.0, 1 / n, n, dtype=torch.float64).tolist() if own_sigmas else None
    shift = schedule.process.shift  # type: ignore[attr-defined]
    tried = [{"shift": shift}, _stretched(plan.times, schedule.steps)] if given is None else [{"shift": shift}]
    for settings in tried:
        made = scheduler(**settings)
        if _grid(made, plan.steps, sigmas=given, what="sigmas", wanted=plan.times):
            return FewStep(made, {"num_inference_steps": plan.steps})
    if "sigmas" in call:
        made, sigmas = scheduler(shift=1.0), [round(t, 7) for t in plan.times]
        if _grid(made, None, sigmas=sigmas, what="sigmas", wanted=plan.times):
            return FewStep(made, {"num_inference_steps": plan.steps, "sigmas": sigmas})
    raise LimbeckError(
        f"no setting of FlowMatchEulerDiscreteScheduler calls at t = {_numbers(plan.times)}, and this pipeline's call "
        "takes no sigmas. Leave sampling.times out: equally spaced times (with the process' shift) are always possible"
    )


def _stretched(times: Sequence[float], train_steps: int) -> dict[str, float]:
    r"""shift s and shift_terminal T with which the scheduler's own grid has these first, second and last times.

    Its grid is u_k = 1 - k a / (n - 1), a = 1 - sigma_min, then x / (x + s (1 - x)) of x = 1 - u, then a factor that
    makes the last 1 - T. With r = (1 - t_1) / (1 - t_{n-1}) and x_1 = a / (n - 1):
    s = a x_1 (1 - r) / (r a (1 - x_1) - x_1 (1 - a)); sigma_min depends on s, so this is iterated.
    """
    last = len(times) - 1
    shift = 1.0
    for _ in range(50 if last >= 2 else 0):
        sigma_min = shift / train_steps / (1 + (shift - 1) / train_steps)
        a = 1 - sigma_min
        x, ratio = a / last, (1 - times[1]) / (1 - times[last])
        below = ratio * a * (1 - x) - x * (1 - a)
        if below <= 0 or ratio >= 1:
            return {"shift": 1.0}
        shift = a * x * (1 - ratio) / below
    return {"shift": shift, "shift_terminal": times[last]} if last >= 1 else {"shift": 1.0}


# --- tables ----------------------------------------------------------------------------------------------------------


def _table(schedule: Schedule, process: VPTable, own: Any, plan: Plan, call: Mapping[str, Any]) -> FewStep:
    from diffusers import DDIMScheduler, LCMScheduler

    kind: Any = LCMScheduler if plan.transition == "renoise" else DDIMScheduler
    settings: dict[str, Any] = {
        "prediction_type": PREDICTIONS[schedule.kind], "set_alpha_to_one": True, "clip_sample": False,
        "thresholding": False,
    }  # fmt: skip
    if kind is LCMScheduler:
        # the boundary's c_skip x + c_out x0_hat is x0_hat then, at every timestep
        settings |= {"original_inference_steps": plan.steps, "timestep_scaling": 1e4}
    else:
        settings |= {"timestep_spacing": "trailing"}
    made = _configured(kind, own, settings)
    if not torch.allclose(made.alphas_cumprod.double(), own.alphas_cumprod.double(), rtol=1e-5, atol=1e-7):
        raise LimbeckError(
            f"{kind.__name__} does not have the noise levels of the pipeline's {type(own).__name__}; save the pipeline "
            "with a scheduler whose betas stand in its configuration"
        )
    wanted = [float(schedule.timestep(torch.tensor(t, dtype=torch.float64))) for t in plan.times]
    whole = [round(step) for step in wanted]
    if max(abs(a - b) for a, b in zip(wanted, whole, strict=True)) > 1e-3:
        near = [round(float(schedule.time(torch.tensor(float(step), dtype=torch.float64))), 6) for step in whole]
        raise LimbeckError(
            f"the student is called at timesteps {_numbers(wanted)}, and {kind.__name__} knows whole ones only. Use 1, "
            f"2, 4, 5, 8 or 10 steps, or sampling.times: {near}"
        )
    if _grid(made, plan.steps, what="timesteps", wanted=whole):
        return FewStep(made, {"num_inference_steps": plan.steps})
    if "timesteps" in call and kind is LCMScheduler:
        made = _configured(kind, own, settings | {"original_inference_steps": schedule.steps})
        if _grid(made, None, timesteps=whole, what="timesteps", wanted=whole):
            return FewStep(made, {"timesteps": whole})
    raise LimbeckError(
        f"{kind.__name__} cannot be set to the timesteps {_numbers(whole)}"
        + ("" if "timesteps" in call else ", and this pipeline's call takes none")
        + ". Leave sampling.times out and use 1, 2, 4, 5, 8 or 10 steps"
    )


def _configured(kind: Any, own: Any, settings: Mapping[str, Any]) -> Any:
    """A scheduler with the betas of the pipeline's own."""
    keys = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr")
    kept = {key: own.config[key] for key in keys if own.config.get(key) is not None}
    return kind(**{**kept, **settings})


# --- cosine ----------------------------------------------------------------------------------------------------------


def _cosine(own: Any, plan: Plan) -> FewStep:
    """x_s of its first-order step is (sigma_s / sigma_t)^2 x_t + (1 - ...) x0_hat + noise: from infinite noise that is
    renoising, and to sigma_s = 0 it is x0_hat. In between it is neither, so two calls are the most."""
    if plan.steps > 2 or (plan.steps == 2 and plan.transition != "renoise"):
        raise LimbeckError(
            f"CosineDPMSolverMultistepScheduler reproduces students of one call, or of two with transition renoise; "
            f"this one has {plan.steps} with {plan.transition}. Export the weights: --to safetensors"
        )
    level = math.tan(0.5 * math.pi * plan.times[-1]) if plan.steps == 2 else 1.0
    # karras: from sigma_max to sigma_min whatever the exponent, and sigma_max alone where there is one step
    settings = {"sigma_min": level, "sigma_max": INFINITE, "sigma_schedule": "karras", "solver_order": 1}
    return FewStep(type(own).from_config(own.config, **settings), {"num_inference_steps": plan.steps})


# --- comparing -------------------------------------------------------------------------------------------------------


def _grid(scheduler: Any, steps: int | None, *, what: str, wanted: Sequence[float], **given: Any) -> bool:
    """Whether the scheduler, given so much, calls where we do."""
    given = {name: value for name, value in given.items() if value is not None}
    arguments = given if given else {"num_inference_steps": steps}
    if "num_inference_steps" not in inspect.signature(scheduler.set_timesteps).parameters:
        return False
    try:
        scheduler.set_timesteps(**arguments)
    except (ValueError, ZeroDivisionError):
        return False
    found = getattr(scheduler, what).double()[: len(wanted)]
    return len(found) == len(wanted) and bool((found - torch.tensor(wanted).double()).abs().max() < 2e-6)


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


__all__ = ["FewStep", "few_step", "plan_of"]
