"""What the two training scripts of video features share: the loop, and the file that comes out."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.export import teacher_files
from limbeck.randomness import Rng
from limbeck_diffusion.data.digits import LICENCE


def fit(
    network: nn.Module, loss_of: Callable[[Rng], Mapping[str, Tensor]], phase: str, seed: int, steps: int, lr: float
) -> None:
    """Descend the sum of the terms of `loss_of`; then freeze the network. `phase` names the random draws."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        rng = Rng(seed, step, phase)
        rng.seed_globally()
        terms = loss_of(rng)
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
        schedule.step()
        if step % 500 == 0 or step == steps - 1:
            print(f"step {step}: " + ", ".join(f"{k} {v.item():.4f}" for k, v in terms.items()), flush=True)
    network.eval().requires_grad_(False)


def run(name: str, train: Callable[[int, int], tuple[nn.Module, dict[str, Any]]], arguments: list[str] | None) -> None:
    """The command line of `python -m limbeck_video.features.train_NAME`: trains and writes NAME.safetensors."""
    parser = argparse.ArgumentParser(prog=f"python -m limbeck_video.features.train_{name}")
    parser.add_argument("-o", "--out", type=Path, default=Path("."), help="folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=4000)
    chosen = parser.parse_args(arguments)
    network, scores = train(chosen.seed, chosen.steps)
    path = chosen.out / f"{name}.safetensors"
    teacher_files.write(
        path,
        {key: tensor.half() for key, tensor in network.state_dict().items()},
        provenance={
            "made_by": f"{parser.prog} --seed {chosen.seed} --steps {chosen.steps}",
            "data": LICENCE,
            "licence": "Apache-2.0",
            "seed": chosen.seed,
            "evaluation": [{"name": "real data, held out", "metrics": scores}],
        },
    )
    print(f"held out: {scores}, written to {path}")


__all__ = ["fit", "run"]
