"""What a recipe may hold: the typed form of its YAML. No torch."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, field_validator

from limbeck.scheduled import Scheduled, bounds

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Schedule = Literal["constant", "cosine", "linear"]


class Section(BaseModel):
    """Frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# --- blocks that name a component ------------------------------------------------------------------------------------


class Block(BaseModel):
    """`{use: NAME, **options}`: a registered component and its options. A component given as a Python object is
    `object`; `use` then only describes it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    use: str = Field(min_length=1, description="registered name, or plugin/name")
    _object: Any = PrivateAttr(default=None)

    @property
    def options(self) -> dict[str, Any]:
        """The component's own options."""
        return dict(self.model_extra or {})

    @property
    def object(self) -> Any:
        """The component itself when it was given as a Python object, else None."""
        return self._object


class Guidance(Section):
    """Classifier-free guidance of the teacher: uncond + scale * (cond - uncond), at times inside `interval` only."""

    scale: Scheduled
    interval: tuple[NotNegative, NotNegative] | None = None

    @field_validator("scale")
    @classmethod
    def _not_negative(cls, scale: Any) -> Any:
        if bounds(scale)[0] < 0:
            raise ValueError("a guidance scale is 0 or more")
        return scale


def _guidance(value: Any) -> Any:
    short = isinstance(value, int | float | str) or (isinstance(value, Mapping) and "start" in value)
    return {"scale": value} if short and not isinstance(value, bool) else value


class TeacherBlock(Block):
    guidance: Annotated[Guidance | None, BeforeValidator(_guidance)] = Field(
        default=None, description="classifier-free guidance: a scale, or {scale, interval}"
    )


class LoRA(Section):
    """Low-rank adapters on the teacher's weights (Hu et al. 2022), in place of a full copy."""

    rank: Count = 8
    alpha: Positive = 16.0
    dropout: Fraction = 0.0
    targets: tuple[str, ...] | None = Field(
        default=None, description="names of the adapted layers; the model's own choice when absent"
    )


class GeneratorBlock(Block):
    lora: LoRA | None = Field(default=None, description="with init: teacher, train adapters instead of a full copy")
    init: str = Field(
        default="random",
        min_length=1,
        description="starting weights: teacher, random, a run folder or a .safetensors file",
    )


class SamplingBlock(Block):
    steps: Count = Field(default=1, description="steps of the sampler")


# --- sections --------------------------------------------------------------------------------------------------------


class PhaseOptions(Section):
    """What one phase does differently from `train`. None: as in `train`."""

    lr: Positive | None = None
    betas: tuple[Fraction, Fraction] | None = None
    weight_decay: NotNegative | None = None
    clip: Positive | None = None
    schedule: Schedule | None = None
    warmup: Annotated[int, Field(ge=0)] | None = None


class Checkpoints(Section):
    every: Count = Field(default=500, description="steps between checkpoints; the last step is always saved")
    keep: Count = Field(default=2, description="how many of the newest to keep")


def _list(value: Any) -> Any:
    return () if value is None else value if isinstance(value, list | tuple) else (value,)


class Train(Section):
    steps: Count = Field(default=1000, description="generator updates")
    batch_size: Count = Field(default=64, description="global batch: all processes and accumulation together")
    lr: Positive = 1e-4
    optimizer: Literal["adamw", "adam", "radam", "sgd"] = "adamw"
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    weight_decay: NotNegative = 0.0
    schedule: Schedule = "constant"
    warmup: int = Field(default=0, ge=0, description="steps of linear warm-up")
    clip: Positive | None = Field(default=None, description="largest gradient norm; null for no clipping")
    accumulate: Count = Field(default=1, description="micro-batches per update")
    ema: Annotated[tuple[Fraction, ...], BeforeValidator(_list)] = Field(
        default=(), description="decay, or several; the first is used for evaluation and export; null for none"
    )
    seed: int = Field(default=0, ge=0, lt=2**63)
    phases: Mapping[str, PhaseOptions] = Field(default_factory=dict, description="differences by phase name")
    checkpoint: Checkpoints = Checkpoints()
    precision: Literal["no", "bf16", "fp16"] = "no"
    parallel: Literal["ddp", "fully_shard"] = Field(
        default="ddp",
        description="with several processes: every network whole in each (ddp), or weights, gradients, averages and "
        "optimizer states spread over them (fully_shard)",
    )
    shard_teacher: bool = Field(default=False, description="with fully_shard, spread the frozen teacher as well")
    compile: bool = False
    on_nonfinite: Literal["stop", "skip"] = "stop"
    log_every: Count = Field(default=10, description="steps between lines of metrics.jsonl")
    trackers: Annotated[tuple[str, ...], BeforeValidator(_list)] = Field(
        default=(), description="accelerate's trackers"
    )
    threads: Count | None = Field(default=None, description="torch's threads; null leaves them as they are")


def _block(value: Any) -> Any:
    return {"use": value} if isinstance(value, str) else value


class Evaluate(Section):
    every: Count | None = Field(default=None, description="steps between evaluations; null: only at the end")
    samples: Count = 1000
    batch_size: Count = 256
    metrics: Annotated[tuple[Annotated[Block, BeforeValidator(_block)], ...], BeforeValidator(_list)] = ()
    seed: int = Field(default=0, ge=0, lt=2**63)
    compare: bool = Field(default=True, description="end with a table of teacher, teacher cut short, student")
    grid: int = Field(default=64, ge=0, description="samples in the grids drawn while training; 0 for none")
    teacher: Annotated[SamplingBlock | None, BeforeValidator(_block)] = Field(
        default=None, description="how the teacher is sampled for comparison: {use: heun, steps: 18}"
    )
    teacher_fewest: Annotated[SamplingBlock | None, BeforeValidator(_block)] = Field(
        default=None,
        description="the teacher at the fewest evaluations that keep its quality (see limbeck.evaluation."
        "fewest_evaluations): a row of its own, and speed-ups are stated against it",
    )


class Report(Section):
    write: bool = Field(default=True, description="write report.html at the end")
    title: str | None = None


class Schema(Section):
    """The keys of a recipe."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100, description="names the run's folder")
    teacher: TeacherBlock | None = Field(default=None, description="what is distilled; absent in a pretraining recipe")
    generator: GeneratorBlock
    objective: Block
    data: Block | None = None
    source: Block | None = Field(
        default=None, description="where batches come from; the objective's default when absent"
    )
    sampling: SamplingBlock | None = Field(
        default=None, description="how the student is sampled; the objective's default when absent"
    )
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    callbacks: Annotated[tuple[Annotated[Block, BeforeValidator(_block)], ...], BeforeValidator(_list)] = ()
    export: Annotated[tuple[Annotated[Block, BeforeValidator(_block)], ...], BeforeValidator(_list)] = Field(
        default=(), description="exporters that run at the end, each into exports/NAME of the run's folder"
    )
    report: Report = Report()
    shortcuts: Mapping[str, str] = Field(
        default_factory=dict,
        description="short names for overrides: {prompt: data.prompt} lets `limbeck distill NAME prompt=...` set it",
    )
    variants: Mapping[str, Mapping[str, Any]] = Field(
        default_factory=dict,
        description="by objective name, overrides path: value that `limbeck compare` makes when it runs that objective",
    )


# --- where components are named --------------------------------------------------------------------------------------


class Slot(NamedTuple):
    """A place in a recipe that names components of one kind."""

    path: tuple[str, ...]
    kind: str
    model: type[Block] = Block
    many: bool = False  # a list of blocks

    @property
    def own_keys(self) -> tuple[str, ...]:
        """Keys of the block that are not the component's options."""
        return tuple(key for key in self.model.model_fields if key != "use")


SLOTS = (
    Slot(("teacher",), "teacher", TeacherBlock),
    Slot(("generator",), "generator", GeneratorBlock),
    Slot(("objective",), "objective"),
    Slot(("data",), "data"),
    Slot(("source",), "source"),
    Slot(("sampling",), "sampler", SamplingBlock),
    Slot(("evaluate", "teacher"), "sampler", SamplingBlock),
    Slot(("evaluate", "teacher_fewest"), "sampler", SamplingBlock),
    Slot(("evaluate", "metrics"), "metric", many=True),
    Slot(("callbacks",), "callback", many=True),
    Slot(("export",), "exporter", many=True),
)


def slot_at(path: Sequence[str | int]) -> Slot | None:
    """The slot that holds what lies at `path`, if any does."""
    return next((slot for slot in SLOTS if tuple(path[: len(slot.path)]) == slot.path), None)


def value_at(data: Any, path: Sequence[str]) -> Any:
    """What lies at `path` of nested mappings; None where there is nothing."""
    for key in path:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data
