"""`python -m limbeck_image.features.train_convnet`: trains the classifier that the metrics use, on the training scans
alone.

Deterministic by seed (at equal thread count); about a minute on two cores.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from limbeck.evaluation.frechet import whitening
from limbeck.export import teacher_files
from limbeck.randomness import Rng
from limbeck_diffusion.augment import affine
from limbeck_diffusion.data.digits import LICENCE
from limbeck_image.data.digits import scans
from limbeck_image.features.convnet import Classifier


def augment(images: Tensor, rng: Rng) -> Tensor:
    """Small random affine maps: rotation and shear to 8 degrees, scale to 8 %, shift to 0.6 pixels. (B, 1, 8, 8)."""
    draw = 2 * rng.uniform("affine", (len(images), 5)) - 1
    return affine(images, draw, shift=0.6, background=-1.0)


def train(seed: int = 0, epochs: int = 120, batch_size: int = 128, lr: float = 2e-3) -> tuple[Classifier, float]:
    """The classifier and its accuracy on the held-out scans."""
    images, labels = scans()["train"]
    Rng(seed).seed_globally()
    network = Classifier()
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=1e-2)
    steps = epochs * (len(images) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        rng = Rng(seed, step, "classifier")
        rng.seed_globally()
        rows = rng.integers("rows", len(images), (batch_size,))
        x0 = augment(images[rows], rng)
        raw = network.raw(x0)
        naming = functional.cross_entropy(network.to_logits(raw), labels[rows], label_smoothing=0.02)
        holding = functional.mse_loss(network.to_pixels(raw), x0.flatten(1))
        optimizer.zero_grad()
        (naming + holding).backward()
        optimizer.step()
        schedule.step()
    network.eval().requires_grad_(False)
    centre, matrix = whitening(network.raw(images))
    network.centre.copy_(centre)
    network.whiten.copy_(matrix)
    held_images, held_labels = scans()["held_out"]
    accuracy = (network(held_images).argmax(dim=1) == held_labels).double().mean().item()
    return network, accuracy


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=Path("digits_classifier.safetensors"))
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    network, accuracy = train(chosen.seed)
    teacher_files.write(
        chosen.out,
        network.state_dict(),
        provenance={
            "made_by": f"python -m limbeck_image.features.train_convnet --seed {chosen.seed}",
            "data": LICENCE,
            "licence": "Apache-2.0",
            "seed": chosen.seed,
            "evaluation": [{"name": "real data, held out", "metrics": {"accuracy": round(accuracy, 4)}}],
        },
    )
    print(f"held-out accuracy {accuracy:.4f}, written to {chosen.out}")


if __name__ == "__main__":
    main()
