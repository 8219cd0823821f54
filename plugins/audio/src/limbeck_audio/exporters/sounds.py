"""The exporter `wav`: samples of a student as sound files that everything plays.

An exporter is `exporter(run, directory, **options) -> list of files`. The weights are those of the run's last good
checkpoint; a folder that holds something is refused, unless `overwrite`.
"""

from pathlib import Path
from typing import Any

import torch

from limbeck.errors import LimbeckError, NonFinite
from limbeck.export.folder import prepare
from limbeck.files import write_json
from limbeck.interfaces import unwrap
from limbeck.pictures.encoding import captions_of
from limbeck.sampling.samples import generate, grid_conditions
from limbeck_audio.options.exporters import WavExportOptions
from limbeck_audio.signal import files as wav
from limbeck_audio.signal.mel import RATE, MelCodec


def export_wav(run: Any, directory: Path | str, **options: Any) -> list[Path]:
    """One 16-bit file per sample, mono at 16 kHz (a pipeline's own channels and rate), named after its word
    (000-seven.wav), and samples.json."""
    chosen = WavExportOptions(**options)
    network: Any = unwrap(run.generator())
    if getattr(getattr(network, "space", None), "domain", None) not in ("mel", "waveform"):
        raise LimbeckError(
            f"the exporter 'wav' writes sound; the generator of this run is {type(network).__name__}. For one that "
            "fits: limbeck list exporters"
        )
    sampler, steps, data = run.built.sampler, run.built.sampling_steps, run.built.data
    cond = grid_conditions(data, chosen.count, chosen.seed)
    made = generate(network, sampler, steps=steps, count=chosen.count, cond=cond, seed=chosen.seed)
    if not bool(torch.isfinite(made.samples.value).all()):
        raise NonFinite("the student's samples are not finite. Export an earlier checkpoint")
    sounds, rate = made.samples.seen(), _rate(network.space.codec)
    words = captions_of(cond, chosen.count, getattr(data, "words", None)) or ["sound"] * chosen.count
    directory = prepare(directory, chosen.overwrite)
    paths = [directory / f"{k:03d}-{_file_name(word)}.{chosen.format}" for k, word in enumerate(words)]
    for path, sound in zip(paths, sounds, strict=True):
        wav.write(path, sound, rate)
    listed = [{"file": path.name, "word": word} for path, word in zip(paths, words, strict=True)]
    facts = {
        "samples": listed,
        "rate": rate,
        "seconds": sounds.shape[-1] / rate,
        "steps": steps,
        "evaluations": made.evaluations,
        "seed": chosen.seed,
        "vocoder": _vocoder(network.space.codec),
    }
    write_json(directory / "samples.json", facts)
    return [*paths, directory / "samples.json"]


def _rate(codec: Any) -> int:
    """Hz: of the mel front end, or of the autoencoder of a pipeline."""
    config = getattr(getattr(codec, "vae", None), "config", None)
    return int(getattr(codec, "rate", None) or getattr(config, "sampling_rate", None) or RATE)


def _vocoder(codec: Any) -> str:
    if isinstance(codec, MelCodec):
        return f"Griffin-Lim, {codec.iterations} iterations"
    return type(getattr(codec, "vae", codec)).__name__


def _file_name(word: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in word) or "sound"


__all__ = ["export_wav"]
