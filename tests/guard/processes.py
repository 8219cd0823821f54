"""Processes: schedules, conversions between predictions, steps; exact distributions of categorical ones."""

from collections.abc import Mapping
from typing import Any

import torch
from problems import VOCAB
from values import digest

import limbeck

GAUSSIAN: Mapping[str, limbeck.GaussianProcess] = {
    "rectified flow": limbeck.RectifiedFlow(),
    "rectified flow, shifted": limbeck.RectifiedFlow(shift=3.0),
    "edm": limbeck.EDM(),
    "vp": limbeck.VP(),
    "vp_cosine": limbeck.VPCosine(),
    "trigflow": limbeck.TrigFlow(),
}
CATEGORICAL: Mapping[str, limbeck.CategoricalProcess] = {
    "masked": limbeck.MaskedProcess(VOCAB),
    "masked, cosine": limbeck.MaskedProcess(VOCAB, "cosine"),
    "masked, a token of its own": limbeck.MaskedProcess(VOCAB, mask_id=2),
    "uniform": limbeck.UniformProcess(VOCAB),
    "uniform, cosine": limbeck.UniformProcess(VOCAB, "cosine"),
}
NAMES = (*GAUSSIAN, *CATEGORICAL)
KINDS = ("x0", "eps", "v", "velocity", "score")
SHARES = (0.01, 0.2, 0.5, 0.8, 0.99)  # of t_max


def value(name: str) -> dict[str, Any]:
    return _gaussian(GAUSSIAN[name]) if name in GAUSSIAN else _categorical(CATEGORICAL[name])


def _gaussian(process: limbeck.GaussianProcess) -> dict[str, Any]:
    rng = limbeck.rng(6)
    t = process.t_max * torch.tensor(SHARES, dtype=torch.float64)
    s = 0.7 * t
    xt, value, eps = (rng.normal(name, (len(t), 3), torch.float64) for name in ("xt", "value", "eps"))
    found = {
        "coefficients": digest([*process.coefficients(t)]),
        "in float32": digest([*process.coefficients(t.float())]),
        "levels": digest([process.sigma_edm(t), process.log_snr(t), process.time(process.sigma_edm(t))]),
        "prior_std": float(process.prior_std).hex(),
        "add_noise": digest([process.add_noise(xt, eps, t)]),
        "noise_further": digest([process.noise_further(xt, s, t, eps)]),
        "ddim": digest([process.ddim(xt, t, s, value)]),
        "to edm": digest([*process.to(limbeck.EDM(), xt, t)]),
    }
    for given in KINDS:
        for wanted in KINDS:
            if given != wanted:
                found[f"{given} to {wanted}"] = digest([process.convert(value, given, wanted, xt, t)])
    return found


def _categorical(process: limbeck.CategoricalProcess) -> dict[str, Any]:
    rng = limbeck.rng(7)
    t = torch.tensor(SHARES, dtype=torch.float64)
    s = 0.6 * t
    x0 = rng.integers("x0", VOCAB, (len(t), 4))
    u, v = process.noise(tuple(x0.shape), rng), rng.uniform("step", tuple(x0.shape), torch.float64)
    p = rng.normal("p", (len(t), 4, VOCAB), torch.float64).softmax(-1)
    xt = process.add_noise(x0, u, t)
    found = {
        "alpha": digest([process.alpha(t), process.d_alpha(t), process.time(process.alpha(t))]),
        "add_noise": digest([xt]),
        "prior": digest([process.prior(), process.prior_sample((3, 4), rng)]),
        "marginal": digest([process.marginal(x0, t), process.likelihood(xt, t)]),
        "posterior": digest([process.posterior(xt, t, s, p)]),
        "step": digest([process.step(xt, t, s, p, v)]),
    }
    if isinstance(process, limbeck.MaskedProcess):
        found["bound"] = digest([process.nelbo_weight(t)])
    return found
