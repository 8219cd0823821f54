"""The views of the domains `mel` and `waveform`: spectrograms to look at, with the first sounds to listen to."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from limbeck.interfaces import Picture
from limbeck.pictures.encoding import captions_of, data_uri, png
from limbeck.pictures.grids import image_grid
from limbeck.pictures.views import grid_columns
from limbeck_audio.signal import files as wav
from limbeck_audio.signal.clips import trimmed
from limbeck_audio.signal.mel import HOP, MELS, N_FFT, RATE, SPACE, resample

PLAYERS = 10  # sounds in a page: 16 to 32 KB each, and a report shows many pages of samples
BETWEEN = RATE // 8  # samples of silence between sounds in one file
WAVEFORM_RATE = 44_100
CELL = 112  # pixels that a spectrogram with a player is wide; at 96 Chromium hides the button that plays

# Anchors of the colour map viridis (Smith & van der Walt, CC0), dark to bright, evenly spaced; linear between.
VIRIDIS = torch.tensor([
    (68, 1, 84), (72, 36, 117), (65, 68, 135), (53, 95, 141), (42, 120, 142), (33, 145, 140), (34, 168, 132),
    (68, 191, 112), (122, 209, 81), (189, 223, 38), (253, 231, 37),
]) / 127.5 - 1  # fmt: skip


def coloured(mels: Tensor) -> Tensor:
    """Log-mels (N, 1, M, F) in [-1, 1] as pictures (N, 3, M, F) in [-1, 1], low tones at the bottom."""
    place = (mels[:, 0].nan_to_num(-1.0).clamp(-1, 1) + 1) / 2 * (len(VIRIDIS) - 1)  # (N, M, F)
    below = place.floor().long().clamp_max(len(VIRIDIS) - 2)
    part = (place - below)[..., None]
    colours = (1 - part) * VIRIDIS[below] + part * VIRIDIS[below + 1]  # (N, M, F, 3)
    return colours.permute(0, 3, 1, 2).flip(2)


class SoundGrid(Picture):
    """Log-mels (N, 1, 64, F), or waveforms (N, S) at 16 kHz that are turned into such.

    In a page: a player under each of the first ten, the others as pictures. `.png` is the grid of all, `.wav` and
    `.flac` are the sounds one after the other (the sound itself, for one). Sounds are decoded when they are needed.
    """

    still = False

    def __init__(self, sounds: Tensor, cond: Any = None, captions: Sequence[str] | None = None):
        sounds = sounds.detach().float().cpu()
        self.mels: Tensor
        self.waves: Tensor | None
        if sounds.ndim == 2:
            self.mels, self.waves = SPACE.codec.encode(sounds), sounds
        elif sounds.ndim == 4 and sounds.shape[1:3] == (1, MELS):
            self.mels, self.waves = sounds, None
        else:
            raise ValueError(
                f"sounds are log-mels (N, 1, {MELS}, F) or waveforms (N, S) at {RATE} Hz; got {tuple(sounds.shape)}"
            )
        if captions is not None and len(captions) != len(sounds):
            raise ValueError(f"one caption per sound: got {len(captions)} captions for {len(sounds)} sounds")
        self.captions = list(captions) if captions is not None else None
        self.columns = grid_columns(len(sounds), cond)

    def __len__(self) -> int:
        return len(self.mels)

    def sounds(self, count: int | None = None) -> Tensor:
        """The first `count` waveforms (all of them by default), (count, S)."""
        if self.waves is not None:
            return self.waves[:count]
        return SPACE.codec.decode(self.mels[:count])

    def image(self, first: int = 0) -> Image.Image:
        """The grid of the spectrograms from the `first` on."""
        captions = self.captions[first:] if self.captions is not None else None
        return image_grid(coloured(self.mels[first:]), captions=captions, columns=self.columns, cell=MELS).image

    def save(self, path: Any) -> None:
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix in wav.FORMATS:
            sounds = self.sounds()
            gaps = functional.pad(sounds, (0, BETWEEN)).flatten()
            wav.write(path, gaps[: len(gaps) - BETWEEN])
        elif suffix == ".png":
            self.image().save(path)
        else:
            raise ValueError(f"cannot save sounds as '{suffix}'. Use .png (spectrograms), .wav or .flac")

    def html(self) -> str:
        """Spectrograms with players; what does not get one follows as a picture."""
        cells = []
        for k, sound in enumerate(self.sounds(PLAYERS)):
            name = html.escape(self.captions[k] if self.captions is not None else f"sound {k + 1}", quote=True)
            caption = f"<figcaption>{name}</figcaption>" if self.captions is not None else ""
            cells.append(
                f'<figure style="margin:0;width:{CELL}px;text-align:center">'
                f'<img src="{data_uri("image/png", _png(self._tile(k)))}" width="{CELL}" height="{CELL}" '
                f'alt="spectrogram of {name}" style="display:block">'
                f'<audio controls preload="none" aria-label="{name}" style="width:{CELL}px;height:28px" '
                f'src="{data_uri("audio/wav", wav.encoded(_audible(sound)))}"></audio>{caption}</figure>'
            )
        page = f'<div style="display:flex;flex-wrap:wrap;gap:8px">{"".join(cells)}</div>'
        if len(self) > PLAYERS:
            rest = self.image(PLAYERS)
            page += (
                f'<img src="{data_uri("image/png", _png(rest))}" width="{rest.width}" height="{rest.height}" '
                f'alt="{len(self) - PLAYERS} more spectrograms" style="max-width:100%;height:auto;margin-top:8px">'
            )
        return page

    def _tile(self, k: int) -> Image.Image:
        return image_grid(coloured(self.mels[k : k + 1]), columns=1, cell=MELS).tiles[0].convert("RGB")

    def _repr_html_(self) -> str:
        return self.html()


def _audible(sound: Tensor) -> Tensor:
    """Without silence at the ends, which takes half of a page's bytes."""
    cut = trimmed(sound)
    return cut if len(cut) else sound


def _png(image: Image.Image) -> bytes:
    return png(image.quantize(128))  # a third of the bytes, and nobody sees it


def mel(samples: Tensor, cond: Any = None, *, captions: Sequence[str] | None = None) -> SoundGrid:
    """Log-mels (N, 1, 64, F) or waveforms (N, S). Labels (N,) become captions."""
    return SoundGrid(samples, cond, captions if captions is not None else captions_of(cond, len(samples)))


def waveform(samples: Tensor, cond: Any = None, *, captions: Sequence[str] | None = None) -> SoundGrid:
    """Sounds (N, S) or (N, channels, S) at 44,100 Hz, the rate of Stable Audio; looked at, and played, at 16 kHz in
    mono."""
    sounds = samples.detach().float().cpu()
    sounds = sounds.mean(dim=1) if sounds.ndim == 3 else sounds
    sounds = resample(sounds.nan_to_num(0.0).clamp(-1, 1), WAVEFORM_RATE)
    short = max(-sounds.shape[1] % HOP, N_FFT - sounds.shape[1])
    return mel(functional.pad(sounds, (0, short)), cond, captions=captions)


__all__ = ["PLAYERS", "SoundGrid", "coloured", "mel", "waveform"]
