"""Checks of teachers and of generators that are predictors. Letters: B batch; events are those of the space.

Every check's docstring is what a plugin author reads when it fails.
"""

import copy

import torch
from torch import Tensor, nn

import limbeck
from limbeck import conditions
from limbeck.interfaces import Prediction, Predictor, Space, Teacher
from limbeck.networks.guidance import Guided
from limbeck.process.categorical import CategoricalProcess
from limbeck.process.gaussian import GaussianProcess
from limbeck.randomness import Rng
from limbeck.sampling.rollouts import Plan, rollout
from limbeck.testing.conformance.inputs import (
    ROWS,
    cast,
    close,
    gaussian,
    made,
    nudge,
    pick,
    predicted,
    predictor,
    states,
)
from limbeck.testing.conformance.report import Case, Skip, check_for

# --- what it is ------------------------------------------------------------------------------------------------------


@check_for("teacher", "generator")
def declares_where_it_lives(case: Case) -> None:
    """`space` is a limbeck.Space; a predictor's `process` is of the sort of its abilities (gaussian, categorical)."""
    model = made(case)
    assert isinstance(model, nn.Module), f"got {type(model).__name__}, expected a torch.nn.Module"
    space = getattr(model, "space", None)
    assert isinstance(space, Space), "it has no `space`: set self.space = Space(event, domain)"
    assert all(isinstance(n, int) and n > 0 for n in space.event), f"space.event is {space.event}"
    if case.kind == "teacher" or "denoiser" in case.can:
        assert isinstance(model, Teacher), f"{type(model).__name__} is no Teacher or Predictor, but declares 'denoiser'"
    if "gaussian" in case.can:
        assert isinstance(model.process, GaussianProcess), f"declares 'gaussian', but its process is {model.process!r}"
    if "categorical" in case.can:
        assert isinstance(model.process, CategoricalProcess), (
            f"declares 'categorical', but its process is {model.process!r}"
        )
    if isinstance(model, Teacher) and model.process is not None:
        word = "gaussian" if isinstance(model.process, GaussianProcess) else "categorical"
        assert word in case.can, f"lives on {model.process!r} but does not declare {word!r}"
    if isinstance(model, Teacher) and model.process is None:
        assert "log_probs" in case.can, "it has no process, so it must declare what else it can: 'log_probs'"


@check_for("teacher", "generator")
def predicts_in_the_shape_and_precision_of_its_input(case: Case) -> None:
    """Gaussian: x0_hat has the shape and dtype of xt. Categorical: logits (B, L, V). All values are finite."""
    model = predictor(case)
    xt, t, cond = states(model, case)
    out = model(xt, t, cond)
    assert isinstance(out, Prediction), (
        f"forward returned {type(out).__name__}, expected limbeck.Prediction(x0_hat=...)"
    )
    value = predicted(out)
    if isinstance(model.process, GaussianProcess):
        assert value.shape == xt.shape, f"x0_hat has shape {tuple(value.shape)}, expected that of xt, {tuple(xt.shape)}"
        assert value.dtype == xt.dtype, f"x0_hat is {value.dtype}, xt is {xt.dtype}"
    else:
        expected = (*xt.shape, model.process.vocab)
        assert value.shape == expected, f"logits have shape {tuple(value.shape)}, expected {expected}"
        assert value.is_floating_point(), f"logits are {value.dtype}"
    assert bool(value.isfinite().all()), "the prediction is not finite"


@check_for("teacher", "generator")
def predicts_from_pure_noise(case: Case) -> None:
    """Every rollout starts at t_max, where alpha_t may be 0: the prediction must be finite there, and close to data
    too."""
    model = predictor(case)
    xt, t, cond = states(model, case)
    if isinstance(model.process, GaussianProcess):
        xt = model.process.prior_std * limbeck.rng(1).normal("noise", xt.shape)
    for where in (model.process.t_max, 1e-3 * model.process.t_max):
        value = predicted(model(xt, torch.full_like(t, where), cond))
        assert bool(value.isfinite().all()), f"not finite at t = {where:g}"


@check_for("teacher", "generator")
def same_input_same_prediction(case: Case) -> None:
    """In evaluation mode nothing is random, two objects from one make() agree, and the input is left as it was."""
    model = predictor(case)
    xt, t, cond = states(model, case)
    kept = xt.clone()
    with torch.no_grad():
        first, second = predicted(model(xt, t, cond)), predicted(model(xt, t, cond))
        other = predicted(predictor(case)(xt, t, cond))
    assert torch.equal(first, second), "two calls disagree"
    assert torch.equal(xt, kept), "forward changed its input in place"
    close(other, first, "two objects from make() disagree: seed its initialisation, or load its weights")


@check_for("teacher", "generator")
def rows_do_not_see_each_other(case: Case) -> None:
    """A row's prediction does not depend on the rest of the batch (no batch statistics in evaluation mode)."""
    model = predictor(case)
    xt, t, cond = states(model, case)
    with torch.no_grad():
        whole = predicted(model(xt, t, cond))
        parts = [predicted(model(xt[r], t[r], pick(cond, r))) for r in (slice(0, 1), slice(1, ROWS))]
    close(torch.cat(parts), whole, "a batch is predicted otherwise than its rows", rtol=1e-3, atol=1e-4)


@check_for("teacher", "generator")
def the_gradient_reaches_the_input(case: Case) -> None:
    """Distillation differentiates through a frozen teacher: no torch.no_grad or detach inside forward."""
    model = gaussian(case).freeze()
    xt, t, cond = states(model, case)
    xt.requires_grad_(True)
    predicted(model(xt, t, cond)).square().sum().backward()
    assert xt.grad is not None, "the prediction is cut off from xt"
    assert bool(xt.grad.isfinite().all()) and float(xt.grad.abs().sum()) > 0, (
        "the gradient with respect to xt is not usable"
    )


@check_for("teacher")
def freezing_leaves_nothing_to_learn(case: Case) -> None:
    """freeze() returns the teacher in evaluation mode with no parameter that requires a gradient."""
    model = made(case).freeze()
    assert isinstance(model, nn.Module), "freeze() must return the teacher"
    assert not any(p.requires_grad for p in model.parameters()), "some parameters still require a gradient"
    assert not any(m.training for m in model.modules()), "some modules are still in training mode"


# --- precision, devices, files ---------------------------------------------------------------------------------------


@check_for("teacher", "generator")
def computes_in_double_precision(case: Case) -> None:
    """model.double() works and agrees with single precision; use the dtype of xt, not torch.float32."""
    model = gaussian(case)
    xt, t, cond = states(model, case)
    with torch.no_grad():
        single = model(xt, t, cond).x0_hat
        double = model.double()(xt.double(), t.double(), cast(cond, torch.float64)).x0_hat
    assert double.dtype == torch.float64, f"the prediction for a float64 state is {double.dtype}"
    close(double.float(), single, "float64 and float32 disagree", rtol=1e-2, atol=1e-3)


@check_for("teacher", "generator")
def computes_in_bfloat16(case: Case) -> None:
    """model.to(bfloat16) predicts in bfloat16, within a tenth of single precision; times stay float32."""
    model = gaussian(case)
    xt, t, cond = states(model, case)
    with torch.no_grad():
        single = model(xt, t, cond).x0_hat
        half = model.to(torch.bfloat16)(xt.bfloat16(), t, cast(cond, torch.bfloat16)).x0_hat
    assert half.dtype == torch.bfloat16, f"the prediction for a bfloat16 state is {half.dtype}"
    error = float((half.float() - single).norm() / (single.norm() + 1e-6))
    assert error < 0.1, f"bfloat16 is off by {error:.2g} of the prediction's norm"


@check_for("teacher", "generator")
def moves_to_an_accelerator(case: Case) -> None:
    """model.to("cuda") computes there: register tensors as buffers, create new ones on the device of xt."""
    if not torch.cuda.is_available():
        raise Skip("no CUDA device here")
    model = predictor(case)
    xt, t, cond = states(model, case)
    with torch.no_grad():
        here = predicted(model(xt, t, cond))
        moved = conditions.to(cond, "cuda")
        there = predicted(model.cuda()(xt.cuda(), t.cuda(), moved))
    assert there.device.type == "cuda", f"the prediction is on {there.device}"
    close(there.cpu(), here, "the accelerator disagrees with the CPU", rtol=1e-2, atol=1e-2)


@check_for("teacher", "generator")
def weights_survive_a_safetensors_file(case: Case) -> None:
    """state_dict() -> safetensors -> load_state_dict(strict) gives the same predictions; only tensors, no pickle."""
    from safetensors.torch import load, save

    model = predictor(case)
    state = model.state_dict()
    if not state:
        raise Skip("it has no state to save")
    nudge(model, 0.01)
    content = save({name: value.detach().clone().contiguous() for name, value in model.state_dict().items()})
    fresh = predictor(case)
    fresh.load_state_dict(load(content))
    xt, t, cond = states(model, case)
    with torch.no_grad():
        assert torch.equal(predicted(fresh(xt, t, cond)), predicted(model(xt, t, cond))), (
            "the loaded weights predict something else"
        )


# --- abilities -------------------------------------------------------------------------------------------------------


@check_for("teacher", "generator")
def features_are_returned_on_request(case: Case) -> None:
    """ability `features`: features=(0, -1) returns two tensors with B rows and does not change the prediction."""
    case.needs("features")
    model = predictor(case)
    xt, t, cond = states(model, case)
    with torch.no_grad():
        plain, featured = model(xt, t, cond), model(xt, t, cond, features=(0, -1))
    assert plain.features == (), "features came without a request"
    assert len(featured.features) == 2, f"requested 2 features, got {len(featured.features)}"
    for hidden in featured.features:
        assert hidden.shape[0] == ROWS and hidden.ndim >= 2, (
            f"a feature has shape {tuple(hidden.shape)}; expected ({ROWS}, C, ...)"
        )
    close(predicted(featured), predicted(plain), "requesting features changed the prediction")


@check_for("teacher", "generator")
def the_null_condition_allows_guidance(case: Case) -> None:
    """ability `null_condition`: null(cond) has as many rows as cond, and Guided(teacher, 1) is the teacher."""
    case.needs("null_condition")
    model = predictor(case)
    xt, t, cond = states(model, case)
    if cond is None:
        raise Skip("no conditions were given to check with; define conditions(n)")
    null = model.null(cond)
    assert len(null) == len(cond), f"null(cond) has {len(null)} rows for {len(cond)} conditions"
    with torch.no_grad():
        conditional, unconditional = predicted(model(xt, t, cond)), predicted(model(xt, t, null))
        one, two = predicted(Guided(model, 1.0)(xt, t, cond)), predicted(Guided(model, 2.0)(xt, t, cond))
    if "categorical" in case.can:
        conditional, unconditional = conditional.log_softmax(-1), unconditional.log_softmax(-1)
    close(one, conditional, "guidance of scale 1 is not the conditional prediction", rtol=1e-3, atol=1e-4)
    close(two, 2 * conditional - unconditional, "guidance of scale 2 is off", rtol=1e-3, atol=1e-3)


@check_for("teacher", "generator")
def a_trainable_copy_learns_apart(case: Case) -> None:
    """ability `trainable_copy`: the copy's parameters learn, share no memory with the original, and live in its
    space."""
    case.needs("trainable_copy")
    model = predictor(case).freeze()
    copied = model.trainable_copy("full")
    assert isinstance(copied, Predictor), f"the copy is a {type(copied).__name__}, expected a limbeck.Predictor"
    assert copied.process == model.process and copied.space == model.space, "the copy lives elsewhere"
    learning = [p for p in copied.parameters() if p.requires_grad]
    assert learning, "no parameter of the copy requires a gradient"
    shared = {p.data_ptr() for p in model.parameters()} & {p.data_ptr() for p in learning}
    assert not shared, "the copy shares memory with the original: training it would change the teacher"
    xt, t, cond = states(model, case)
    predicted(copied(xt, t, cond)).float().square().sum().backward()
    assert any(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in learning), "no gradient reaches the copy"
    assert not any(p.requires_grad for p in model.parameters()), "copying unfroze the original"


@check_for("teacher", "generator")
def a_trainable_copy_starts_as_the_original(case: Case) -> None:
    """ability `trainable_copy`: before any update the copy predicts as the original does (a critic starts at the
    teacher)."""
    case.needs("trainable_copy")
    model = predictor(case)
    xt, t, cond = states(model, case)
    with torch.no_grad():
        copied = predicted(model.trainable_copy("full").eval()(xt, t, cond))
        close(copied, predicted(model(xt, t, cond)), "the copy starts elsewhere", rtol=1e-3, atol=1e-4)


@check_for("teacher", "generator")
def a_second_time_is_taken(case: Case) -> None:
    """abilities `flow_map`, `flow_map_time`: forward(..., s=s) predicts xs, which is xt itself at s = t."""
    if not case.can & {"flow_map", "flow_map_time"}:
        raise Skip("does not declare 'flow_map' or 'flow_map_time'")
    model = gaussian(case)
    xt, t, cond = states(model, case)
    with torch.no_grad():
        same, half = model(xt, t, cond, s=t).xs, model(xt, t, cond, s=t / 2).xs
    assert same is not None and half is not None, "xs is None although s was given"
    close(same, xt, "at s = t the flow map must be the identity", rtol=1e-3, atol=1e-4)
    assert half.shape == xt.shape and bool(half.isfinite().all())


@check_for("teacher", "generator")
def forward_mode_derivatives_exist(case: Case) -> None:
    """ability `forward_mode`: torch.func.jvp through forward agrees with a finite difference (float64)."""
    case.needs("forward_mode")
    model = gaussian(case).double()
    xt, t, cond = states(model, case, dtype=torch.float64)
    dx, dt = torch.ones_like(xt) / 3, torch.full_like(t, model.process.t_max)
    cond = cast(cond, torch.float64)

    def f(x: Tensor, time: Tensor) -> Tensor:
        return model(x, time, cond).x0_hat

    got = torch.func.jvp(f, (xt, t), (dx, dt))[1]
    h = 1e-6
    with torch.no_grad():
        expected = (f(xt + h * dx, t + h * dt) - f(xt - h * dx, t - h * dt)) / (2 * h)
    close(got, expected, "jvp and finite difference disagree", rtol=1e-4, atol=1e-6)


@check_for("teacher", "generator")
def the_codec_goes_both_ways(case: Case) -> None:
    """ability `codec`: decode gives what people see, and encode brings it back into the space of the model."""
    case.needs("codec")
    model = predictor(case)
    xt, _, _ = states(model, case)
    with torch.no_grad():
        seen = model.space.codec.decode(xt)
        back = model.space.codec.encode(seen)
    assert len(seen) == ROWS and bool(seen.isfinite().all())
    assert back.shape == xt.shape, f"encode(decode(x)) has shape {tuple(back.shape)}, expected {tuple(xt.shape)}"


# --- generators ------------------------------------------------------------------------------------------------------


@check_for("generator")
def its_parameters_learn(case: Case) -> None:
    """make() returns something trainable: a gradient reaches at least one parameter, and the report counts the
    others."""
    model = case.make()
    learning = [p for p in model.parameters() if p.requires_grad]
    assert learning, "no parameter requires a gradient"
    if not isinstance(model, Teacher) or model.process is None:
        raise Skip("not a predictor: its own checks call it")
    nudge(model, 0.05)  # a zero-initialised last layer, usual for denoisers, hides the gradient of all before it
    xt, t, cond = states(model, case)
    predicted(model(xt, t, cond)).float().square().sum().backward()
    without = sum(p.grad is None for p in learning)
    assert without == 0 or without < len(learning), "no gradient reaches any parameter"
    assert all(bool(p.grad.isfinite().all()) for p in learning if p.grad is not None), "some gradients are not finite"


@check_for("generator")
def samples_are_a_function_of_the_rng(case: Case) -> None:
    """ability `sampling`: a rollout gives finite samples, the same for the same seed, others for another, in any
    split."""
    case.needs("sampling")
    model = gaussian(case)
    plan = Plan.uniform(model.process, 2)

    def sample(rng: Rng, rows: slice) -> Tensor:
        cond = pick(case.conditions(ROWS), rows)
        count = rows.stop - rows.start
        return rollout(model, cond, plan=plan, rng=rng, batch_size=count, grad="none").value

    first, again, other = (sample(limbeck.rng(seed), slice(0, ROWS)) for seed in (0, 0, 1))
    assert first.shape == (ROWS, *model.space.event) and bool(first.isfinite().all())
    assert torch.equal(first, again), "the same seed gave two samples"
    assert not torch.equal(first, other), "the seed does not matter"
    half = ROWS // 2
    parts = [sample(Rng(0, part=k, parts=2), slice(k * half, (k + 1) * half)) for k in range(2)]
    close(torch.cat(parts), first, "two halves of a batch are not the batch", rtol=1e-3, atol=1e-3)


@check_for("generator")
def copies_are_independent(case: Case) -> None:
    """copy.deepcopy works (EMA, snapshots) and shares nothing with the original."""
    model = made(case)
    copied = copy.deepcopy(model)
    shared = {p.data_ptr() for p in model.parameters()} & {p.data_ptr() for p in copied.parameters()}
    assert not shared, "deepcopy shares parameters"
