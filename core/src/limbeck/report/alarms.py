"""Signs that a run went wrong, read from its numbers, each with advice. Few, simple, and silent on a healthy run."""

import statistics
from dataclasses import dataclass

from limbeck.report.curves import evaluation_series, phase_series, spoken
from limbeck.report.reading import Record

CHECKS = (
    "losses and metrics finite",
    "recall did not collapse between evaluations",
    "critic keeps up with the student",
    "last evaluation near the best one",
    "samples are not copies of training data (where a metric shows it)",
)


@dataclass(frozen=True)
class Alarm:
    title: str
    text: str
    advice: str


def alarms(record: Record) -> list[Alarm]:
    return [
        *_not_finite(record),
        *_recall_collapse(record),
        *_critic_lags(record),
        *_got_worse(record),
        *_copies(record),
    ]


def _not_finite(record: Record) -> list[Alarm]:
    holes = []
    for phase, quantities in phase_series(record).items():
        for key, (x, y) in quantities.items():
            steps = [step for step, value in zip(x, y, strict=True) if value is None]
            if steps:
                holes.append(f"{spoken(key)} of phase {phase} from step {steps[0]} ({len(steps)} of {len(x)} steps)")
    for key, (x, y) in evaluation_series(record).items():
        steps = [step for step, value in zip(x, y, strict=True) if value is None]
        if steps:
            holes.append(f"metric {key} at step {steps[0]}")
    found = []
    if holes:
        found.append(Alarm("Values that are not finite", "; ".join(holes[:4]) + ".", _finite_advice(record)))
    for folder, reason in record.failures:
        text = f"{reason} Batch and states are in failures/{folder}.".strip()
        found.append(Alarm("A step failed", text, _finite_advice(record)))
    return found


def _finite_advice(record: Record) -> str:
    advice = "Lower train.lr, or set train.clip=1.0."
    if record.block("train").get("precision") == "fp16":
        advice += " fp16 overflows beyond 65,504: try train.precision=bf16 or no."
    return advice


def _recall_collapse(record: Record) -> list[Alarm]:
    """Recall (or coverage) that loses more than half of what it had, and more than 0.1."""
    found = []
    for key, (x, y) in evaluation_series(record).items():
        if "recall" not in key and "coverage" not in key:
            continue
        known = [(step, value) for step, value in zip(x, y, strict=True) if value is not None]
        for k, (step, value) in enumerate(known[1:], start=1):
            best_step, best = max(known[:k], key=lambda point: point[1])
            if value < 0.5 * best and best - value > 0.1:
                later = [later_value for _, later_value in known[k:]]
                recovered = later[-1] > 0.8 * best
                text = f"{spoken(key)} fell from {best:.2f} (step {best_step}) to {value:.2f} (step {step})"
                text += f"; it came back to {later[-1]:.2f}." if recovered else ": samples cover less of the data."
                found.append(Alarm("Mode collapse", text, _critic_advice(record)))
                break
    return found


def _critic_lags(record: Record) -> list[Alarm]:
    """A critic whose loss, in the last tenth, is 1.5 times the lowest it was over any earlier tenth."""
    series = phase_series(record).get("critic", {}).get("loss")
    if series is None:
        return []
    values = [value for value in series[1] if value is not None]
    if len(values) < 40:
        return []
    window = len(values) // 10
    medians = [statistics.median(values[k : k + window]) for k in range(0, len(values) - window + 1, window)]
    floor, now = min(medians), medians[-1]
    if floor <= 0 or now < 1.5 * floor:
        return []
    text = (
        f"The critic's loss is {now:.3g}, {now / floor:.1f} times its lowest ({floor:.3g}): it lags behind the student."
    )
    return [Alarm("Critic lags", text, _critic_advice(record))]


def _critic_advice(record: Record) -> str:
    updates = (record.block("objective").get("critic") or {}).get("updates")
    phases = record.block("train").get("phases") or {}
    base = record.block("train").get("lr")
    rate = (phases.get("critic") or {}).get("lr") or base
    advice = []
    if isinstance(updates, int):
        advice.append(f"objective.critic.updates={2 * updates}")
    if isinstance(rate, int | float) and "critic" in phase_series(record):
        advice.append(f"train.phases.critic.lr={2 * rate:g}")
    if isinstance(base, int | float):
        advice.append(f"train.lr={base / 2:g}")
    return "Try " + " or ".join(advice) + "." if advice else "Lower the generator's learning rate."


def _got_worse(record: Record) -> list[Alarm]:
    """The primary metric ended more than a quarter worse than its best evaluation."""
    primary = record.table.get("primary") or next(iter(evaluation_series(record)), None)
    better = record.table.get("better", {}).get(primary, "lower")
    series = evaluation_series(record).get(primary) if primary else None
    if primary is None or series is None or better != "lower":
        return []
    known = [(step, value) for step, value in zip(*series, strict=True) if value is not None]
    if len(known) < 3:
        return []
    best_step, best = min(known, key=lambda point: point[1])
    last_step, last = known[-1]
    if best <= 0 or last < 1.25 * best:
        return []
    text = f"{spoken(primary)} was {best:.3g} at step {best_step} and is {last:.3g} at step {last_step}."
    return [
        Alarm(
            "It was better before",
            text,
            f"Stop earlier (train.steps={best_step}) or let train.schedule=cosine cool down.",
        )
    ]


def _copies(record: Record) -> list[Alarm]:
    """The share of samples that lie nearer to a training example than honest ones do (metric `copied`)."""
    x, y = evaluation_series(record).get("copied", ([], []))
    if not y or y[-1] is None or y[-1] < 0.1:
        return []
    text = f"{100 * y[-1]:.0f} % of the samples at step {x[-1]} lie unusually near to a training example."
    return [
        Alarm("Copies of training data", text, "Train for fewer steps, add dropout or data, or use a smaller model.")
    ]
