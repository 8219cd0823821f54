"""Options of metrics. No torch here: the registry reads them before anything heavy loads."""

from pydantic import Field

from limbeck.options import Options


class RealTimeOptions(Options):
    """Seconds of work for a second of sound."""

    batch: int = Field(1, ge=1, le=512, description="clips made at once")
    repeats: int = Field(5, ge=1, le=100, description="runs of the vocoder that the median is taken of")
