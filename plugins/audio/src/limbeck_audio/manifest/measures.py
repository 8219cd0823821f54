"""Metrics and views of sound. No torch, no pydantic."""

from limbeck.manifest import Component

COMPONENTS = [
    Component(
        "metric",
        "frechet_audio",
        "limbeck_audio.metrics.frechet:FrechetAudio",
        summary="Frechet distance to the training clips (and to the held-out voices) in classifier features",
        modality="audio",
        reference="Kilgour et al. 2019",
    ),
    Component(
        "metric",
        "digit_accuracy",
        "limbeck_audio.metrics.speech:DigitAccuracy",
        summary="share of samples that the classifier hears as the wanted digit",
        modality="audio",
    ),
    Component(
        "metric",
        "log_spectral_distance",
        "limbeck_audio.metrics.spectral:LogSpectralDistance",
        summary="decibels to the nearest real clip of the same word: among training clips, among held-out voices",
        modality="audio",
        reference="Gray & Markel 1976",
    ),
    Component(
        "metric",
        "real_time_factor",
        "limbeck_audio.metrics.real_time:RealTimeFactor",
        summary="seconds of work for a second of sound, with the vocoder and without",
        options="limbeck_audio.options.measures:RealTimeOptions",
        modality="audio",
    ),
    Component(
        "view",
        "mel",
        "limbeck_audio.views.spectrograms:mel",
        summary="a grid of spectrograms, with players for the first ten sounds",
        modality="audio",
    ),
    Component(
        "view",
        "waveform",
        "limbeck_audio.views.spectrograms:waveform",
        summary="the same for waveforms at 44,100 Hz, which pipelines of diffusers make",
        modality="audio",
    ),
]
