"""Options of samplers."""

from pydantic import Field

from limbeck.options import Options


class AutoregressiveOptions(Options):
    """Token by token, with a key-value cache."""

    temperature: float = Field(1.0, ge=0, description="divides logits; 0 is greedy")
    top_p: float = Field(1.0, gt=0, le=1, description="smallest set of tokens with so much probability")
    stop: bool = Field(True, description="end at an end-of-sequence token; false: write the next document behind it")
