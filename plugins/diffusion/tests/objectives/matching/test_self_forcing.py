"""Self forcing against closed forms, against dmd2 where the two are one, and through the engine."""

import json

import pytest
import torch

import limbeck
from limbeck.engine import tensor_file
from limbeck.interfaces import Batch, Phase, Space
from limbeck.networks.denoiser import Denoiser
from limbeck.plugins.registry import resolve
from limbeck.process.gaussian import EDM, RectifiedFlow
from limbeck.randomness import Rng
from limbeck.testing import (
    AR1,
    CausalNetwork,
    CausalToy,
    FixedDraws,
    GaussianPredictor,
    GaussianTeacher,
    TinyNetwork,
    ar1_covariance,
    gauss_hermite_batch,
)

DMD2, SelfForcing = (resolve("objective", name) for name in ("dmd2", "self_forcing"))

FLOW = RectifiedFlow()
GENERATOR, CRITIC = Phase("generator", ("generator",)), Phase("critic", ("critic",), 0, 5)


def sequence(frames, correlation=0.8, std=1.0):
    covariance = ar1_covariance(torch.arange(frames), correlation, std)
    return GaussianTeacher(FLOW, torch.zeros(frames, 1), covariance=covariance, space=Space((frames, 1)))


def law_of(toy, frames):
    """Covariance of a CausalToy's one-step rollout with window 1: x_0 = first z_0, x_k = gain z_k + carry x_{k-1}."""
    first, gain, carry = (p.item() for p in (toy.first, toy.gain, toy.carry))
    rows = [torch.eye(frames, dtype=torch.float64)[0] * first]
    for k in range(1, frames):
        rows.append(carry * rows[-1] + gain * torch.eye(frames, dtype=torch.float64)[k])
    return torch.stack(rows)  # (F, F), lower triangular: x = A z


def game(clip, first=0.7, gain=0.9, carry=0.3, window=1, teacher=None, *, rollout=(), field=(), critic=(), **options):
    teacher = teacher or sequence(clip)
    toy = CausalToy(FLOW, (clip, 1), first=first, gain=gain, carry=carry, window=window)
    rollout, field, critic = (
        {"steps": 1, **dict(rollout)},
        {"normalise": None, **dict(field)},
        {"updates": 1, **dict(critic)},
    )
    objective = SelfForcing(rollout=rollout, field=field, critic=critic, **options)
    objective.setup(toy, teacher)
    if window == 1 and isinstance(objective.roles()["critic"].predictor, GaussianPredictor):
        objective.roles()["critic"].predictor.factor.data.copy_(law_of(toy, clip))
    return objective, toy, teacher


def at_one_time(frames, t, nodes=4):
    """All draws of a generator turn as a weighted quadrature batch: noise and eps, (N, F, 1)."""
    z, weight = gauss_hermite_batch(nodes, 2 * frames)
    noise, eps = z[:, :frames, None], z[:, frames:, None]
    return FixedDraws({"eps": eps, "t": torch.full((len(z),), t, dtype=torch.float64)}), Batch(
        noise=noise, weight=weight
    )


def gradients(objective, toy, batch, rng):
    objective.focus(GENERATOR)
    objective.zero_grad()
    objective.loss(GENERATOR, batch, rng).backward()
    return {name: p.grad.item() for name, p in toy.named_parameters()}


# --- the gradient ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("t", [0.3, 0.7])
def test_the_expected_gradient_is_that_of_the_closed_form_with_the_context_detached(t):
    # field = dK x_t, dK = K_q - K_p, K = alpha Sigma (alpha^2 Sigma + sigma^2)^-1. Through the exit call alone x_0
    # moves with first (by z_0), x_k with gain (by z_k) and carry (by x_{k-1}): E[field x^T] = alpha dK Sigma_q
    frames = 3
    objective, toy, teacher = game(frames, times={"range": (0.0, 1.0)})
    got = gradients(objective, toy, *reversed(at_one_time(frames, t)))
    a = law_of(toy, frames)
    alpha, sigma = 1 - t, t

    def gain_of(covariance):
        return alpha * covariance @ torch.linalg.inv(alpha**2 * covariance + sigma**2 * torch.eye(frames))

    delta = gain_of(a @ a.T) - gain_of(teacher.covariance)
    with_z, with_x = alpha * delta @ a, alpha * delta @ a @ a.T  # E[field z^T], E[field x^T]
    expected = {
        "first": with_z[0, 0],
        "gain": with_z[1, 1] + with_z[2, 2],
        "carry": with_x[1, 0] + with_x[2, 1],
    }
    assert min(abs(float(v)) for v in expected.values()) > 1e-3
    assert got == pytest.approx({k: float(v) / frames for k, v in expected.items()}, abs=1e-9)


def test_at_the_teachers_own_law_the_gradient_is_zero_sample_by_sample():
    rho = 0.8
    exact = {"first": 1.0, "gain": (1 - rho**2) ** 0.5, "carry": rho}
    rng = Rng(0)
    batch = Batch(noise=rng.normal("noise", (5, 4, 1), torch.float64))
    objective, toy, _ = game(4, **exact)
    assert all(abs(g) < 1e-12 for g in gradients(objective, toy, batch, rng).values())
    objective, toy, _ = game(4, **{**exact, "carry": 0.6})
    assert abs(gradients(objective, toy, batch, rng)["carry"]) > 1e-3


@pytest.mark.parametrize("normalise", [None, "sample", "frame"])
def test_one_call_of_one_chunk_is_dmd2(normalise):
    teacher = sequence(4)
    batch = Batch(noise=Rng(0).normal("noise", (6, 4, 1), torch.float64))
    found = []
    for cls in (SelfForcing, DMD2):
        toy = CausalToy(FLOW, (4, 1), first=0.7, chunk=4)
        objective = cls(rollout={"steps": 1}, field={"normalise": normalise})
        objective.setup(toy, teacher)
        objective.roles()["critic"].predictor.factor.data.mul_(1.2)
        rng = Rng(0, 3, GENERATOR)
        objective.focus(GENERATOR)
        loss = objective.loss(GENERATOR, batch, rng)
        loss.backward()
        found.append((loss.value.item(), toy.first.grad.item(), objective.loss(CRITIC, batch, rng).value.item()))
    assert found[0] == found[1] and abs(found[0][1]) > 1e-3


def test_a_normaliser_per_frame_weighs_frames_by_themselves():
    # frame 0 is a hundred times as far from the teacher as frame 1: over the clip, frame 1 hardly moves
    teacher = GaussianTeacher(FLOW, torch.zeros(2, 1), torch.ones(2, 1))
    noise = torch.tensor([[[100.0], [1.0]]], dtype=torch.float64)
    fields = {}
    for by in ("sample", "frame"):
        toy = CausalToy(FLOW, (2, 1), first=1.0, gain=1.0)
        objective = SelfForcing(rollout={"steps": 1}, field={"normalise": by})
        objective.setup(toy, teacher)
        objective.roles()["critic"].predictor.factor.data.mul_(1.5)
        draws = FixedDraws({"eps": 0 * noise, "t": torch.tensor([0.5], dtype=torch.float64)})
        sample = objective.student_sample(GENERATOR, Batch(noise=noise), draws, "last")
        objective.focus(GENERATOR)
        loss = objective.loss(GENERATOR, Batch(noise=noise), draws).value
        (field,) = torch.autograd.grad(loss, toy.gain)
        fields[by] = field.item()
        assert sample.value.flatten().tolist() == [100.0, 1.0]
    # x0 = 1, x_t = 0.5: teacher 0.5, fake a^2 s^2 x / ... ; the frame's own distance is 1 - 0.5 instead of 25.25
    assert fields["frame"] == pytest.approx(fields["sample"] * 0.5 * (100 * 0.5 + 0.5) / 0.5, rel=1e-5)


# --- the rollout -----------------------------------------------------------------------------------------------------


def test_frames_before_the_tail_do_not_learn():
    batch = Batch(noise=Rng(0).normal("noise", (5, 4, 1), torch.float64))
    objective, toy, _ = game(4, rollout={"tail": 2})
    objective.focus(GENERATOR)
    objective.loss(GENERATOR, batch, Rng(0)).backward()
    assert toy.first.grad is None and abs(toy.carry.grad.item()) > 1e-4  # only frame 0 knows `first`


def test_longer_rollouts_are_judged_by_their_last_frames():
    objective, toy, _ = game(3, rollout={"frames": 7, "window": 2})
    lengths = []
    for step in range(64):
        rng = Rng(0, step, GENERATOR)
        batch = Batch(noise=rng.normal("noise", (2, 3, 1), torch.float64))
        sample = objective.student_sample(GENERATOR, batch, rng, "last")
        assert sample.value.shape == (2, 3, 1)
        length = 3 + max(0, rng.shared_integer("length", 8) - 3)
        lengths.append(length)
        (first,) = torch.autograd.grad(sample.at.sum(), toy.first, allow_unused=True)
        assert (first is None) == (length > 3)  # frame 0 is in the judged clip only when nothing follows
    assert set(lengths) == {3, 4, 5, 6, 7}
    assert 24 <= lengths.count(3) <= 40, (
        "half of the rollouts have the clip's own length: only they train its beginning"
    )


def test_all_chunks_and_parts_of_a_batch_leave_at_the_same_call():
    teacher = sequence(4)
    torch.manual_seed(0)
    network = Denoiser(CausalNetwork((4, 1), width=16, chunk=2), FLOW, Space((4, 1)))
    calls = []
    network.network.register_forward_pre_hook(
        lambda m, args, kwargs: calls.append((kwargs["write"], float(args[1][0]), torch.is_grad_enabled())),
        with_kwargs=True,
    )
    objective = SelfForcing(rollout={"steps": 4, "shift": 5.0})
    objective.setup(network, teacher)
    assert objective.rollout.plan.times == pytest.approx((1.0, 0.9375, 0.8333333, 0.625))
    exits = set()
    for step in range(12):
        for part in (0, 1):
            calls.clear()
            rng = Rng(0, step, GENERATOR, part=part, parts=2)
            objective.student_sample(GENERATOR, Batch(noise=rng.normal("noise", (2, 4, 1))), rng, "last")
            n = rng.shared_integer("exit", 4) + 1
            times = objective.rollout.plan.times[:n]
            one = [(False, pytest.approx(t), k == n - 1) for k, t in enumerate(times)]
            assert calls == [*one, (True, 0.0, False), *one]
        exits.add(n)
    assert exits == {1, 2, 3, 4}


def test_the_critic_and_the_teacher_see_the_whole_clip_at_one_time():
    objective, toy, teacher = game(4)
    seen = []
    for module in (teacher, objective.roles()["critic"].predictor):
        module.register_forward_pre_hook(lambda m, args: seen.append((args[0].shape, args[1].shape)))
    rng = Rng(0, 0, GENERATOR)
    batch = Batch(noise=rng.normal("noise", (5, 4, 1), torch.float64))
    objective.loss(GENERATOR, batch, rng)
    objective.loss(CRITIC, batch, rng)
    assert seen == [((5, 4, 1), (5,))] * 3


def test_the_student_is_sampled_as_it_was_trained():
    objective = SelfForcing(rollout={"steps": 2, "window": 3, "sink": 1, "chunk": 1, "times": (1.0, 0.5)})
    assert objective.sampling() == {
        "use": "streaming", "steps": 2, "chunk": 1, "times": (1.0, 0.5), "window": 3, "sink": 1,
    }  # fmt: skip
    assert SelfForcing().sampling() == {"use": "streaming", "steps": 4}


# --- whole runs ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_student_learns_the_correlation_of_the_sequence():
    objective, toy, _ = game(4, first=0.6, gain=1.2, carry=0.0, field={"normalise": "sample"}, critic={"updates": 2})
    optimizers = {k: torch.optim.Adam(m.parameters(), lr=0.03) for k, m in objective.roles().items()}
    for step in range(250):
        for phase in objective.phases(step):
            objective.focus(phase)
            rng = Rng(0, step, phase)
            batch = Batch(noise=rng.normal("noise", (256, 4, 1), torch.float64))
            objective.loss(phase, batch, rng).backward()
            optimizers[phase.roles[0]].step()
            objective.zero_grad()
    found = [abs(p.item()) for p in (toy.first, toy.gain, toy.carry)]
    assert found == pytest.approx([1.0, 0.6, 0.8], abs=0.08)


def recipe(steps):
    torch.manual_seed(0)
    teacher = AR1(FLOW, (4, 2), correlation=0.8)
    network = CausalNetwork((4, 2), width=8, depth=1, chunk=2)
    return {
        "name": "clip",
        "teacher": teacher,
        "generator": {"use": Denoiser(network, FLOW, Space((4, 2))), "init": "random"},
        "objective": {
            "use": "self_forcing",
            "rollout": {"steps": 2, "window": 2, "frames": 8},
            "critic": {"updates": 2},
        },
        "train": {"steps": steps, "batch_size": 8, "lr": 1e-3, "ema": 0.9, "log_every": 1, "checkpoint": {"every": 2}},
        "evaluate": {"samples": 2, "grid": 2, "compare": False},
        "report": {"write": False},
    }


def test_an_interrupted_run_resumes_bitwise(tmp_path):
    def train(folder, steps, resume=False):
        limbeck.distill(recipe(steps), out=tmp_path / folder, progress=False, resume=resume)
        last = sorted((tmp_path / folder / "checkpoints").glob("*"))[-1]
        return {p.name: tensor_file.read(p) for p in sorted(last.glob("*.safetensors"))}

    whole = train("whole", 4)
    train("stopped", 2)
    resumed = train("stopped", 4, resume=True)
    assert whole.keys() == resumed.keys() and len(whole) >= 4
    for name, tensors in whole.items():
        for key, value in tensors.items():
            assert torch.equal(value, resumed[name][key]), f"{name}: {key}"
    lines = [json.loads(line) for line in (tmp_path / "stopped" / "metrics.jsonl").read_text().splitlines()]
    assert {line["step"] for line in lines if "loss" in line} == {1, 2, 3, 4}


def test_mistakes_are_named():
    teacher = sequence(4)

    def setup(generator=None, **options):
        SelfForcing(**options).setup(generator or CausalToy(FLOW, (4, 1)), teacher)

    with pytest.raises(ValueError, match="4 frames are no whole number of chunks of 3"):
        setup(rollout={"chunk": 3})
    with pytest.raises(ValueError, match="tail=1 is less than a chunk of 2 frames: nothing would learn"):
        setup(rollout={"chunk": 2, "tail": 1})
    with pytest.raises(ValueError, match="at least the clip's 4 frames and a whole number of chunks of 2; got 7"):
        setup(rollout={"chunk": 2, "frames": 7})
    with pytest.raises(TypeError, match="carries no cache"):
        setup(Denoiser(TinyNetwork((4, 1)), FLOW, Space((4, 1))))
    with pytest.raises(ValueError, match="times gives 2 calls, but steps is 4"):
        SelfForcing(rollout={"times": (1.0, 0.5)})
    with pytest.raises(ValueError, match="got both times and shift"):
        SelfForcing(rollout={"times": (1.0, 0.5), "steps": 2, "shift": 5})
    with pytest.raises(ValueError, match="positive and fall strictly"):
        SelfForcing(rollout={"times": (0.5, 1.0), "steps": 2})
    with pytest.raises(ValueError, match="window is null"):
        SelfForcing(rollout={"sink": 2})
    with pytest.raises(ValueError, match="times starts at 2, above t_max=1"):
        setup(rollout={"times": (2.0, 0.5), "steps": 2})
    edm = GaussianTeacher(EDM(), torch.zeros(4, 1), torch.ones(4, 1))
    with pytest.raises(ValueError, match="shift spaces the times of a rectified flow"):
        SelfForcing(rollout={"shift": 5.0}).setup(CausalToy(EDM(), (4, 1)), edm)
