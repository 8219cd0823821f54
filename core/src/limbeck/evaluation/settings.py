"""What the `evaluate` block of a recipe settles: how many samples from which seed, and how models are sampled."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from limbeck.interfaces import Sampler
from limbeck.plugins.registry import create
from limbeck.recipe.schema import SamplingBlock

TEACHER_SAMPLING = SamplingBlock(use="heun", steps=18)  # 35 evaluations, Karras et al. 2022
TOKEN_SAMPLING = SamplingBlock(use="ancestral", steps=32)


@dataclass(frozen=True)
class Settings:
    """Sizes and seed of an evaluation; `grid` is the number of samples in a picture, 0 for none."""

    samples: int
    batch_size: int
    seed: int
    grid: int

    @classmethod
    def of(
        cls, recipe: Any, *, samples: int | None = None, seed: int | None = None, batch_size: int | None = None
    ) -> "Settings":
        """Those of the recipe, but for what is given."""
        block = recipe.evaluate
        return cls(
            samples=block.samples if samples is None else samples,
            batch_size=block.batch_size if batch_size is None else batch_size,
            seed=block.seed if seed is None else seed,
            grid=block.grid,
        )


class Sampling(NamedTuple):
    """A sampler, the steps it takes, and its name in a table."""

    sampler: Sampler
    steps: int
    name: str


def sampling_of(block: SamplingBlock) -> Sampling:
    return Sampling(
        make_sampler(block.object or block.use, block.options), block.steps, name_of(block.object or block.use)
    )


def student_sampling(built: Any) -> Sampling:
    """How the recipe samples its student."""
    block = built.recipe.sampling
    return Sampling(built.sampler, built.sampling_steps, name_of(block.use if block is not None else built.sampler))


def make_sampler(use: str | Sampler, options: Mapping[str, Any]) -> Sampler:
    """A sampler by name and options; an object is the sampler itself."""
    return use if isinstance(use, Sampler) else create("sampler", use, **options)


def name_of(use: str | Sampler) -> str:
    return use if isinstance(use, str) else type(use).__name__
