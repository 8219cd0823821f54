"""A U-Net for images from 8 to 64 pixels, under any condition.

Letters: B batch, C channels, H W height and width, D width of the embedding, N tokens. The network sees an input of
about unit variance and a time in a range of about one, as `limbeck.Denoiser` prepares them, and returns what that
adapter's `prediction` names.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from limbeck.interfaces import Space
from limbeck.networks.denoiser import Denoiser
from limbeck.process.gaussian import process_named
from limbeck_diffusion.networks.options import UNetDenoiserOptions, UNetOptions


class TimeFeatures(nn.Module):
    """Sines and cosines of a scalar at geometric frequencies, (B,) -> (B, 2 * count)."""

    frequencies: Tensor

    def __init__(self, count: int = 16, highest: float = 60.0):
        super().__init__()
        frequencies = torch.exp(torch.linspace(0.0, math.log(highest), count))
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        angle = t.to(torch.promote_types(t.dtype, torch.float32))[:, None] * self.frequencies
        return torch.cat([angle.sin(), angle.cos()], dim=1).to(self.frequencies.dtype)  # the precision of the weights


class Block(nn.Module):
    """Residual block: norm, SiLU, conv, norm, FiLM, SiLU, dropout, conv. (B, C, H, W) -> (B, C', H, W)."""

    def __init__(self, inner: int, outer: int, embedding: int, dropout: float):
        super().__init__()
        self.norm_in = nn.GroupNorm(_groups(inner), inner)
        self.conv_in = nn.Conv2d(inner, outer, 3, padding=1)
        self.film = nn.Linear(embedding, 2 * outer)
        self.norm_out = nn.GroupNorm(_groups(outer), outer, affine=False)  # FiLM is its affine map
        self.dropout = dropout
        self.conv_out = nn.Conv2d(outer, outer, 3, padding=1)
        self.skip = nn.Conv2d(inner, outer, 1) if inner != outer else nn.Identity()
        _zero(self.film)
        _zero(self.conv_out)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        hidden = self.conv_in(functional.silu(self.norm_in(x)))
        scale, shift = self.film(embedding)[:, :, None, None].chunk(2, dim=1)  # (B, C', 1, 1) each
        hidden = functional.silu(torch.addcmul(shift, self.norm_out(hidden), 1 + scale))
        if self.training and self.dropout > 0:
            hidden = functional.dropout(hidden, self.dropout)
        return self.skip(x) + self.conv_out(hidden)


class Attention(nn.Module):
    """Self-attention over all positions, residual. (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(_groups(channels), channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        _zero(self.out)

    def forward(self, x: Tensor) -> Tensor:
        rows, channels, height, width = x.shape
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # (B, N, C)
        q, k, v = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, heads, N, C / heads)
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # (B, N, C)
        return x + self.out(mixed).transpose(1, 2).reshape(rows, channels, height, width)


class ClassEmbedding(nn.Module):
    """Labels (B,) int64 -> (B, D). Label `classes` means "no label", and so does None."""

    def __init__(self, classes: int, width: int):
        super().__init__()
        self.classes = classes
        self.table = nn.Embedding(classes + 1, width)

    def forward(self, cond: Tensor | None, rows: int) -> Tensor:
        if cond is None:
            cond = torch.full((rows,), self.classes, device=self.table.weight.device)
        return self.table(cond)


class UNet(nn.Module):
    """A small conditional U-Net for square images.

    The image is folded into `patch` x `patch` patches, halved `len(channels) - 1` times, and unfolded at the end.
    Levels listed in `attention` (0 is the finest) attend over all positions after each of their blocks.

    `features` may name the outputs of the encoder's levels, 0 (finest) to `len(channels) - 1`, and for the middle,
    `len(channels)`; negative indices count from the end, so that -1 is the middle.

    Args:
        space: where samples live; `space.event` is (C, H, W) with H = W divisible by patch * 2^(levels - 1).
        channels: width of every level, finest first.
        blocks: residual blocks per level (the decoder has as many).
        patch: side of the patches that the first layer folds into channels.
        attention: levels that attend.
        condition: makes the module that embeds conditions, given D: module(cond, B) -> (B, D), where cond is of any
            kind and None means "no condition" (`partial(ClassEmbedding, 10)`). None: an unconditional network.
        embedding: D, width of the embedding of time and condition.
        dropout: in every block, while training.
        two_times: accept a second time `s` (flow maps).
    """

    def __init__(
        self,
        space: Space,
        *,
        channels: Sequence[int] = (64, 128),
        blocks: int = 1,
        patch: int = 1,
        attention: Sequence[int] = (),
        condition: Callable[[int], nn.Module] | None = None,
        embedding: int = 128,
        dropout: float = 0.0,
        two_times: bool = False,
    ):
        super().__init__()
        depth, height, width = space.event
        stride = patch * 2 ** (len(channels) - 1)
        if height % stride or width % stride:
            raise ValueError(
                f"a U-Net with patch {patch} and {len(channels)} levels needs sides divisible by {stride}; "
                f"the space has {height} x {width}. Use fewer levels or a smaller patch."
            )
        if bad := [level for level in attention if not 0 <= level < len(channels)]:
            raise ValueError(f"attention levels {bad} do not exist; this network has levels 0 to {len(channels) - 1}")
        self.patch, self.two_times = patch, two_times
        self.time = TimeFeatures()
        times = 2 * len(self.time.frequencies)
        self.embed_time = nn.Sequential(nn.Linear(times, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.condition = condition(embedding) if condition is not None else None
        self.embed_step = nn.Sequential(nn.Linear(times, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        if two_times:  # starts without influence: the network of one time is a valid start for a flow map
            _zero(self.embed_step[2])
        else:
            del self.embed_step

        self.fold = (
            nn.Conv2d(depth, channels[0], 3, padding=1)
            if patch == 1
            else nn.Conv2d(depth, channels[0], patch, stride=patch)
        )
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        self.down, self.up = nn.ModuleList(), nn.ModuleList()

        def level_of(sizes: list[tuple[int, int]], attends: bool) -> nn.ModuleList:
            return nn.ModuleList(
                nn.ModuleList([Block(a, b, embedding, dropout), Attention(b) if attends else nn.Identity()])
                for a, b in sizes
            )

        for level, size in enumerate(channels):
            self.encoder.append(level_of([(size, size)] * blocks, level in attention))
            if level + 1 < len(channels):
                self.down.append(nn.Conv2d(size, channels[level + 1], 2, stride=2))
        self.middle = Block(channels[-1], channels[-1], embedding, dropout)
        for level in reversed(range(len(channels) - 1)):
            size = channels[level]
            self.up.append(nn.ConvTranspose2d(channels[level + 1], size, 2, stride=2))
            self.decoder.append(level_of([(2 * size, size)] + [(size, size)] * (blocks - 1), level in attention))
        self.norm = nn.GroupNorm(_groups(channels[0]), channels[0])
        self.unfold = (
            nn.Conv2d(channels[0], depth, 3, padding=1)
            if patch == 1
            else nn.ConvTranspose2d(channels[0], depth, patch, stride=patch)
        )
        _zero(self.unfold)

    @classmethod
    def of(
        cls,
        space: Space,
        options: UNetOptions,
        condition: Callable[[int], nn.Module] | None = None,
        *,
        two_times: bool = False,
    ) -> Self:
        """The network that options describe."""
        return cls(
            space,
            channels=options.channels,
            blocks=options.blocks,
            patch=options.patch,
            attention=options.attention,
            condition=condition,
            embedding=options.embedding,
            dropout=options.dropout,
            two_times=two_times,
        )

    def embed(self, time: Tensor, cond: Any, s: Tensor | None) -> Tensor:
        """(B, D), already through SiLU."""
        out = self.embed_time(self.time(time))
        if self.condition is not None:
            out = out + self.condition(cond, len(time))
        if s is not None:
            out = out + self.embed_step(self.time(time - s))
        return functional.silu(out)

    def forward(
        self, x: Tensor, time: Tensor, cond: Any = None, s: Tensor | None = None, features: Sequence[int] = ()
    ) -> Tensor | tuple[Tensor, tuple[Tensor, ...]]:
        if features:
            known = len(self.encoder)
            if bad := [index for index in features if not -known - 1 <= index <= known]:
                raise ValueError(f"features {bad} do not exist; take 0 to {known} ({known}, or -1, is the middle)")
        embedding = self.embed(time, cond, s)
        hidden = self.fold(x)
        levels = []
        stage: Any
        for level, stage in enumerate(self.encoder):
            for block, attend in stage:
                hidden = attend(block(hidden, embedding))
            levels.append(hidden)
            if level < len(self.down):
                hidden = self.down[level](hidden)
        hidden = self.middle(hidden, embedding)
        seen = (*levels, hidden)
        for index, stage in enumerate(self.decoder):
            hidden = torch.cat([self.up[index](hidden), levels[-2 - index]], dim=1)
            for block, attend in stage:
                hidden = attend(block(hidden, embedding))
        out = self.unfold(functional.silu(self.norm(hidden)))
        return (out, tuple(seen[index] for index in features)) if features else out


def _zero(layer: nn.Module) -> None:
    """A layer that starts without influence."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def _groups(channels: int) -> int:
    """Groups of at least 8 channels, 8 groups at most."""
    return math.gcd(min(8, max(1, channels // 8)), channels)


# --- denoisers -------------------------------------------------------------------------------------------------------


def unet_denoiser(
    space: Space,
    options: UNetDenoiserOptions,
    condition: Callable[[int], nn.Module] | None = None,
    *,
    sigma_data: float,
    null: int | Tensor | None = None,
    network: type[UNet] = UNet,
    adapter: Callable[..., Denoiser] = Denoiser,
) -> Denoiser:
    """A fresh denoiser as options describe it.

    Args:
        space, condition: see `UNet`.
        sigma_data: standard deviation of the data.
        null: label or tensor that means "no condition", see `limbeck.Denoiser`.
        network, adapter: classes to take instead (`partial(PriorMeanDenoiser, means=...)`).
    """
    return adapter(
        network.of(space, options, condition, two_times=options.two_times),
        process_named(options.process, shift=options.shift, sigma_data=sigma_data),
        space,
        prediction=options.prediction,
        sigma_data=sigma_data,
        null=null,
        two_times=options.two_times,
    )
