"""`python -m limbeck_video.features.train_frame_detector`: trains the detector of digits in frames.

Training scans and positions alone, slightly deformed; deterministic by seed (at equal thread count); some minutes on
one core. Letters: N frames or clips, F frames, D = 2 digits.
"""

import torch
from torch import Tensor
from torch.nn import functional

from limbeck.randomness import Rng
from limbeck_video.data.moving_digits import CLASSES, COUNTS, DIGITS, MovingDigits, place, render, scans
from limbeck_video.features.augment import deform, degrade
from limbeck_video.features.clip_encoder import WINDOW
from limbeck_video.features.frame_detector import PLACES, FrameDetector, likeliest_pair, peaks
from limbeck_video.features.training import fit, run
from limbeck_video.physics.bouncing import TRAVEL

PHASE = "frame_reader"  # names the random draws: with another name they would be others than those of the bundled file


def training_frames(rng: Rng, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Frames (N, 1, 20, 20), labels (N, D), corners (N, D, 2), which of the two are visible at all (N, D)."""
    ink, classes = scans()["train"]
    rows = rng.integers("rows", len(classes), (size, DIGITS))
    corners = TRAVEL * rng.uniform("corners", (size, DIGITS, 2))
    there = rng.uniform("there", (size, DIGITS)) > 0.04
    glyphs = deform(ink[rows].flatten(0, 1), rng).view(size, DIGITS, 8, 8) * there[..., None, None]
    pictures = 2 * place(glyphs, corners).amax(dim=1)[:, None] - 1
    return pictures, classes[rows], corners, there


def place_loss(maps: Tensor, corners: Tensor, labels: Tensor, there: Tensor) -> dict[str, Tensor]:
    """Cross-entropy of the map (N, 13, 13, 13) of corners; at the true cells the distance of offsets, and the
    cross-entropy of digits."""
    cells = corners.round().long()
    flat = (cells[..., 0] * PLACES + cells[..., 1]).clamp(0, PLACES * PLACES - 1)  # (N, D)
    target = torch.zeros(len(maps), PLACES * PLACES).scatter_reduce(1, flat, there.float(), "amax")
    found = functional.binary_cross_entropy_with_logits(maps[:, 0].flatten(1), target, reduction="none").sum(dim=1)
    predicted = maps[:, 1:].flatten(2).mT.gather(1, flat[..., None].expand(-1, -1, 2 + CLASSES))  # (N, D, 12)
    away = (predicted[..., :2] - (corners - cells)).abs().sum(dim=-1)
    digits = functional.cross_entropy(predicted[..., 2:].flatten(0, 1), labels.flatten(), reduction="none").view_as(
        away
    )
    count = there.sum()
    return {
        "found": 0.3 * found.mean(), "away": (away * there).sum() / count, "digits": (digits * there).sum() / count,
    }  # fmt: skip


def train(seed: int, steps: int = 4000, size: int = 64, lr: float = 2e-3) -> tuple[FrameDetector, dict]:
    Rng(seed).seed_globally()
    network = FrameDetector()

    def loss(rng: Rng) -> dict[str, Tensor]:
        frames, labels, corners, there = training_frames(rng, size)
        times = (functional.one_hot(labels, CLASSES) * there[..., None]).sum(dim=1)
        raw, maps = network(degrade(frames, rng))
        counts = network.to_counts(raw).view(-1, DIGITS + 1)
        return {
            **place_loss(maps, corners, labels, there),
            "counts": functional.cross_entropy(counts, times.flatten()),
            "pixels": 4 * functional.mse_loss(network.to_pixels(raw), frames.flatten(1)),
        }

    fit(network, loss, PHASE, seed, steps, lr)
    data = MovingDigits()
    clips = data.rendered(data.motion(torch.arange(0, COUNTS["train"], 5)))
    network.whiten_by(torch.cat([network(part)[0] for part in clips[:, ::4].flatten(0, 1).split(1000)]))

    held_out = MovingDigits("held_out").motion(torch.arange(COUNTS["held_out"]))
    positions = held_out.positions(WINDOW)
    clips = render(scans()["held_out"][0][held_out.scans], positions)
    detected = [peaks(network(part)[1]) for part in clips.flatten(0, 1).split(1000)]
    where, digits = (
        torch.cat(part).view(-1, WINDOW, DIGITS, part[0].shape[-1]) for part in zip(*detected, strict=True)
    )
    true = positions.transpose(1, 2).float()  # (N, F, D, 2)
    off = torch.stack([(where - other).norm(dim=-1).mean(dim=-1) for other in (true, true.flip(2))]).amin(dim=0)
    by_frame = likeliest_pair(digits.flatten(0, 1)[:, None]).view(-1, WINDOW, DIGITS) == held_out.labels[:, None]
    return network, {
        "pairs_by_frame": round(by_frame.all(dim=-1).double().mean().item(), 4),
        "pairs_by_clip": round((likeliest_pair(digits) == held_out.labels).all(dim=1).double().mean().item(), 4),
        "pixels_off_median": round(off.median().item(), 4),
        "pixels_off_mean": round(off.mean().item(), 4),
    }


def main(arguments: list[str] | None = None) -> None:
    run("frame_detector", train, arguments)


if __name__ == "__main__":
    main()
