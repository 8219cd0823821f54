"""Options of exporters. No torch here: the registry reads them before anything heavy loads."""

from typing import Literal

from pydantic import Field

from limbeck.options import Options


class WavExportOptions(Options):
    """Samples as sound files."""

    count: int = Field(20, ge=1, le=1000, description="samples, every word in turn")
    seed: int = Field(0, ge=0, description="of the noise they start from")
    format: Literal["wav", "flac"] = Field("wav", description="16-bit WAV, or the same without loss in half the space")
    overwrite: bool = Field(False, description="replace files of an earlier export in the folder")
