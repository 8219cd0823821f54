"""The networks of a run: on the device, wrapped for several processes, with their averages."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

from limbeck.engine.distributed import Distributed, shard_teacher, wrap_roles
from limbeck.engine.ema import EMA
from limbeck.errors import RecipeError
from limbeck.networks.sharding import is_sharded, plain_copy


class Roles:
    """`bare` and `wrapped` are networks by role name; `spread` means that they lie in several processes."""

    def __init__(self, built: Any, options: Any, distributed: Distributed):
        self.built, self.main = built, distributed.main
        objective, teacher = built.objective, built.teacher
        if teacher is not None:
            teacher.to(distributed.device)
        self.wrapped = wrap_roles(objective, distributed, options.parallel, teacher)
        self.bare = objective.roles()
        self.spread = any(is_sharded(module) for module in self.wrapped.values())
        if teacher is not None and self.spread and options.shard_teacher:
            shard_teacher(teacher, objective, distributed)
        if options.compile:
            for module in (*self.bare.values(), *([teacher] if teacher is not None else [])):
                module.compile()
        self.ema: EMA | None = None
        if options.ema:
            if "generator" not in self.bare:
                raise RecipeError(f"train.ema averages role 'generator'; the objective has only {sorted(self.bare)}")
            self.ema = EMA(self.bare["generator"], options.ema)

    @property
    def student(self) -> Any:
        """The network that leaves the run, as it is trained."""
        return self.bare.get("generator", self.built.generator)

    @contextmanager
    def shown(self) -> Iterator[Any]:
        """What is built, with the student on averaged weights, in the main process; None in the others. The main
        process works alone inside, so it gets copies of networks that are spread over all."""
        if not self.spread:
            with self.ema.applied() if self.main and self.ema is not None else nullcontext():
                yield replace(self.built, generator=self.student) if self.main else None
            return
        average = self.ema.state_dict(self.ema.decays[0]) if self.ema is not None else None
        student = plain_copy(self.student, average, keep=self.main)
        teacher: Any = self.built.teacher
        if teacher is not None and is_sharded(teacher):
            teacher = plain_copy(teacher, keep=self.main)
        yield replace(self.built, generator=student, teacher=teacher) if self.main else None

    def gather_student(self) -> None:
        """A whole student for whoever samples or exports after the run, where it is spread. Every process calls it."""
        if self.spread:
            self.built.generator = plain_copy(self.student)
