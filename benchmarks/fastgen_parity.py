"""DMD2 (rectified flow, no GAN) beside nvidia-modelopt's `modelopt.torch.fastgen` on the same weights and draws.

Equal loss and gradients, time per update and bytes that autograd saves. `python benchmarks/fastgen_parity.py`.
"""

import argparse
import copy
import json
import statistics
import time

import torch
from torch import Tensor, nn

from limbeck.interfaces import Batch, Phase, Space
from limbeck.networks.denoiser import Denoiser
from limbeck.process.gaussian import RectifiedFlow
from limbeck.testing import FixedDraws
from limbeck_diffusion.objectives.matching.score_difference import ScoreDifference

GENERATOR, CRITIC = Phase("generator", ("generator",)), Phase("critic", ("critic",))


class Toy(nn.Module):
    """A residual perceptron on flattened events: `network(x, time, cond)` as `Denoiser` calls it."""

    def __init__(self, event: tuple[int, ...], width: int, depth: int = 3):
        super().__init__()
        size = torch.Size(event).numel()
        self.into = nn.Linear(size + 1, width)
        self.blocks = nn.ModuleList(nn.Sequential(nn.SiLU(), nn.Linear(width, width)) for _ in range(depth))
        self.out = nn.Linear(width, size)

    def forward(self, x: Tensor, time: Tensor, cond=None) -> Tensor:
        h = self.into(torch.cat([x.flatten(1), time[:, None]], 1))
        for block in self.blocks:
            h = h + block(h)
        return self.out(h).view_as(x)


def models(width: int, event=(1, 8, 8), dtype=torch.float32) -> list[Denoiser]:
    """Teacher, student and critic: one architecture, three different sets of weights."""
    torch.manual_seed(0)
    space = Space(event)
    return [Denoiser(Toy(event, width), RectifiedFlow(), space, sigma_data=0.5).to(dtype) for _ in range(3)]


def peer(teacher: Denoiser, student: Denoiser, critic: Denoiser, t: Tensor, critic_space: str = "flow"):
    """The peer's pipeline around the raw velocity networks, with our draw of t."""
    from modelopt.torch.fastgen import DMDConfig, DMDPipeline

    class Pipeline(DMDPipeline):
        def _call_model(self, model, hidden_states, timestep, encoder_hidden_states=None, **kwargs):
            scale = torch.sqrt((0.5 * (1 - timestep)) ** 2 + timestep**2).to(hidden_states)[:, None, None, None]
            return model(hidden_states / scale, timestep.to(hidden_states))

        def sample_timesteps(self, *args, **kwargs):
            return t

    config = DMDConfig(
        pred_type="flow",
        guidance_scale=None,
        fake_score_pred_type=critic_space,
        gan_loss_weight_gen=0.0,
        sample_t_cfg={"max_t": 1.0, "min_t": 0.0, "time_dist_type": "uniform"},
        ema=None,
    )
    return Pipeline(student.network, teacher.network, critic.network, config)


def objective(teacher: Denoiser, student: Denoiser, critic: Denoiser) -> ScoreDifference:
    ours = ScoreDifference(critic={"loss": "velocity"})
    ours.setup(student, teacher.freeze())
    ours.roles()["critic"].predictor.load_state_dict(critic.state_dict())
    return ours


def both_sides(width: int = 256, batch: int = 128, dtype=torch.float32):
    """(ours, theirs): for every phase a function that computes the loss and leaves gradients; same weights, same
    draws."""
    teacher, student, critic = models(width, dtype=dtype)
    shape = (batch, 1, 8, 8)
    torch.manual_seed(1)
    noise, u = torch.randn(shape, dtype=dtype), torch.rand(batch, dtype=dtype)
    t = 0.02 + 0.96 * u  # uniform on the default range of the objective
    torch.manual_seed(2)
    eps = torch.randn(shape, dtype=dtype)  # the peer draws it with the global generator: same seed, same numbers

    ours = objective(teacher, copy.deepcopy(student), critic)
    theirs = peer(copy.deepcopy(teacher), student, critic, t)
    rng = FixedDraws({"noise": noise, "t": u, "eps": eps})
    rows = Batch(noise=noise)
    theirs.student.train(), theirs.fake_score.train()

    def our_loss(phase: Phase):
        ours.focus(phase)
        ours.zero_grad()
        loss = ours.loss(phase, rows, rng)
        loss.backward()
        return loss.value.detach()

    def their_loss(phase: Phase):
        torch.manual_seed(2)
        network = theirs.student if phase is GENERATOR else theirs.fake_score
        theirs.student.requires_grad_(phase is GENERATOR)
        theirs.fake_score.requires_grad_(phase is CRITIC)
        network.zero_grad(set_to_none=True)
        compute = theirs.compute_student_loss if phase is GENERATOR else theirs.compute_fake_score_loss
        loss = compute(noise, noise)["total"]
        loss.backward()
        return loss.detach()

    roles = ours.roles()
    networks = {
        GENERATOR: (roles["generator"].network, theirs.student),
        CRITIC: (roles["critic"].predictor.network, theirs.fake_score),
    }
    return our_loss, their_loss, networks


def saved_bytes(run) -> int:
    """Bytes that autograd keeps for the backward pass, parameters not counted twice."""
    seen: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        seen[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        run()
    return sum(seen.values())


def measure(width: int, batch: int, pairs: int) -> dict:
    our_loss, their_loss, networks = both_sides(width, batch)
    rows = {}
    for phase in (GENERATOR, CRITIC):
        seconds: dict[str, list[float]] = {"limbeck": [], "modelopt": []}
        for k in range(pairs + 3):
            for name, run in (("limbeck", our_loss), ("modelopt", their_loss))[:: 1 if k % 2 else -1]:
                start = time.perf_counter()
                run(phase)
                if k >= 3:
                    seconds[name].append(time.perf_counter() - start)
        ratios = sorted(a / b for a, b in zip(seconds["limbeck"], seconds["modelopt"], strict=True))
        rows[phase.name] = {
            "limbeck_ms": 1e3 * statistics.median(seconds["limbeck"]),
            "modelopt_ms": 1e3 * statistics.median(seconds["modelopt"]),
            "ratio": statistics.median(ratios),
            "limbeck_saved_mib": saved_bytes(lambda p=phase: our_loss(p)) / 2**20,
            "modelopt_saved_mib": saved_bytes(lambda p=phase: their_loss(p)) / 2**20,
        }
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--pairs", type=int, default=60)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.width, arguments.batch, arguments.pairs), indent=2))
