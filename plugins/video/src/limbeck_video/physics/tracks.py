"""Do two things in a clip move as bouncing bodies do? The path that fits best, and how far the clip is from it.

Where the digits are is detected frame by frame by a network that sees one frame only (`FrameDetector`), so it cannot
fill in what the physics would have had them do. Then two paths of constant velocity between the walls are fitted to
these places, robustly: which place belongs to which path, and which places are wrong, is part of the fit.

Letters: N clips, F frames, D = 2 digits, K candidate paths. Places are (y, x) in pixels, in [0, TRAVEL].
"""

import torch
from torch import Tensor

from limbeck_video.physics.bouncing import direction, reflect

FASTEST = 2.5  # pixels per frame and axis; real digits reach 1.8
NEAR, CAP = 2.0, 4.0  # pixels: a place farther from a path than NEAR does not pull it; beyond CAP it costs no more
BASELINES = (1, 2, 4)  # frames between the two places that suggest a path
ROUNDS = 4


def folded(unfolded: Tensor) -> tuple[Tensor, Tensor]:
    """Position of a body whose path without walls is `unfolded`, and the direction (+1, -1) in which it moves there."""
    return reflect(unfolded), direction(unfolded)


def fit(places: Tensor) -> tuple[Tensor, Tensor]:
    """The two paths that explain places (N, F, D, 2) best, as positions (N, F, D, 2), and which place belongs to which:
    the places again, (N, F, D, 2), in the order of the paths."""
    paths = _refined(_candidates(places), places)  # (N, K, 2, 2)
    one = _best(paths, places)
    for _ in range(2):  # take turns: what one path leaves over is what the other has to explain
        other = _best(paths, _left_over(one, places)[:, :, None])
        one = _best(paths, _left_over(other, places)[:, :, None])
    both = torch.stack([one, other], dim=1)  # (N, D, 2, 2)
    for _ in range(ROUNDS):
        ordered = _assigned(_positions(both, places.shape[1]), places)
        both = _step(both[:, :, None], ordered.transpose(1, 2)[:, :, :, None])[:, :, 0]
    positions = _positions(both, places.shape[1])
    return positions, _assigned(positions, places)


def distances(places: Tensor) -> Tensor:
    """Pixels between places (N, F, D, 2) and the best paths, (N, F, D)."""
    positions, ordered = fit(places)
    return (ordered - positions).norm(dim=-1)


# --- pieces ----------------------------------------------------------------------------------------------------------
# A path is (start, velocity), each (y, x), of the motion without walls: (..., 2, 2).


def _time(frames: int, like: Tensor) -> Tensor:
    return torch.arange(frames, dtype=like.dtype, device=like.device)


def _positions(paths: Tensor, frames: int) -> Tensor:
    """Paths (N, D, 2, 2) -> positions (N, F, D, 2)."""
    time = _time(frames, paths)[:, None, None]
    return folded(paths[:, None, :, 0] + paths[:, None, :, 1] * time)[0]


def _candidates(places: Tensor) -> Tensor:
    """Paths (N, K, 2, 2) through every two places that lie a few frames apart."""
    frames, found = places.shape[1], []
    for gap in BASELINES:
        if gap >= frames:
            continue
        time = _time(frames - gap, places)[:, None, None]
        for i in range(places.shape[2]):
            begin = places[:, :-gap, i : i + 1]  # (N, F', 1, 2)
            velocity = ((places[:, gap:] - begin) / gap).clamp(-FASTEST, FASTEST)  # (N, F', D, 2)
            found.append(torch.stack([begin - velocity * time, velocity], dim=-2).flatten(1, 2))
    if not found:  # a single frame: whatever is there stands still
        return torch.stack([places[:, 0], torch.zeros_like(places[:, 0])], dim=-2)
    return torch.cat(found, dim=1)


def _residuals(paths: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """From every path (N, K, 2, 2) to the nearest of the places (N, F, P, 2) in every frame, (N, K, F, 2), with the
    direction of the motion there."""
    time = _time(places.shape[1], paths)[:, None]
    at, direction = folded(paths[:, :, 0, None] + paths[:, :, 1, None] * time)  # (N, K, F, 2)
    away = places[:, None] - at[:, :, :, None]  # (N, K, F, P, 2)
    nearest = away.square().sum(dim=-1).argmin(dim=-1)
    chosen = nearest[..., None, None].expand(*nearest.shape, 1, 2)
    return away.gather(3, chosen)[:, :, :, 0], direction


def _step(paths: Tensor, places: Tensor) -> Tensor:
    """One Gauss-Newton step of least squares on the places that are near. Where there are too few, nothing moves.

    paths (..., K, 2, 2), places (..., F, P, 2). In the motion without walls a residual keeps its size and takes the
    sign of the direction: the problem is a straight line in time.
    """
    shape = paths.shape
    paths, places = paths.reshape(-1, *shape[-3:]), places.reshape(-1, *places.shape[-3:])
    away, direction = _residuals(paths, places)
    weight = (away.norm(dim=-1, keepdim=True) < NEAR).to(paths.dtype)  # (N, K, F, 1)
    pull = away * direction
    time = _time(places.shape[1], paths)[:, None]
    total, first, second = (
        (weight * power).sum(dim=2).clamp_min(1e-9) for power in (torch.ones_like(time), time, time**2)
    )
    by_one, by_time = (weight * pull).sum(dim=2), (weight * pull * time).sum(dim=2)  # (N, K, 2)
    determinant = total * second - first**2
    firm = (total > 2.5) & (determinant > 1e-6)
    determinant = determinant.clamp_min(1e-6)
    start = torch.where(firm, (second * by_one - first * by_time) / determinant, 0.0)
    velocity = torch.where(firm, (total * by_time - first * by_one) / determinant, 0.0)
    moved = paths + torch.stack([start, velocity], dim=-2)
    return torch.stack([moved[..., 0, :], moved[..., 1, :].clamp(-FASTEST, FASTEST)], dim=-2).reshape(shape)


def _refined(paths: Tensor, places: Tensor) -> Tensor:
    for _ in range(ROUNDS):
        paths = _step(paths, places)
    return paths


def _best(paths: Tensor, places: Tensor) -> Tensor:
    """The path (N, 2, 2) with the smallest capped distance to places (N, F, P, 2), summed over frames."""
    cost = _residuals(paths, places)[0].norm(dim=-1).clamp_max(CAP).sum(dim=-1)  # (N, K)
    return paths[torch.arange(len(paths)), cost.argmin(dim=1)]


def _left_over(path: Tensor, places: Tensor) -> Tensor:
    """The place of every frame that a path (N, 2, 2) does not pass by, (N, F, 2)."""
    at = _positions(path[:, None], places.shape[1])  # (N, F, 1, 2)
    farther = (places - at).norm(dim=-1).argmax(dim=-1)  # (N, F)
    return places.gather(2, farther[..., None, None].expand(*farther.shape, 1, 2))[:, :, 0]


def _assigned(positions: Tensor, places: Tensor) -> Tensor:
    """Places (N, F, D, 2) in the order of positions (N, F, D, 2), by the smaller sum of distances in each frame."""
    straight, crossed = ((positions - p).norm(dim=-1).sum(dim=-1) for p in (places, places.flip(2)))
    return torch.where((crossed < straight)[..., None, None], places.flip(2), places)


__all__ = ["distances", "fit", "folded"]
