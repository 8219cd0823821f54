"""`python -m limbeck_audio.features.train_mel_convnet`: trains the classifier that metrics of sound use.

It hears the training voices alone. Deterministic by seed (at equal thread count); some minutes on one core.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from limbeck.evaluation.frechet import whitening
from limbeck.export import teacher_files
from limbeck.interfaces import Data
from limbeck.randomness import Rng
from limbeck_audio.data.speech import LICENCE, SpokenDigits
from limbeck_audio.features.mel_convnet import Classifier, coarse


def augment(mels: Tensor, rng: Rng) -> Tensor:
    """What no voice of the training split does, but another might. (B, 1, M, F) in and out, silence at -1.

    Stretch by 12 % in time and 5 % along the mels (throats), shift by 6 frames and 1.5 mels, gain of 5 dB, tilt of 5 dB
    from the lowest mel to the highest, a strip of mels and one of frames silenced, noise up to 5 dB.
    """
    rows, _, high, wide = mels.shape
    draw = 2 * rng.uniform("affine", (rows, 6)) - 1
    zero = torch.zeros(rows)
    along = torch.stack([1 + 0.12 * draw[:, 0], zero, draw[:, 1] * 12 / wide], dim=1)
    across = torch.stack([zero, 1 + 0.05 * draw[:, 2], draw[:, 3] * 3 / high], dim=1)
    grid = functional.affine_grid(torch.stack([along, across], dim=1), list(mels.shape), align_corners=False)
    above = functional.grid_sample(mels + 1, grid, align_corners=False)  # silence is 0 here: zero padding is right
    tilt = draw[:, 4, None] * 0.15 + draw[:, 5, None] * 0.15 * torch.linspace(-0.5, 0.5, high)  # (B, M)
    above = (above + tilt[:, None, :, None]).clamp_min(0) * (above > 0)
    for axis, (start, span) in enumerate(rng.uniform("strips", (rows, 2, 2)).permute(1, 2, 0)):
        at = torch.arange(high if axis == 0 else wide)[None]  # (1, M) or (1, F)
        first = (start * at.shape[1])[:, None]
        hidden = (at >= first) & (at < first + 6 * span[:, None])
        above = above.masked_fill(hidden[:, None, :, None] if axis == 0 else hidden[:, None, None, :], 0.0)
    noise = 0.15 * rng.uniform("level", (rows,))[:, None, None, None] * rng.normal("noise", mels.shape)
    return (above - 1 + noise).clamp_min(-1.0)


def _rows(data: Data, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Log-mels (B, 1, 64, 64) and labels (B,)."""
    batch = data.batch(indices)
    assert batch.x0 is not None
    return batch.x0, batch.cond


def train(
    seed: int = 0,
    epochs: int = 25,
    batch_size: int = 64,
    lr: float = 2e-3,
    data: SpokenDigits | None = None,
    log: Callable[[str], None] = print,
) -> tuple[Classifier, float]:
    """The classifier and its accuracy on the held-out voices of `data` (spoken_digits as it is by default)."""
    data = data if data is not None else SpokenDigits()
    held_out = data.split("held_out")
    held_clips, held_labels = _rows(held_out, torch.arange(len(held_out)))
    Rng(seed).seed_globally()
    network = Classifier()
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=1e-2)
    per_epoch = len(data) // batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=epochs * per_epoch, pct_start=0.1)

    @torch.no_grad()
    def accuracy() -> float:
        network.eval()
        right = [
            (network(x).argmax(dim=1) == y) for x, y in zip(held_clips.split(360), held_labels.split(360), strict=True)
        ]
        network.train()
        return torch.cat(right).double().mean().item()

    for step in range(epochs * per_epoch):
        rng = Rng(seed, step, "classifier")
        rng.seed_globally()
        clips, labels = _rows(data, rng.integers("rows", len(data), (batch_size,)))
        x0 = augment(clips, rng)
        raw = network.raw(x0)
        naming = functional.cross_entropy(network.to_logits(raw), labels, label_smoothing=0.02)
        holding = functional.mse_loss(network.to_coarse(raw), coarse(x0))
        optimizer.zero_grad()
        (naming + 2 * holding).backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % (5 * per_epoch) == 0:
            log(f"epoch {(step + 1) // per_epoch}: {naming.item():.3f} {holding.item():.3f}, held out {accuracy():.4f}")
    network.eval().requires_grad_(False)
    raw = torch.cat([network.raw(_rows(data, rows)[0]) for rows in torch.arange(len(data)).split(360)])
    centre, matrix = whitening(raw)
    network.centre.copy_(centre)
    network.whiten.copy_(matrix)
    return network, accuracy()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=Path("spoken_digits_classifier.safetensors"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=25)
    chosen = parser.parse_args(arguments)
    network, accuracy = train(chosen.seed, chosen.epochs)
    teacher_files.write(
        chosen.out,
        network.state_dict(),
        provenance={
            "made_by": "python -m limbeck_audio.features.train_mel_convnet "
            f"--seed {chosen.seed} --epochs {chosen.epochs}",
            "data": LICENCE,
            "licence": "Apache-2.0",
            "seed": chosen.seed,
            "evaluation": [{"name": "real data, held out", "metrics": {"accuracy": round(accuracy, 4)}}],
        },
    )
    print(f"accuracy on held-out voices {accuracy:.4f}, written to {chosen.out}")


if __name__ == "__main__":
    main()
