"""One objective, every modality: the same Gaussian problem dressed as picture, sound, clip and vector gives the same
losses and gradients; and what is not about clips runs on clips, causal networks and a time per frame."""

import pytest
import torch

import limbeck
from limbeck.interfaces import Batch, Space
from limbeck.networks.denoiser import Denoiser
from limbeck.process.gaussian import EDM, RectifiedFlow
from limbeck.randomness import Rng
from limbeck.testing import AR1, CausalNetwork, GaussianGenerator, GaussianPredictor, GaussianTeacher, ar1_covariance
from limbeck_diffusion.objectives.trajectory.consistency import Consistency

EVENTS = {"vector": (4,), "image": (1, 2, 2), "audio": (1, 4), "clip": (4, 1, 1, 1)}
FLOW = RectifiedFlow()


def game(name, event, process=FLOW):
    """The objective on N(m, C) in 4 dimensions, reshaped to the event: losses by phase and gradients by parameter."""
    covariance = ar1_covariance(torch.arange(4), 0.7, 0.8)
    mean, start = torch.linspace(-1, 1, 4, dtype=torch.float64), torch.linspace(0.5, 0, 4, dtype=torch.float64)
    teacher = GaussianTeacher(process, mean.reshape(event), covariance=covariance, space=Space(event))
    factor = torch.eye(4, dtype=torch.float64) + 0.2 * torch.ones(4, 4, dtype=torch.float64).tril()
    moved = {
        "dmd2": lambda: GaussianGenerator(process, start.reshape(event), factor, space=Space(event)),
        "consistency": lambda: GaussianPredictor(
            process, start.reshape(event), factor, space=Space(event), predicts="flow_map"
        ),
    }
    student = moved.get(name, lambda: GaussianPredictor(process, start.reshape(event), factor, space=Space(event)))()
    objective = limbeck.create("objective", name)
    objective.setup(student, teacher)
    if name == "dmd2":  # a critic that is still the teacher would leave nothing to compare
        objective.roles()["critic"].predictor.factor.data.mul_(1.3)
    losses, gradients = [], {}
    for phase in objective.phases(0):
        objective.focus(phase)
        objective.zero_grad()
        rng = Rng(0, 0, phase)
        x0 = teacher.sample(6, Rng(1)).reshape(6, *event)
        noise = process.prior_std * rng.normal("noise", (6, 4), torch.float64).reshape(6, *event)
        loss = objective.loss(phase, Batch(x0=x0, noise=noise if name == "dmd2" else None), rng)
        loss.backward()
        losses.append(loss.value.item())
        for role in phase.roles:
            for key, p in objective.roles()[role].named_parameters():
                gradients[f"{phase.name}{phase.repeat}.{key}"] = p.grad.flatten().clone()
    return losses, gradients


@pytest.mark.parametrize("process", [FLOW, EDM()], ids=repr)
@pytest.mark.parametrize("name", ["dmd2", "consistency", "flow_matching", "denoising"])
def test_the_same_problem_has_the_same_losses_and_gradients_as_vector_picture_sound_and_clip(name, process):
    losses, gradients = game(name, EVENTS["vector"], process)
    assert all(abs(loss) > 1e-6 for loss in losses) and any(float(g.abs().max()) > 1e-6 for g in gradients.values())
    for event in (EVENTS["image"], EVENTS["audio"], EVENTS["clip"]):
        other_losses, other_gradients = game(name, event, process)
        assert other_losses == pytest.approx(losses, rel=1e-9)
        for key, gradient in gradients.items():
            torch.testing.assert_close(other_gradients[key], gradient, rtol=1e-8, atol=1e-11)


def causal(chunk=2):
    torch.manual_seed(0)
    return Denoiser(CausalNetwork((4, 2), width=16, classes=3, chunk=chunk), FLOW, Space((4, 2)), null=3)


@pytest.mark.parametrize(
    "name, options",
    [
        ("dmd2", {"rollout": {"steps": 2}}),
        (
            "dmd2",
            {"critic": {"init": "generator"}, "discriminator": {"weight": 0.1}, "field": {"normalise": "frame"}},
        ),
        ("consistency", {}),
        ("consistency", {"levels": "frame", "target": {"decay": 0.9}}),
        ("consistency", {"levels": "chunk", "mode": "training", "solver": "ddim"}),
        ("consistency", {"levels": "frame", "times": {"schedule": "ratio"}}),
        ("self_forcing", {"rollout": {"steps": 2}}),
        ("diffusion_forcing", {"clean_context": 0.5}),
        ("flow_matching", {}),
        ("ode_pairs", {}),
        ("sds", {}),
    ],
    ids=str,
)
def test_objectives_train_a_causal_network_on_clips(name, options):
    student = causal()
    objective = limbeck.create("objective", name, **options)
    objective.setup(student, AR1(FLOW, (4, 2), correlation=0.8).freeze())
    before = {k: v.clone() for k, v in student.state_dict().items()}
    optimizers = {k: torch.optim.SGD(m.parameters(), lr=1e-2) for k, m in objective.roles().items()}
    for step in range(2):
        for phase in objective.phases(step):
            objective.focus(phase)
            rng = Rng(0, step, phase)
            batch = Batch(
                x0=rng.normal("x0", (4, 4, 2)), noise=rng.normal("noise", (4, 4, 2)), cond=torch.tensor([0, 1, 2, 3])
            )
            loss = objective.loss(phase, batch, rng)
            assert bool(loss.value.isfinite())
            loss.backward()
            optimizers[phase.roles[0]].step()
            objective.zero_grad()
    assert any(not torch.equal(v, before[k]) for k, v in student.state_dict().items())


# --- consistency with a time per frame -------------------------------------------------------------------------------


def test_a_time_per_frame_with_equal_entries_is_a_time_per_clip():
    class Same(Rng):
        """The draw of t of the clip, for every frame."""

        def uniform(self, purpose, shape, dtype=torch.float32):
            return super().uniform(purpose, shape[:1], dtype).reshape(-1, *[1] * (len(shape) - 1)).expand(*shape)

    values = []
    for levels in ("clip", "frame", "chunk"):
        objective = Consistency(levels=levels)
        objective.setup(causal(), AR1(FLOW, (4, 2), correlation=0.8).freeze())
        phase = objective.phases(0)[0]
        x0 = Rng(0).normal("x0", (16, 4, 2))
        values.append(objective.loss(phase, Batch(x0=x0), Same(0, 0, phase)).value.item())
    assert values[1] == pytest.approx(values[0], rel=1e-4) and values[2] == pytest.approx(values[0], rel=1e-4)
    assert values[0] > 1e-3


def test_neighbours_of_frames_lie_on_the_grid_and_clean_frames_are_their_own_answer():
    objective = Consistency(levels="frame", times={"nodes": 3}, solver="euler")
    teacher = AR1(FLOW, (4, 1), correlation=0.8).freeze()
    objective.setup(Denoiser(CausalNetwork((4, 1), width=8), FLOW, Space((4, 1))), teacher)
    x0 = Rng(0).normal("x0", (64, 4, 1), torch.float64)
    xt, t, xs, s = objective.neighbours.states(Batch(x0=x0), Rng(0))
    assert t.shape == s.shape == (64, 4)
    assert set((3 * t).round().long().flatten().tolist()) == {1, 2, 3}
    torch.testing.assert_close(t - s, torch.full_like(t, 1 / 3))
    velocity = (xt - teacher(xt, t).x0_hat) / t[..., None]  # Euler's step, frame by frame
    torch.testing.assert_close(xs, xt - velocity / 3, rtol=1e-6, atol=1e-7)
    asked = []
    from limbeck_diffusion.formulas.consistency import consistency_pair

    _, end = consistency_pair(
        lambda x, time: x, lambda x, time: asked.append(time) or torch.zeros_like(x), xt, t, xs, s
    )
    assert torch.equal(asked[0], s)  # a frame at its own time, clean ones too: they are context
    assert torch.equal(end[s == 0], xs[s == 0]) and bool((end[s > 0] == 0).all()) and bool((s == 0).any())


def test_stored_pairs_start_a_causal_student_on_the_teachers_own_samples():
    # reflow's coupling: eps is the noise that became the sample, mixed at a level per frame
    objective = limbeck.create("objective", "diffusion_forcing", error="x0")
    student = AR1(FLOW, (4, 1), correlation=0.8, causal=True)
    objective.setup(student)
    phase = objective.phases(0)[0]
    noise, x0 = Rng(0).normal("a", (8, 4, 1)), Rng(0).normal("b", (8, 4, 1))
    rng = Rng(0, 0, phase)
    got = objective.loss(phase, Batch(x0=x0, noise=noise), rng).value.item()
    t = objective.times(x0, rng)
    expected = (student(FLOW.add_noise(x0, noise, t), t).x0_hat - x0).square().mean().item()
    assert got == pytest.approx(expected, rel=1e-5) and got > 0.01


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="inverse_step is of one step per sample, and levels: frame"):
        Consistency(levels="frame", weight="inverse_step")
    needs = Consistency(levels="chunk").options.needs()
    assert "frame_time" in needs.generator and "frame_time" in needs.teacher
    with pytest.raises(ValueError, match="4 frames are no whole number of chunks of 3"):
        Consistency(levels="chunk").setup(causal(chunk=3), AR1(FLOW, (4, 2), correlation=0.8).freeze())
