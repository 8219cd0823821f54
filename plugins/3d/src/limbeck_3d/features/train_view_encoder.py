"""`python -m limbeck_3d.features.train_view_encoder`: trains the classifier of `view_accuracy` on renders of
`3d/solids`.

Needs pip install 'limbeck-3d[meshes]'. Deterministic by seed (at equal thread count); some five minutes on one core.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from limbeck.export import teacher_files
from limbeck.randomness import Rng
from limbeck_3d.data.solids import Solids
from limbeck_3d.features.view_encoder import HEADS, ViewClassifier, targets


def degrade(images: Tensor, rng: Rng) -> Tensor:
    """Half of the images blurred by one of two strengths, all with a little noise, shifted by up to a pixel."""
    rows = len(images)
    strength = rng.integers("blur", 4, (rows,))[:, None, None, None]
    once = functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    twice = functional.avg_pool2d(functional.pad(once, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    out = torch.where(strength == 2, once, torch.where(strength == 3, twice, images))
    level = 0.1 * rng.uniform("level", (rows, 1, 1, 1))
    move = rng.integers("move", 3, (2,)) - 1
    return torch.roll(out, move.tolist(), dims=(2, 3)) + level * rng.normal("grain", images.shape)


def train(seed: int = 0, steps: int = 4000, batch_size: int = 128, lr: float = 2e-3) -> tuple[ViewClassifier, dict]:
    """The classifier and the accuracy of every head on the held-out renders."""
    data = Solids(meshes=True)
    Rng(seed).seed_globally()
    network = ViewClassifier()
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        rng = Rng(seed, step, "view_classifier")
        batch = data.batch(rng.integers("rows", len(data), (batch_size,)))
        target = targets(batch.cond["text"])
        assert batch.x0 is not None
        logits = network(degrade(batch.x0, rng))
        terms = [functional.cross_entropy(logits[name], target[name], ignore_index=-1) for name in HEADS]
        loss = torch.stack(terms).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 500 == 0:
            print(f"step {step}: loss {loss.item():.3f}", flush=True)
    network.eval().requires_grad_(False)
    held_out = data.split("held_out")
    batch = held_out.batch(torch.arange(len(held_out)))
    logits, target = network(batch.x0), targets(batch.cond["text"])
    return network, {
        name: round((logits[name].argmax(dim=1) == target[name]).double().mean().item(), 4) for name in HEADS
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=Path("view_classifier.safetensors"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=4000)
    chosen = parser.parse_args(arguments)
    network, accuracy = train(chosen.seed, chosen.steps)
    state = {name: tensor.half() for name, tensor in network.state_dict().items()}
    teacher_files.write(
        chosen.out,
        state,
        provenance={
            "made_by": f"python -m limbeck_3d.features.train_view_encoder --seed {chosen.seed} --steps {chosen.steps}",
            "data": Solids(meshes=True).licence,
            "licence": "Apache-2.0",
            "seed": chosen.seed,
            "evaluation": [{"name": "real data, held out", "metrics": accuracy}],
        },
    )
    print(f"held-out accuracy {accuracy}, written to {chosen.out}")


if __name__ == "__main__":
    main()
