"""What a check is, and the report of a run of checks. No pytest here."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Literal

Outcome = Literal["passed", "failed", "skipped", "expected failure", "unexpected pass"]


class Skip(Exception):
    """Raised by a check that does not apply, with the reason. A skip is counted and shown, never silent."""


@dataclass
class Case:
    """One object under test and what is known about it.

    make: a fresh, equal object on every call. can: the abilities it declares; they choose the checks. conditions:
    `conditions(n)` gives n conditions, or None for an unconditional object. extra: what a kind needs besides (partners
    of an objective, samples for a metric).
    """

    kind: str
    make: Callable[[], Any]
    can: Set[str] = frozenset()
    conditions: Callable[[int], Any] = lambda n: None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def needs(self, word: str) -> None:
        """Skip unless the object declares this ability."""
        if word not in self.can:
            raise Skip(f"does not declare {word!r}")


@dataclass(frozen=True)
class Check:
    """A named check of one kind. `run(case)` returns, raises Skip, or raises whatever went wrong."""

    kind: str
    name: str
    run: Callable[[Case], None]

    @property
    def help(self) -> str:
        return inspect.getdoc(self.run) or ""


CHECKS: dict[str, dict[str, Check]] = {}


def check_for(*kinds: str) -> Callable[[Callable[[Case], None]], Callable[[Case], None]]:
    """Register a function as a check of these kinds, under its own name."""

    def register(function: Callable[[Case], None]) -> Callable[[Case], None]:
        for kind in kinds:
            CHECKS.setdefault(kind, {})[function.__name__] = Check(kind, function.__name__, function)
        return function

    return register


@dataclass(frozen=True)
class Result:
    name: str
    outcome: Outcome
    reason: str = ""

    @property
    def ok(self) -> bool:
        return self.outcome in ("passed", "skipped", "expected failure")


@dataclass(frozen=True)
class Report:
    """Results by check. True when everything passed, was skipped with a reason, or failed as expected."""

    subject: str
    results: tuple[Result, ...]

    def __bool__(self) -> bool:
        return all(result.ok for result in self.results)

    @property
    def counts(self) -> dict[str, int]:
        outcomes: tuple[Outcome, ...] = ("passed", "failed", "skipped", "expected failure", "unexpected pass")
        return {o: n for o in outcomes if (n := sum(result.outcome == o for result in self.results))}

    @property
    def failures(self) -> dict[str, str]:
        return {result.name: result.reason for result in self.results if not result.ok}

    def __str__(self) -> str:
        summary = ", ".join(f"{n} {outcome}" for outcome, n in self.counts.items()) or "nothing to check"
        lines = [f"{self.subject}: {summary}"]
        for result in self.results:
            if result.outcome != "passed":
                lines.append(f"  {result.outcome:<16} {result.name}: {result.reason}")
        return "\n".join(lines)

    def raise_for_failures(self) -> "Report":
        if not self:
            raise AssertionError(str(self))
        return self


def run_check(check: Check, case: Case, expected: str | None = None) -> Result:
    """One check, with the reason why it is expected to fail, if it is."""
    try:
        check.run(case)
    except Skip as skip:
        if expected is not None:
            return Result(check.name, "unexpected pass", f"it is skipped ({skip}), so no failure of it can be expected")
        return Result(check.name, "skipped", str(skip))
    except Exception as error:  # whatever a plugin raises is a failure of this check alone
        if expected is not None:
            return Result(check.name, "expected failure", expected)
        message = str(error).strip() or type(error).__name__
        if not isinstance(error, AssertionError):
            message = f"{type(error).__name__}: {message}"
        return Result(check.name, "failed", f"{message}\n{check.help}")
    if expected is not None:
        return Result(
            check.name, "unexpected pass", f"expected to fail ({expected}), but it passes: remove the expectation"
        )
    return Result(check.name, "passed")


def run_checks(checks: Iterable[Check], case: Case, expected_failures: Mapping[str, str], subject: str) -> Report:
    checks = list(checks)
    refuse_unknown(expected_failures, {check.name for check in checks}, subject)
    return Report(subject, tuple(run_check(check, case, expected_failures.get(check.name)) for check in checks))


def refuse_unknown(expected_failures: Mapping[str, str], names: set[str], subject: str) -> None:
    """An expectation needs a check of that name and a written reason."""
    from limbeck.errors import did_you_mean

    for name, reason in expected_failures.items():
        if name not in names:
            raise ValueError(
                f"{subject}: no check named {name!r}. {did_you_mean(name, names)}Checks: {', '.join(sorted(names))}"
            )
        if not str(reason).strip():
            raise ValueError(f"{subject}: the expected failure of {name!r} needs a written reason")
