"""Data, metrics, views and exporters of limbeck-audio, for the manifest. Imports neither torch nor pydantic."""

from limbeck.manifest import Component

_PACKAGE = "limbeck_audio"
_OPTIONS = f"{_PACKAGE}.options.sounds"
_SMALL = {"voices": ["en-us", "en-us+f2"], "held_out_voices": ["en-us+m3"], "pitches": [50], "speeds": [130, 160]}

COMPONENTS = [
    Component(
        "data",
        "spoken_digits",
        f"{_PACKAGE}.data.speech:SpokenDigits",
        summary="the ten digits by espeak-ng: 2,880 clips in 24 voices to train on, 720 in six others held out",
        options=f"{_OPTIONS}:SpokenDigitsOptions",
        modality="audio",
        can={"samples", "conditions", "held_out"},
        extra="speech",
        example=_SMALL,
    ),
    Component(
        "data",
        "spoken_words",
        f"{_PACKAGE}.data.speech:SpokenWords",
        summary="short words of your choice by espeak-ng, in many voices, whole voices held out",
        options=f"{_OPTIONS}:SpokenWordsOptions",
        modality="audio",
        can={"samples", "conditions", "held_out"},
        extra="speech",
        example=_SMALL,
    ),
    Component(
        "data",
        "audio_folder",
        f"{_PACKAGE}.data.folder:AudioFolder",
        summary="any folder of WAV, FLAC, OGG or MP3 files, converted to clips; folders below it name the words",
        options=f"{_OPTIONS}:AudioFolderOptions",
        modality="audio",
        can={"samples", "conditions", "held_out"},
        example=None,
    ),
    Component(
        "metric",
        "frechet_audio",
        f"{_PACKAGE}.metrics.speech:FrechetAudio",
        summary="Frechet distance to the training clips (and to the held-out voices) in classifier features",
        modality="audio",
        reference="Kilgour et al. 2019",
    ),
    Component(
        "metric",
        "digit_accuracy",
        f"{_PACKAGE}.metrics.speech:DigitAccuracy",
        summary="share of samples that the classifier hears as the digit asked for",
        modality="audio",
    ),
    Component(
        "metric",
        "log_spectral_distance",
        f"{_PACKAGE}.metrics.speech:LogSpectralDistance",
        summary="decibels to the nearest real clip of the same word: among training clips, among held-out voices",
        modality="audio",
        reference="Gray & Markel 1976",
    ),
    Component(
        "metric",
        "real_time_factor",
        f"{_PACKAGE}.metrics.speech:RealTimeFactor",
        summary="seconds of work for a second of sound, with the vocoder and without",
        options=f"{_OPTIONS}:RealTimeOptions",
        modality="audio",
    ),
    Component(
        "view",
        "mel",
        f"{_PACKAGE}.views.spectrograms:mel",
        summary="a grid of spectrograms, with players for the first ten sounds",
        modality="audio",
    ),
    Component(
        "view",
        "waveform",
        f"{_PACKAGE}.views.spectrograms:waveform",
        summary="the same for waveforms at 44,100 Hz, which pipelines of diffusers make",
        modality="audio",
    ),
    Component(
        "exporter",
        "wav",
        f"{_PACKAGE}.exporters.sounds:export_wav",
        summary="samples as 16-bit WAV or FLAC files at 16 kHz, one for each",
        options=f"{_OPTIONS}:WavExportOptions",
        modality="audio",
    ),
]
