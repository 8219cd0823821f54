"""`python -m limbeck_video.features.train_clip_encoder`: trains the encoder of clips.

Training scans, speeds and starts alone, slightly deformed, some of the clips corrupted; deterministic by seed (at equal
thread count); some minutes on one core. The encoder sees clips through the bundled frame detector, so that one comes
first. Letters: N clips, F frames, D = 2 digits, M moments.
"""

import torch
from torch import Tensor
from torch.nn import functional

from limbeck.randomness import Rng
from limbeck_video.data.moving_digits import CLASSES, COUNTS, DIGITS, MovingDigits, motion, render, scans
from limbeck_video.features.augment import corrupt_order, corrupt_pictures, deform, degrade
from limbeck_video.features.clip_encoder import CORRUPTIONS, MOMENTS, WINDOW, ClipEncoder
from limbeck_video.features.frame_detector import FrameDetector, frame_detector
from limbeck_video.features.training import fit, run
from limbeck_video.physics.bouncing import TRAVEL, trajectory

PHASE = "clip_reader"  # names the random draws: with another name they would be others than those of the bundled file
PICTURED = (0,) * 7 + tuple(CORRUPTIONS.index(name) for name in ("jitter", "fading", "slow"))  # of ten clips
REORDERED = tuple(CORRUPTIONS.index(name) for name in ("untouched",) * 4 + ("shuffled", "frozen", "jump"))


@torch.no_grad()
def detected_clips(detector: FrameDetector, seed: int, count: int) -> dict[str, Tensor]:
    """Features of the frames of training clips, (count, F, 64), with what is to be predicted of them."""
    parts = []
    for start in range(0, count, 250):
        rows, rng = torch.arange(start, min(start + 250, count)), Rng(seed, start, "seen_clips")
        moving, size = motion(rows, "train"), min(250, count - start)
        glyphs = deform(scans()["train"][0][moving.scans].flatten(0, 1), rng).view(size, DIGITS, 8, 8)
        positions, kinds = moving.positions(WINDOW), torch.tensor(PICTURED)[rows % len(PICTURED)]
        slow = render(glyphs, trajectory(moving.start, moving.velocity / 3, WINDOW))
        clips = corrupt_pictures(render(glyphs, positions), slow, kinds, rng)
        degraded = degrade(clips.flatten(1, 2), rng).view_as(clips)  # each clip as a whole
        parts.append(
            {
                "features": frame_features(detector, degraded),
                "places": positions[:, :, list(MOMENTS)].float() / TRAVEL,  # (N, D, M, 2)
                "velocity": moving.velocity.float(),  # (N, D, 2)
                "counts": functional.one_hot(moving.labels, CLASSES).sum(dim=1),
                "kinds": kinds,
            }
        )
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


@torch.no_grad()
def frame_features(detector: FrameDetector, clips: Tensor) -> Tensor:
    """Whitened features of every frame, (N, F, 64)."""
    found = [detector.whitened(detector(part)[0]) for part in clips.flatten(0, 1).split(500)]
    return torch.cat(found).view(*clips.shape[:2], -1)


def train(
    seed: int, steps: int = 4000, size: int = 128, lr: float = 2e-3, bank: int = 10_000
) -> tuple[ClipEncoder, dict]:
    """Frames pass the detector once, at the start: what is trained sees features alone."""
    detector = frame_detector()
    known = detected_clips(detector, seed, bank)
    Rng(seed).seed_globally()
    network = ClipEncoder()

    def off(raw: Tensor, target: dict[str, Tensor], power: int) -> tuple[Tensor, Tensor]:
        """Errors of places and velocities; the two digits may be predicted in either order."""
        places = network.heads["places"](raw).view(-1, DIGITS, len(MOMENTS), 2)
        velocity = network.heads["velocity"](raw).view(-1, DIGITS, 2)
        orders = []
        for p, v in ((target["places"], target["velocity"]), (target["places"].flip(1), target["velocity"].flip(1))):
            away = (places - p).square().sum(dim=-1), (velocity - v).square().sum(dim=-1)
            orders.append(torch.stack([part.pow(power / 2).flatten(1).mean(dim=1) for part in away]))
        straight = orders[0].sum(dim=0) <= orders[1].sum(dim=0)
        places_off, velocity_off = torch.where(straight, orders[0], orders[1]).unbind()
        return places_off, velocity_off

    def loss(rng: Rng) -> dict[str, Tensor]:
        rows = rng.integers("rows", bank, (size,))
        target = {name: values[rows] for name, values in known.items()}
        again = torch.tensor(REORDERED)[rng.integers("kinds", len(REORDERED), (size,))]
        target["kinds"] = torch.where(target["kinds"] == 0, again, target["kinds"])
        mates = known["features"][rng.integers("mates", bank, (size,))]
        raw = network(corrupt_order(target["features"], mates, target["kinds"], rng))
        untouched = target["kinds"] == 0
        places, velocity = off(raw, target, 2)
        counts = network.heads["counts"](raw).view(-1, DIGITS + 1)
        return {
            "places": 12 * (places * untouched).sum() / untouched.sum().clamp_min(1),
            "velocity": (velocity * untouched).sum() / untouched.sum().clamp_min(1),
            "counts": 2 * functional.cross_entropy(counts, target["counts"].flatten()),
            "corrupted": 0.5 * functional.cross_entropy(network.heads["corrupted"](raw), target["kinds"]),
        }

    fit(network, loss, PHASE, seed, steps, lr)
    network.whiten_by(network(known["features"][known["kinds"] == 0]))

    held_out = MovingDigits("held_out")
    moving = held_out.motion(torch.arange(COUNTS["held_out"]))
    raw = network(frame_features(detector, held_out.rendered(moving)))
    true = {
        "places": moving.positions(WINDOW)[:, :, list(MOMENTS)].float() / TRAVEL,
        "velocity": moving.velocity.float(),
    }
    places, velocity = off(raw, true, 1)
    counts = network.heads["counts"](raw).view(-1, CLASSES, DIGITS + 1).argmax(dim=-1)
    right = (counts == functional.one_hot(moving.labels, CLASSES).sum(dim=1)).all(dim=1)
    return network, {
        "pairs": round(right.double().mean().item(), 4),
        "pixels_off": round(TRAVEL * places.mean().item(), 4),
        "speed_off": round(velocity.mean().item(), 4),
        "untouched": round((network.heads["corrupted"](raw).argmax(dim=1) == 0).double().mean().item(), 4),
    }


def main(arguments: list[str] | None = None) -> None:
    run("clip_encoder", train, arguments)


if __name__ == "__main__":
    main()
