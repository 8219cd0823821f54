"""Options of data. No torch here: the registry reads them before anything heavy loads."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from limbeck.data.options import FolderOptions
from limbeck.options import Options

Voice = Annotated[str, Field(pattern=r"^[\w-]+(\+[\w -]+)?$", description="language of espeak-ng, +variant")]
Pitch = Annotated[int, Field(ge=0, le=99)]
Speed = Annotated[int, Field(ge=80, le=450)]

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COMMANDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")

# A voice is an accent and a throat. Throats of held-out voices are heard in no training voice.
TRAIN_VOICES = (
    "en-us", "en-us+m1", "en-us+m4", "en-us+m7", "en-us+f1", "en-us+f4", "en-us+croak", "en-us+Alex",
    "en", "en+m2", "en+m5", "en+f2", "en+linda", "en+klatt2",
    "en-gb-x-rp+m1", "en-gb-x-rp+m8", "en-gb-x-rp+f2", "en-gb-x-rp+f4",
    "en-gb-scotland+m2", "en-gb-scotland+m7", "en-gb-scotland+f1",
    "en-us-nyc+m5", "en-us-nyc+f2", "en-us-nyc+belinda",
)  # fmt: skip
HELD_OUT_VOICES = ("en-us+m3", "en-us+f3", "en+m6", "en+f5", "en-gb-x-rp+m3", "en-us-nyc+f3")


class SpokenDigitsOptions(Options):
    """Spoken digits, synthesised by espeak-ng: every digit in every voice at every pitch and speed."""

    split: Literal["train", "held_out"] = Field("train", description="held_out: voices never trained on")
    voices: tuple[Voice, ...] = Field(TRAIN_VOICES, min_length=1, description="voices to train on")
    held_out_voices: tuple[Voice, ...] = Field(HELD_OUT_VOICES, min_length=1, description="voices held out")
    pitches: tuple[Pitch, ...] = Field((30, 45, 60), min_length=1, description="50 is the voice's own")
    speeds: tuple[Speed, ...] = Field((120, 140, 160, 180), min_length=1, description="words a minute")

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if both := sorted(set(self.voices) & set(self.held_out_voices)):
            raise ValueError(f"held-out voices are never trained on, but {', '.join(both)} is among both: take it out")
        return self


class SpokenWordsOptions(SpokenDigitsOptions):
    """Any short words, synthesised by espeak-ng; the label is the place in the list."""

    words: tuple[str, ...] = Field(COMMANDS, min_length=1, description="short words, each under a second")

    @model_validator(mode="after")
    def _once(self) -> Self:
        if len(set(self.words)) < len(self.words):
            raise ValueError("words: one is given twice; a word is a class, so give each once")
        if any(not word.strip() for word in self.words):
            raise ValueError("words: one is empty; give a word to speak")
        return self


class AudioFolderOptions(FolderOptions):
    """A folder of sound files; the folder that a file lies in names its class."""

    long: Literal["cut", "first", "skip"] = Field(
        "cut", description="what exceeds a clip of 1.024 s: cut into clips, only its first clip, or skipped"
    )
    min_seconds: float = Field(0.1, gt=0, le=1.024, description="shorter sounds are skipped")
    clipped: float = Field(0.01, ge=0, le=1, description="share of samples at full scale from which a file is skipped")
