"""Options of data. No torch here: the registry reads them before anything heavy loads."""

from typing import Literal

from pydantic import Field

from limbeck.options import Options


class DigitsDataOptions(Options):
    """Scikit-learn's handwritten digits."""

    split: Literal["train", "held_out"] = Field("train", description="rows that batches are drawn from")
