"""Options of sources."""

from pydantic import Field

from limbeck.options import Options


class CompletionOptions(Options):
    """What every source of completions has."""

    prompt: int = Field(32, ge=1, description="first tokens that are completed, where the data itself has no prompts")
    length: int | None = Field(
        None, ge=1, description="tokens of a completion; null: what is left of the data's windows"
    )
    temperature: float = Field(1.0, ge=0, description="of the sampling; 0 is greedy")
    top_p: float = Field(1.0, gt=0, le=1, description="smallest set of tokens with so much probability")
    stop: bool = Field(True, description="end at an end-of-sequence token; false: write the next document behind it")


class OnPolicySourceOptions(CompletionOptions):
    """Completions that the student writes while it learns."""

    student_fraction: float | None = Field(
        None,
        ge=0,
        le=1,
        description="chance that a batch is the student's; null: the objective's (gkd has one), else 1",
    )


class TeacherTextSourceOptions(CompletionOptions):
    """Completions that the teacher writes."""

    count: int = Field(2048, ge=0, description="completions, written once and kept in memory; 0: new ones every step")
    chunk: int = Field(64, ge=1, description="completions written at a time")
    seed: int = Field(0, ge=0, description="seed of the prompts and the sampling")
