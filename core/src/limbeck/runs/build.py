"""From a recipe to the objects of a run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from limbeck.engine import tensor_file
from limbeck.engine.checkpoint import last_good
from limbeck.errors import LimbeckError, MissingAbility, RecipeError
from limbeck.interfaces import Data, Generator, Metric, Objective, Sampler, Source, Space, Teacher
from limbeck.networks.guidance import Guided, unguided
from limbeck.plugins.registry import create, registry
from limbeck.randomness import Rng


@dataclass
class Built:
    """Everything a recipe names, built and introduced to each other."""

    recipe: Any
    generator: Generator
    objective: Objective
    source: Source
    sampler: Sampler | None
    sampling_steps: int = 1
    teacher: Teacher | None = None
    data: Data | None = None
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    callbacks: tuple[Any, ...] = ()
    sampling: Mapping[str, Any] = field(default_factory=dict)

    @property
    def space(self) -> Space:
        return self.generator.space

    @property
    def process(self) -> Any:
        """The process of the generator, or of the teacher when the generator has none (a scene)."""
        found = getattr(self.generator, "process", None)
        return found if found is not None or self.teacher is None else self.teacher.process


def build(recipe: Any) -> Built:
    """Build a recipe. Equal recipes give equal weights: every component starts from a random stream of its own."""
    seed = recipe.train.seed

    def make(kind: str, block: Any, place: str, **partners: Any) -> Any:
        if block is None:
            return None
        if block.object is not None:
            return block.object
        Rng(seed, phase=f"build/{place}").seed_globally()
        return create(kind, block.use, **partners, **block.options)

    data = make("data", recipe.data, "data")
    teacher = make("teacher", recipe.teacher, "teacher")
    if teacher is not None:
        teacher.freeze()
        if recipe.teacher.guidance is not None:
            guidance = recipe.teacher.guidance
            teacher = Guided(teacher, guidance.scale, guidance.interval).freeze()
    generator = _generator(recipe, teacher, make)
    if isinstance(data, Data):
        data.prepare(generator if teacher is None else unguided(teacher))
    _check_meaning(recipe, data, generator)
    objective = make("objective", recipe.objective, "objective")
    Rng(seed, phase="build/setup").seed_globally()
    try:
        objective.setup(generator, teacher)
    except ValueError as error:  # options and partners that do not fit, refused in the objective's own words
        raise RecipeError(str(error)) from error
    if not objective.roles():
        raise LimbeckError(
            f"objective '{recipe.objective.use}' has no roles after setup, so nothing would be trained. Its setup must "
            "call add_role('generator', generator)"
        )
    source = _source(recipe, objective, data, teacher, generator, make)
    sampling = dict(recipe.sampling.model_dump()) if recipe.sampling is not None else dict(objective.sampling())
    sampler = _sampler(recipe, sampling, seed)
    metrics: dict[str, Metric] = {}
    for block in recipe.evaluate.metrics:
        name = block.use if block.use not in metrics else f"{block.use} {len(metrics) + 1}"
        metrics[name] = make("metric", block, f"metric/{name}")
    if metrics and data is None:
        raise RecipeError("evaluate.metrics compare with real data, but the recipe has no data. Add data: {use: NAME}")
    callbacks = tuple(make("callback", block, f"callback/{i}") for i, block in enumerate(recipe.callbacks))
    return Built(
        recipe=recipe, generator=generator, objective=objective, source=source, sampler=sampler,
        sampling_steps=int(sampling.get("steps", 1)), teacher=teacher, data=data, metrics=metrics, callbacks=callbacks,
        sampling=sampling,
    )  # fmt: skip


def _check_meaning(recipe: Any, data: Data | None, generator: Generator) -> None:
    """Refuse data whose numbers mean something else to the generator: token ids of another tokenizer."""
    codecs = [getattr(getattr(partner, "space", None), "codec", None) for partner in (data, generator)]
    written, read = (codec.fingerprint() if codec is not None else None for codec in codecs)
    if written is not None and read is not None and written != read:
        raise RecipeError(
            f"data '{recipe.data.use}' and generator '{recipe.generator.use}' use different tokenizers, so the ids of "
            "one mean other words to the other. Give the data the model's tokenizer (data.tokenizer: FOLDER), or take "
            "a model of the data's"
        )


def _source(recipe: Any, objective: Objective, data: Any, teacher: Any, generator: Any, make: Any) -> Source:
    partners = {"data": data, "teacher": teacher, "generator": generator, "objective": objective}
    if recipe.source is not None:
        return make("source", recipe.source, "source", **partners)
    Rng(recipe.train.seed, phase="build/source").seed_globally()
    return create("source", objective.default_source, **partners)


def _sampler(recipe: Any, sampling: Mapping[str, Any], seed: int) -> Sampler | None:
    if recipe.sampling is not None and recipe.sampling.object is not None:
        return recipe.sampling.object
    use = sampling.get("use")
    if use is None or isinstance(use, Sampler):
        return use
    Rng(seed, phase="build/sampler").seed_globally()
    return create("sampler", use, **{key: value for key, value in sampling.items() if key not in ("use", "steps")})


# --- the generator and its first weights -----------------------------------------------------------------------------


def _generator(recipe: Any, teacher: Teacher | None, make: Any) -> Generator:
    block = recipe.generator
    start = block.init
    if block.lora is not None:
        if start != "teacher" or teacher is None or not _all_default(block):
            raise RecipeError(
                "generator.lora adapts the teacher's own network: use init: teacher and no other options; got init: "
                f"{start}"
            )
        return _copy(teacher, "lora", **block.lora.model_dump())
    if start == "teacher":
        if teacher is None:
            raise RecipeError("generator.init is 'teacher', but the recipe has none. Allowed: random, a run, a file")
        if block.object is None and _all_default(block):
            return _copy(teacher, "full")
    generator = make("generator", block, "generator")
    if start == "random":
        return generator
    if start == "teacher":
        assert teacher is not None
        load_weights(generator, teacher.trainable_copy("full").state_dict(), "generator.init: teacher")
    else:
        load_weights(generator, weights_of(start), f"generator.init: {start}")
    return generator


def _copy(teacher: Teacher, mode: Literal["full", "lora"], **options: Any) -> Generator:
    try:
        return teacher.trainable_copy(mode, **options)
    except TypeError as error:
        raise MissingAbility(f"generator.init: {error}. Use init: random, or another teacher") from error


def _all_default(block: Any) -> bool:
    """Whether the block gives nothing but the name. A checked recipe has every default filled in."""
    if not block.options:
        return True
    try:
        model: Any = registry.options_model("generator", block.use)
        usual, given = model().model_dump(mode="json"), model.model_validate(block.options).model_dump(mode="json")
    except ValueError:  # an option without a default was given
        return False
    return given == usual


def weights_of(place: str) -> dict[str, Tensor]:
    """Generator weights from a run folder (its last good checkpoint, averaged when it has an average) or a file."""
    path = Path(place).expanduser()
    if path.suffix == ".safetensors" and path.is_file():
        return tensor_file.read(path)
    if (path / "checkpoints").is_dir():
        checkpoint, _ = last_good(path / "checkpoints")
        if checkpoint is not None:
            return checkpoint.tensors(generator_file(checkpoint))
        raise RecipeError(f"generator.init: the run {place} has no checkpoint yet")
    raise RecipeError(
        f"generator.init: '{place}' is neither 'teacher', 'random', a .safetensors file nor a run with checkpoints"
    )


def generator_file(checkpoint: Any, ema: bool = True) -> str:
    """Which file of a checkpoint holds the generator to use: its first average when there is one."""
    decays = checkpoint.state.get("ema", [])
    return f"ema-{decays[0]}" if ema and decays else "generator"


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    """Strict: every tensor must find its place."""
    own = module.state_dict()
    missing, strangers = sorted(set(own) - set(weights)), sorted(set(weights) - set(own))
    shapes = [k for k in own if k in weights and own[k].shape != weights[k].shape]
    if missing or strangers or shapes:
        problems = [f"{len(missing)} missing, first '{missing[0]}'"] if missing else []
        problems += [f"{len(strangers)} unknown, first '{strangers[0]}'"] if strangers else []
        problems += [f"'{k}' has shape {tuple(weights[k].shape)}, expected {tuple(own[k].shape)}" for k in shapes[:1]]
        raise RecipeError(
            f"{where}: the weights do not fit {type(module).__name__} ({'; '.join(problems)}). Give the generator the "
            "options that the weights were trained with"
        )
    module.load_state_dict(dict(weights))
