"""`python -m limbeck_video.features.train_readers`: trains the two networks that video metrics read clips with.

Training scans, speeds and starts alone, slightly deformed; deterministic by seed (at equal thread count); some minutes
each on one core. The clip reader looks through the bundled frame reader, so that one comes first.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from limbeck.export import teacher_files
from limbeck.randomness import Rng
from limbeck_diffusion.augment import affine
from limbeck_diffusion.data.digits import LICENCE
from limbeck_video.data.moving_digits import (
    CLASSES,
    COUNTS,
    DIGITS,
    TRAVEL,
    MovingDigits,
    film,
    motion,
    place,
    scans,
    trajectory,
)
from limbeck_video.features.readers import (
    MOMENTS,
    PLACES,
    TAMPERED,
    WINDOW,
    ClipReader,
    FrameReader,
    frame_reader,
    likeliest_pair,
    peaks,
)  # fmt: skip

# --- what they are shown ---------------------------------------------------------------------------------------------


def deform(ink: Tensor, rng: Rng) -> Tensor:
    """Small random affine maps of scans (N, 8, 8): rotation, shear to 8 degrees, scale to 8 %, brightness to 15 %."""
    draw = 2 * rng.uniform("affine", (len(ink), 4)) - 1
    moved = affine(ink[:, None], draw[:, :3])[:, 0]
    return (moved * (1 + 0.15 * draw[:, 3])[:, None, None]).clamp(0, 1)


def soften(frames: Tensor, rng: Rng) -> Tensor:
    """A quarter of the pictures (N, C, H, W) blurred, all with a little noise: generated ones are soft and grainy."""
    rows = len(frames)
    blurred = functional.avg_pool2d(functional.pad(frames, (1, 1, 1, 1), value=-1.0), 3, stride=1)
    share = (
        (rng.uniform("blur", (rows, 1, 1, 1)) - 0.5).clamp_min(0) * 2 * (rng.uniform("blurred", (rows, 1, 1, 1)) < 0.5)
    )
    out = torch.lerp(frames, blurred, 0.6 * share)
    return out + 0.08 * rng.uniform("level", (rows, 1, 1, 1)) * rng.normal("grain", frames.shape)


def frames_to_read(rng: Rng, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Frames (N, 1, 20, 20), labels (N, D), corners (N, D, 2), which of the two are there at all (N, D)."""
    ink, classes = scans()["train"]
    rows = rng.integers("rows", len(classes), (size, DIGITS))
    corners = TRAVEL * rng.uniform("corners", (size, DIGITS, 2))
    there = rng.uniform("there", (size, DIGITS)) > 0.04
    glyphs = deform(ink[rows].flatten(0, 1), rng).view(size, DIGITS, 8, 8) * there[..., None, None]
    pictures = 2 * place(glyphs, corners).amax(dim=1)[:, None] - 1
    return pictures, classes[rows], corners, there


def tampered_pictures(clips: Tensor, slow: Tensor, kinds: Tensor, rng: Rng) -> Tensor:
    """Clips (N, F, 1, 20, 20), those of kind jitter, fading and slow (indices into `TAMPERED`, (N,)) changed so; `slow`
    are the same at a third of the speed."""
    rows, frames = clips.shape[:2]
    shift = rng.integers("shift", 3, (rows, frames, 2)) - 1
    side = torch.arange(clips.shape[-1])
    y, x = ((side - shift[..., axis, None]) % clips.shape[-1] for axis in (0, 1))  # (N, F, 20)
    row, time = torch.arange(rows)[:, None, None, None], torch.arange(frames)[None, :, None, None]
    jittered = clips[:, :, 0][row, time, y[..., :, None], x[..., None, :]][:, :, None]
    fade = torch.linspace(0, 1, frames)[None] * (0.4 + 0.5 * rng.uniform("fade", (rows, 1)))
    faded = (clips + 1) * (1 - fade[:, :, None, None, None]) - 1
    for name, changed in (("jitter", jittered), ("fading", faded), ("slow", slow)):
        clips = torch.where((kinds == TAMPERED.index(name))[:, None, None, None, None], changed, clips)
    return clips


def tampered_order(seen: Tensor, mates: Tensor, kinds: Tensor, rng: Rng) -> Tensor:
    """What was seen in frames (N, F, 64), those of kind shuffled, frozen (from some frame on) and jump (to another
    clip, of `mates`) changed so."""
    rows, frames = seen.shape[:2]
    order = rng.uniform("order", (rows, frames)).argsort(dim=1)
    still = torch.arange(frames)[None].minimum(1 + rng.integers("still", frames // 2, (rows, 1)))
    later = torch.arange(frames)[None] >= 2 + rng.integers("cut", frames - 4, (rows, 1))

    def taken(index: Tensor) -> Tensor:
        return seen.gather(1, index[..., None].expand_as(seen))

    changes = (
        ("shuffled", taken(order)),
        ("frozen", taken(still)),
        ("jump", torch.where(later[..., None], mates, seen)),
    )
    for name, changed in changes:
        seen = torch.where((kinds == TAMPERED.index(name))[:, None, None], changed, seen)
    return seen


# --- training --------------------------------------------------------------------------------------------------------


def _loop(network: nn.Module, loss_of, name: str, seed: int, steps: int, lr: float) -> None:
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        rng = Rng(seed, step, name)
        rng.seed_globally()
        terms = loss_of(rng)
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
        schedule.step()
        if step % 500 == 0 or step == steps - 1:
            print(f"{name} {step}: " + ", ".join(f"{k} {v.item():.4f}" for k, v in terms.items()), flush=True)
    network.eval().requires_grad_(False)


def place_loss(maps: Tensor, corners: Tensor, labels: Tensor, there: Tensor) -> dict[str, Tensor]:
    """Cross-entropy of the map (N, 13, 13, 13) of corners; at the true cells the distance of offsets, and the
    cross-entropy of digits."""
    cells = corners.round().long()
    flat = (cells[..., 0] * PLACES + cells[..., 1]).clamp(0, PLACES * PLACES - 1)  # (N, D)
    wanted = torch.zeros(len(maps), PLACES * PLACES).scatter_reduce(1, flat, there.float(), "amax")
    found = functional.binary_cross_entropy_with_logits(maps[:, 0].flatten(1), wanted, reduction="none").sum(dim=1)
    told = maps[:, 1:].flatten(2).mT.gather(1, flat[..., None].expand(-1, -1, 2 + CLASSES))  # (N, D, 12)
    away = (told[..., :2] - (corners - cells)).abs().sum(dim=-1)
    digits = functional.cross_entropy(told[..., 2:].flatten(0, 1), labels.flatten(), reduction="none").view_as(away)
    count = there.sum()
    return {
        "found": 0.3 * found.mean(), "away": (away * there).sum() / count, "digits": (digits * there).sum() / count,
    }  # fmt: skip


def train_frame_reader(seed: int, steps: int = 4000, size: int = 64, lr: float = 2e-3) -> tuple[FrameReader, dict]:
    Rng(seed).seed_globally()
    network = FrameReader()

    def loss(rng: Rng) -> dict[str, Tensor]:
        frames, labels, corners, there = frames_to_read(rng, size)
        times = (functional.one_hot(labels, CLASSES) * there[..., None]).sum(dim=1)
        raw, maps = network(soften(frames, rng))
        counts = network.to_counts(raw).view(-1, DIGITS + 1)
        return {
            **place_loss(maps, corners, labels, there),
            "counts": functional.cross_entropy(counts, times.flatten()),
            "pixels": 4 * functional.mse_loss(network.to_pixels(raw), frames.flatten(1)),
        }

    _loop(network, loss, "frame_reader", seed, steps, lr)
    clips = MovingDigits().batch(torch.arange(0, COUNTS["train"], 5)).x0
    network.whiten_by(torch.cat([network(part)[0] for part in clips[:, ::4].flatten(0, 1).split(1000)]))

    held_out = MovingDigits("held_out").motion(torch.arange(COUNTS["held_out"]))
    positions = held_out.positions(WINDOW)
    clips = film(scans()["held_out"][0][held_out.scans], positions)
    said = [peaks(network(part)[1]) for part in clips.flatten(0, 1).split(1000)]
    where, digits = (torch.cat(part).view(-1, WINDOW, DIGITS, part[0].shape[-1]) for part in zip(*said, strict=True))
    true = positions.transpose(1, 2).float()  # (N, F, D, 2)
    off = torch.stack([(where - other).norm(dim=-1).mean(dim=-1) for other in (true, true.flip(2))]).amin(dim=0)
    by_frame = likeliest_pair(digits.flatten(0, 1)[:, None]).view(-1, WINDOW, DIGITS) == held_out.labels[:, None]
    return network, {
        "pairs_by_frame": round(by_frame.all(dim=-1).double().mean().item(), 4),
        "pairs_by_clip": round((likeliest_pair(digits) == held_out.labels).all(dim=1).double().mean().item(), 4),
        "pixels_off_median": round(off.median().item(), 4),
        "pixels_off_mean": round(off.mean().item(), 4),
    }


PICTURED = (0,) * 7 + tuple(TAMPERED.index(name) for name in ("jitter", "fading", "slow"))  # of ten clips
REORDERED = tuple(TAMPERED.index(name) for name in ("untouched",) * 4 + ("shuffled", "frozen", "jump"))


@torch.no_grad()
def seen_clips(eye: FrameReader, seed: int, count: int) -> dict[str, Tensor]:
    """What the frame reader sees in training clips, (count, F, 64), with what there is to tell about them."""
    parts = []
    for start in range(0, count, 250):
        rows, rng = torch.arange(start, min(start + 250, count)), Rng(seed, start, "seen_clips")
        moving, size = motion(rows, "train"), min(250, count - start)
        glyphs = deform(scans()["train"][0][moving.scans].flatten(0, 1), rng).view(size, DIGITS, 8, 8)
        positions, kinds = moving.positions(WINDOW), torch.tensor(PICTURED)[rows % len(PICTURED)]
        slow = film(glyphs, trajectory(moving.start, moving.velocity / 3, WINDOW))
        clips = tampered_pictures(film(glyphs, positions), slow, kinds, rng)
        parts.append(
            {
                "seen": seen(eye, soften(clips.flatten(1, 2), rng).view_as(clips)),  # a clip is softened as a whole
                "places": positions[:, :, list(MOMENTS)].float() / TRAVEL,  # (N, D, M, 2)
                "velocity": moving.velocity.float(),  # (N, D, 2)
                "counts": functional.one_hot(moving.labels, CLASSES).sum(dim=1),
                "kinds": kinds,
            }
        )
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


@torch.no_grad()
def seen(eye: FrameReader, clips: Tensor) -> Tensor:
    """Whitened features of every frame, (N, F, 64)."""
    found = [eye.measured(eye(part)[0]) for part in clips.flatten(0, 1).split(500)]
    return torch.cat(found).view(*clips.shape[:2], -1)


def train_clip_reader(
    seed: int, steps: int = 4000, size: int = 128, lr: float = 2e-3, bank: int = 10_000
) -> tuple[ClipReader, dict]:
    """Frames are seen once, in the beginning: what is trained looks at features alone."""
    eye = frame_reader()
    known = seen_clips(eye, seed, bank)
    Rng(seed).seed_globally()
    network = ClipReader()

    def off(raw: Tensor, wanted: dict[str, Tensor], power: int) -> tuple[Tensor, Tensor]:
        """Of places and velocities; two digits may be told in either order."""
        places = network.heads["places"](raw).view(-1, DIGITS, len(MOMENTS), 2)
        velocity = network.heads["velocity"](raw).view(-1, DIGITS, 2)
        orders = []
        for p, v in ((wanted["places"], wanted["velocity"]), (wanted["places"].flip(1), wanted["velocity"].flip(1))):
            away = (places - p).square().sum(dim=-1), (velocity - v).square().sum(dim=-1)
            orders.append(torch.stack([part.pow(power / 2).flatten(1).mean(dim=1) for part in away]))
        straight = orders[0].sum(dim=0) <= orders[1].sum(dim=0)
        return tuple(torch.where(straight, *orders))

    def loss(rng: Rng) -> dict[str, Tensor]:
        rows = rng.integers("rows", bank, (size,))
        wanted = {name: values[rows] for name, values in known.items()}
        again = torch.tensor(REORDERED)[rng.integers("kinds", len(REORDERED), (size,))]
        wanted["kinds"] = torch.where(wanted["kinds"] == 0, again, wanted["kinds"])
        mates = known["seen"][rng.integers("mates", bank, (size,))]
        raw = network(tampered_order(wanted["seen"], mates, wanted["kinds"], rng))
        honest = wanted["kinds"] == 0
        places, velocity = off(raw, wanted, 2)
        counts = network.heads["counts"](raw).view(-1, DIGITS + 1)
        return {
            "places": 12 * (places * honest).sum() / honest.sum().clamp_min(1),
            "velocity": (velocity * honest).sum() / honest.sum().clamp_min(1),
            "counts": 2 * functional.cross_entropy(counts, wanted["counts"].flatten()),
            "tampered": 0.5 * functional.cross_entropy(network.heads["tampered"](raw), wanted["kinds"]),
        }

    _loop(network, loss, "clip_reader", seed, steps, lr)
    network.whiten_by(network(known["seen"][known["kinds"] == 0]))

    held_out = MovingDigits("held_out").batch(torch.arange(COUNTS["held_out"]))
    moving = MovingDigits("held_out").motion(torch.arange(COUNTS["held_out"]))
    raw = network(seen(eye, held_out.x0))
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
        "untouched": round((network.heads["tampered"](raw).argmax(dim=1) == 0).double().mean().item(), 4),
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", choices=["frame_reader", "clip_reader"])
    parser.add_argument("-o", "--out", type=Path, default=Path("."), help="folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=4000)
    chosen = parser.parse_args(arguments)
    train = {"frame_reader": train_frame_reader, "clip_reader": train_clip_reader}[chosen.which]
    network, scores = train(chosen.seed, chosen.steps)
    told = f"{chosen.which} --seed {chosen.seed} --steps {chosen.steps}"
    path = chosen.out / f"{chosen.which}.safetensors"
    teacher_files.write(
        path,
        {name: tensor.half() for name, tensor in network.state_dict().items()},
        provenance={
            "made_by": f"python -m limbeck_video.features.train_readers {told}",
            "data": LICENCE,
            "licence": "Apache-2.0",
            "seed": chosen.seed,
            "held_out": scores,
        },
    )
    print(f"held out: {scores}, written to {path}")


if __name__ == "__main__":
    main()
