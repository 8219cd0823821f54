"""The autoencoder of a pipeline as a codec: latents of the model's space to pixels, clips or waveforms, and back."""

import hashlib
from typing import Any, Self

import torch
from torch import Tensor

from limbeck.interfaces import Codec


class PipelineCodec(Codec):
    """Latents (B, C, h, w), video (B, F', C, h, w) or sound (B, C, L) <-> what people see or hear, in [-1, 1]:
    (B, 3, H, W), (B, F, 3, H, W), (B, channels, samples).

    Always frozen, differentiable both ways, never clamped. `encode` gives the mean of the posterior. It keeps the type
    it was loaded in whatever the network is converted to, moves with its teacher, and is shared by the copies of one.

    Args:
        vae: AutoencoderKL, AutoencoderDC, AutoencoderKLWan or AutoencoderOobleck.
        frames_first: the model's videos are (B, F, C, h, w), the autoencoder's (B, C, F, h, w).
    """

    def __init__(self, vae: Any, *, frames_first: bool = False):
        super().__init__()
        self.vae, self.frames_first = vae, frames_first
        self.eval().requires_grad_(False)
        self._fingerprint: str | None = None

    def train(self, mode: bool = True) -> Self:
        return super().train(False)

    def __deepcopy__(self, memo: dict) -> "PipelineCodec":
        return self

    def _affine(self, latents: Tensor) -> tuple[Any, Any]:
        """(scale, shift): the autoencoder's own latents are scale * z + shift. latents channels-first."""
        config = self.vae.config
        scale, shift = 1.0 / (config.get("scaling_factor") or 1.0), config.get("shift_factor") or 0.0
        mean, std = config.get("latents_mean"), config.get("latents_std")
        if mean is None or std is None:
            return scale, shift
        shape = (1, -1, *[1] * (latents.ndim - 2))
        return latents.new_tensor(std).reshape(shape) * scale, latents.new_tensor(mean).reshape(shape)

    def decode(self, value: Tensor) -> Tensor:
        latents = value.transpose(1, 2) if self.frames_first else value
        latents = latents.to(self.vae.dtype)
        scale, shift = self._affine(latents)
        seen = self.vae.decode(latents * scale + shift, return_dict=False)[0].to(value.dtype)
        return seen.transpose(1, 2) if self.frames_first else seen

    def encode(self, seen: Tensor) -> Tensor:
        given = (seen.transpose(1, 2) if self.frames_first else seen).to(self.vae.dtype)
        out = self.vae.encode(given, return_dict=False)[0]
        latents = out.mode() if hasattr(out, "mode") and not isinstance(out, Tensor) else out
        scale, shift = self._affine(latents)
        latents = ((latents - shift) / scale).to(seen.dtype)
        return latents.transpose(1, 2) if self.frames_first else latents

    def fingerprint(self) -> str:
        """Of the autoencoder's weights: latents of another one are refused."""
        if self._fingerprint is None:
            digest = hashlib.sha256(type(self.vae).__name__.encode())
            for name, tensor in sorted(self.vae.state_dict().items()):
                values = tensor.detach().float().flatten()
                ends = torch.cat([values[:8], values[-8:]]).cpu()  # every tensor, its ends: milliseconds, not minutes
                digest.update(f"{name}{tuple(tensor.shape)}{[f'{v:.5g}' for v in ends.tolist()]}".encode())
            self._fingerprint = digest.hexdigest()
        return self._fingerprint


__all__ = ["PipelineCodec"]
