"""espeak-ng through its C interface: text in, sound out, with no program started and nothing left behind.

espeak-ng is licensed under the GPL, version 3 or later. It is loaded at run time, where it is installed; nothing of it
is part of this package. The sound it makes is not covered by its licence.
"""

import _ctypes
import ctypes
import ctypes.util
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.errors import LimbeckError

_SYNCHRONOUS, _DO_NOT_EXIT, _UTF8, _CHARACTERS = 2, 0x8000, 1, 1
_SPEED, _PITCH = 1, 3  # espeak_PARAMETER
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
_ONE_AT_A_TIME = threading.Lock()  # the library keeps its state in global variables


class SpeechError(LimbeckError):
    """espeak-ng is missing or refuses a voice or a text."""

    exit_code = 3


@dataclass(frozen=True)
class Utterance:
    """What to synthesize. pitch 0 to 99 (50 is the voice's own), speed in words a minute, 80 to 450."""

    text: str
    pitch: int = 50
    speed: int = 150


@lru_cache(maxsize=1)
def _library() -> tuple[str, str | None]:
    """Path or name of the library, and the folder that holds espeak-ng-data (None: where the library looks itself)."""
    try:
        import espeakng_loader
    except ImportError:
        pass
    else:
        return espeakng_loader.get_library_path(), str(Path(espeakng_loader.get_data_path()).parent)
    name = ctypes.util.find_library("espeak-ng") or "libespeak-ng.so.1"
    try:
        ctypes.CDLL(name)
    except OSError as err:
        raise SpeechError(
            "spoken words are synthesised by espeak-ng, and it is not installed. Install the wheel that brings it: "
            "pip install 'limbeck-audio[speech]'; or the system's package: apt install libespeak-ng1. "
            "To train on recordings instead: data: {use: audio/audio_folder, path: ...}"
        ) from err
    return name, None


@contextmanager
def _fresh() -> Iterator[tuple[Any, int]]:
    """The library just loaded, and its rate in Hz. Its synthesiser carries the phase of the last sound into the next
    one, in static variables; only loading it anew makes a voice the same whatever was synthesized before."""
    found, data = _library()
    try:
        library = ctypes.CDLL(found)
    except OSError as err:
        raise SpeechError(
            f"espeak-ng ({found}) does not load: {err}. Install the system's package instead and remove the wheel: "
            "apt install libespeak-ng1; pip uninstall espeakng-loader"
        ) from err
    try:
        rate = library.espeak_Initialize(_SYNCHRONOUS, 0, data.encode() if data else None, _DO_NOT_EXIT)
        if rate <= 0:
            raise SpeechError(
                f"espeak-ng ({found}) cannot read its voices (error {rate}). Reinstall it: "
                "pip install --force-reinstall espeakng-loader, or apt install --reinstall espeak-ng-data"
            )
        seed = getattr(library, "espeak_ng_SetRandSeed", None)  # breath is noise, seeded by the clock
        if seed is not None:  # since release 1.52; before, it came from the C library
            seed(ctypes.c_long(1))
        else:
            ctypes.CDLL(None).srand(1)
        yield library, rate
        library.espeak_Terminate()
    finally:
        _ctypes.dlclose(library._handle)


def version() -> str:
    """The release of espeak-ng: other releases sound otherwise."""
    with _ONE_AT_A_TIME, _fresh() as (library, _):
        library.espeak_Info.restype = ctypes.c_char_p
        return library.espeak_Info(None).decode()


def synthesize(voice: str, utterances: Sequence[Utterance]) -> tuple[list[np.ndarray], int]:
    """Sounds of one voice, each (S,) float32 in [-1, 1], and their rate in Hz (22,050).

    `voice` is a language of espeak-ng with a variant: en-us, en-gb-scotland+f2. The same call gives the same sounds.
    """
    with _ONE_AT_A_TIME, _fresh() as (library, rate):
        pieces: list[np.ndarray] = []

        def take(samples, count, events):
            if samples and count > 0:
                pieces.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
            return 0

        callback = _CALLBACK(take)  # kept alive by this name
        library.espeak_SetSynthCallback(callback)
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise SpeechError(
                f"espeak-ng has no voice {voice!r}. Languages: espeak-ng --voices (en-us, en-gb-scotland, de, ...); "
                "a variant follows a plus sign (en-us+f2)"
            )
        sounds = []
        for utterance in utterances:
            pieces.clear()
            library.espeak_SetParameter(_SPEED, utterance.speed, 0)
            library.espeak_SetParameter(_PITCH, utterance.pitch, 0)
            text = utterance.text.encode()
            failed = library.espeak_Synth(text, len(text) + 1, 0, _CHARACTERS, 0, _UTF8, None, None)
            library.espeak_Synchronize()
            if failed or not pieces:
                raise SpeechError(f"espeak-ng made no sound of {utterance.text!r} in voice {voice!r} (error {failed})")
            sounds.append(np.concatenate(pieces).astype(np.float32) / 32768)
        return sounds, rate


__all__ = ["SpeechError", "Utterance", "synthesize", "version"]
