"""Exporters of sound. No torch, no pydantic."""

from limbeck.manifest import Component

COMPONENTS = [
    Component(
        "exporter",
        "wav",
        "limbeck_audio.exporters.sounds:export_wav",
        summary="samples as 16-bit WAV or FLAC files at 16 kHz, one for each",
        options="limbeck_audio.options.exporters:WavExportOptions",
        modality="audio",
    ),
]
