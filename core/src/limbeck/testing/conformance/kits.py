"""The classes to inherit, and `check` for those who use no pytest. pytest is imported when a test runs, not before."""

import copy
import types
from collections.abc import Callable, Mapping, Set
from typing import Any, ClassVar

from limbeck.testing.conformance import clips, models, objectives, others, plugins, predictors  # noqa: F401  (checks)
from limbeck.testing.conformance.report import CHECKS, Case, Report, refuse_unknown, run_check, run_checks


class Conformance:
    """Base of the kits. Subclass one of them in a test module, define `make()`, and run pytest.

    expected_failures: {check: reason}; such a check must really fail. A check that does not apply is skipped with its
    reason. The names of checks are the names of the tests without `test_`.
    """

    kind: ClassVar[str]
    can: ClassVar[frozenset[str] | set[str] | None] = None
    component: ClassVar[str | None] = None  # a registry name: gives make() and can
    expected_failures: ClassVar[Mapping[str, str]] = {}

    def make(self) -> Any:
        """A fresh, equal object on every call."""
        if self.component is None:
            raise NotImplementedError(f"{type(self).__name__} must define make(), or component = 'plugin/name'")
        import limbeck
        from limbeck.plugins.registry import registry

        limbeck.rng(0, phase="conformance").seed_globally()
        return registry.create(self.kind, self.component)

    def conditions(self, n: int) -> Any:
        """`n` conditions for the object, or None."""
        return None

    def case(self) -> Case:
        return Case(
            self.kind,
            self.make,
            _abilities(self.kind, self.can, self.component, self.make),
            self.conditions,
            self.extra(),
        )

    def extra(self) -> dict[str, Any]:
        return {}

    def report(self) -> Report:
        """All checks at once, without pytest."""
        return run_checks(CHECKS[self.kind].values(), self.case(), self.expected_failures, type(self).__name__)

    def test_no_check_is_left_out(self) -> None:
        """Checks are not removed or overridden: a known failure goes to expected_failures, with its reason."""
        refuse_unknown(self.expected_failures, set(CHECKS[self.kind]), type(self).__name__)
        kit = next(k for k in type(self).__mro__ if k.__module__ == __name__)
        changed = [
            n for n in CHECKS[self.kind] if getattr(type(self), f"test_{n}", None) is not getattr(kit, f"test_{n}")
        ]
        assert not changed, (
            f"overridden checks: {', '.join(changed)}; use expected_failures = {{check: reason}} instead"
        )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "kind" in vars(cls):
            for name in CHECKS[cls.kind]:
                setattr(cls, f"test_{name}", _as_test(name))


def _as_test(name: str) -> Callable[[Any], None]:
    def test(self: Any) -> None:
        import pytest

        result = run_check(CHECKS[self.kind][name], self.case(), self.expected_failures.get(name))
        if result.outcome == "skipped":
            pytest.skip(result.reason)
        if result.outcome == "expected failure":
            pytest.xfail(result.reason)
        if not result.ok:
            pytest.fail(result.reason, pytrace=False)

    test.__name__ = f"test_{name}"
    return test


def _abilities(kind: str, can: Any, component: str | None, make: Callable[[], Any]) -> Set[str]:
    """What is declared: by the class, by the manifest, or else what the object's process implies."""
    if can is not None:
        return frozenset(can)
    if component is not None:
        from limbeck.plugins.registry import registry

        return registry.find(kind, component).component.can
    if kind in ("teacher", "generator"):
        from limbeck.process.categorical import CategoricalProcess

        process = getattr(make(), "process", None)
        if process is not None:
            return frozenset({"categorical" if isinstance(process, CategoricalProcess) else "gaussian", "denoiser"})
    if kind == "data":
        return frozenset({"samples"})
    return frozenset()


class TeacherConformance(Conformance):
    """Holds a teacher to its contract. `can` are the abilities that its manifest declares; `conditions(n)` its
    labels."""

    kind = "teacher"


class GeneratorConformance(Conformance):
    """Holds a generator to its contract; one that is no predictor (a scene, a language model) skips what needs its
    call."""

    kind = "generator"


class ObjectiveConformance(Conformance):
    """Holds an objective to its contract, on small partners of the kit's own.

    make() returns it before setup. `partners()` may return {"generator", "teacher", "data"} where the kit's own lack an
    ability, and `batch(size, rng)` the batches of its source (needed where it reads more than x0, cond, noise, xt and
    t).
    """

    kind = "objective"
    partners: ClassVar[Any] = None
    batch: ClassVar[Any] = None

    def extra(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("partners", "batch") if getattr(self, name) is not None}


class DataConformance(Conformance):
    """Holds a data set to its contract."""

    kind = "data"


class SamplerConformance(Conformance):
    """Holds a sampler to its contract, on Gaussians whose samples are known."""

    kind = "sampler"


class MetricConformance(Conformance):
    """Holds a metric to its contract. Define `data()`: real examples that it can judge, with a held-out split."""

    kind = "metric"

    def data(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define data(): real examples that the metric can judge")

    def extra(self) -> dict[str, Any]:
        return {"data": self.data}


class PluginConformance(Conformance):
    """Holds a plugin to its contract: make() returns its manifest module, or the module's name.

    By "kind name", for what `declared_abilities_are_there` builds: skip_components (reason), component_options
    (options), component_conditions (function of n), component_expected_failures ({check: reason}).
    """

    kind = "plugin"
    skip_components: ClassVar[Mapping[str, str]] = {}
    component_expected_failures: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    component_options: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    component_conditions: ClassVar[Mapping[str, Callable[[int], Any]]] = {}

    def extra(self) -> dict[str, Any]:
        names = ("skip_components", "component_expected_failures", "component_options", "component_conditions")
        return {name: getattr(self, name) for name in names}


def check(
    subject: Any,
    kind: str | None = None,
    *,
    can: frozenset[str] | set[str] | None = None,
    conditions: Callable[[int], Any] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    **extra: Any,
) -> Report:
    """Run every check that applies, without pytest: `print(check(MyTeacher()))`, `check(...).raise_for_failures()`.

    Args:
        subject: an object (copied for every check), a manifest module, or a function that makes a fresh object.
        kind: teacher, generator, objective, data, sampler, metric or plugin; found out when None (a predictor is
        judged as a
            generator when it has parameters that learn, as a teacher otherwise).
        can: declared abilities, which choose the checks.
        conditions: `conditions(n)` gives n conditions.
        expected_failures: {check: reason}; such a check must really fail.
        extra: what a kind needs besides: `partners`, `batch` (objective), `data` (metric), `skip_components` and the
        like,
            `skip_cells` (plugin).
    """
    make, sample = _factory(subject)
    kind = kind or kind_of(sample)
    if kind not in CHECKS:
        raise ValueError(f"nothing is checked for kind {kind!r}; kinds: {', '.join(CHECKS)}")
    case = Case(kind, make, _abilities(kind, can, None, make), conditions or (lambda n: None), extra)
    return run_checks(CHECKS[kind].values(), case, expected_failures or {}, f"{kind} {_name(sample)}")


def _name(sample: Any) -> str:
    return sample.__name__ if isinstance(sample, types.ModuleType) else type(sample).__name__


def _factory(subject: Any) -> tuple[Callable[[], Any], Any]:
    from torch import nn

    from limbeck.interfaces import Data, Metric, Objective, Sampler

    if isinstance(subject, types.ModuleType):
        return (lambda: subject), subject
    if isinstance(subject, nn.Module | Data | Metric | Objective | Sampler):
        return (lambda: copy.deepcopy(subject)), subject
    if callable(subject):
        return subject, subject()
    raise TypeError(
        f"check() takes a component, a manifest module or a function that makes one; got {type(subject).__name__}"
    )


def kind_of(sample: Any) -> str:
    """The kind an object is judged as when none is given."""
    from limbeck.interfaces import Data, Generator, Metric, Objective, Sampler, Teacher

    if isinstance(sample, types.ModuleType):
        return "plugin"
    if isinstance(sample, Teacher) and not (
        isinstance(sample, Generator) and any(p.requires_grad for p in sample.parameters())
    ):
        return "teacher"
    for cls, kind in (
        (Generator, "generator"),
        (Objective, "objective"),
        (Data, "data"),
        (Sampler, "sampler"),
        (Metric, "metric"),
    ):
        if isinstance(sample, cls):
            return kind
    raise TypeError(f"{type(sample).__name__} is nothing that a kit knows; pass kind=, one of {', '.join(CHECKS)}")
