"""The words and the table of the report: the sentence at the top, the figures under it, the rows."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limbeck.report.curves import evaluation_series, spoken
from limbeck.report.reading import Record

STATUS = {
    "finished": ("✓", "finished"),
    "running": ("…", "in progress"),
    "interrupted": ("❙❙", "interrupted"),
    "failed": ("✕", "failed"),
}


@dataclass(frozen=True)
class Tile:
    """One figure worth reading first."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Cell:
    text: str
    best: bool = False


@dataclass(frozen=True)
class Row:
    name: str
    note: str
    role: str
    cells: list[Cell]


def number(value: Any, digits: int = 3) -> str:
    """Three significant digits, no exponent where people would not write one."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "n/a"
    if isinstance(value, int) or value == 0:
        return f"{value:,}" if isinstance(value, int) else "0"
    if 1e-3 <= abs(value) < 1e4:
        decimals = max(0, digits - 1 - _exponent(value))
        return f"{value:.{decimals}f}"
    if 1e4 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    return f"{value:.{digits - 1}e}"


def _exponent(value: float) -> int:
    return int(f"{abs(value):e}".split("e")[1])


def duration(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def status_line(record: Record) -> str:
    """What a reader must know before believing the numbers; empty for a finished run."""
    planned = record.planned_steps
    recorded = record.run.get("step")  # not every step is logged
    step = max(record.last_step, recorded) if isinstance(recorded, int) else record.last_step
    where = f"step {step:,}" + (f" of {planned:,}" if planned else "")
    resume = f"limbeck {command_name(record)} --resume {place(record)}"
    match record.status:
        case "finished":
            return ""
        case "running":
            return f"This run has not finished: it is at {where}, and what follows will change. Write it again later."
        case "interrupted":
            return f"This run was interrupted at {where}; everything below is as of then. To go on: {resume}"
        case "failed":
            return f"This run failed at {where}; see the alarms. After the cause is mended: {resume}"
        case other:
            return f"This run is {other}, at {where}."


def command_name(record: Record) -> str:
    return "distill" if record.has_teacher else "pretrain"


def sentence(record: Record) -> str:
    """What was distilled into what, and how well: one sentence."""
    objective = record.block("objective").get("use", "an objective")
    generator = record.block("generator").get("use", "generator")
    rows = record.rows()
    student = rows.get("student")
    primary = primary_metric(record)
    if record.has_teacher:
        teacher = record.block("teacher").get("use", "teacher")
        verb = "was distilled" if record.status == "finished" else "is being distilled"
        text = f"The teacher {teacher} {verb} with {objective} into a student"
        if teacher != generator:
            text += f" ({generator})"
        if student is None:
            steps = record.block("sampling").get("steps")
            text += f" that samples in {steps} step{'s' if steps != 1 else ''}" if steps else ""
            return text + _latest(record, primary) + "."
        return text + _cost_of(rows) + _quality(rows, primary) + "."
    data = record.block("data").get("use", "data")
    verb = "was trained" if record.status == "finished" else "is being trained"
    text = f"A model ({generator}) {verb} from scratch on {data} with {objective}"
    if student is None:
        return text + _latest(record, primary) + "."
    calls = student["evaluations"]
    text += f"; it samples in {number(calls)} network evaluation{'s' if calls != 1 else ''}" if calls else ""
    value, floor = _value(rows, "student", primary), _value(rows, "floor", primary)
    if primary and value is not None:
        text += f"{' with' if calls else '; its'} {spoken(primary)} {'' if calls else 'is '}{number(value)}"
        text += f" (real held-out data: {number(floor)})" if floor is not None else ""
    return text + "."


def _value(rows: Mapping[str, Mapping[str, Any]], role: str, key: str | None) -> float | None:
    value = rows.get(role, {}).get("metrics", {}).get(key)
    return value if isinstance(value, int | float) else None


def _cost_of(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """What a sample of the student costs, beside one of the teacher where the two can be compared."""
    student, master = rows["student"], rows.get("teacher", {})
    calls, full = student["evaluations"], master.get("evaluations")
    if not calls:  # a scene: nothing is evaluated to look at it
        spent = student.get("ms_per_sample")
        return f" that renders a view in {number(spent)} ms" if spent else ""
    cheapest = rows.get("teacher_fewest", master)
    speed = ratio(cheapest, student, "ms_per_sample")
    if full is not None and full <= calls:  # token by token, both of them
        return f" that is {speed} times faster" if speed and float(speed.replace(",", "")) >= 1.05 else ""
    text = f" that needs {number(calls)} network evaluation{'s' if calls != 1 else ''} per sample"
    if full is None:
        return text
    text += f" instead of {number(full)}"
    if speed:
        text += f", {speed} times faster"
        text += f" than the teacher in {number(cheapest['evaluations'])}" if cheapest is not master else ""
    return text


def _quality(rows: Mapping[str, Mapping[str, Any]], primary: str | None) -> str:
    """The primary metric of the student, and the teacher's if it has one."""
    if primary is None or "student" not in rows:
        return ""
    if "teacher" not in rows and _value(rows, "student", primary) is None:
        return ""
    master = _value(rows, "teacher", primary)
    text = f", with {spoken(primary)} {number(_value(rows, 'student', primary))}"
    return text + (f" against the teacher's {number(master)}" if master is not None else "")


def equal_start(record: Record) -> dict[str, str]:
    """What samples that are laid side by side have in common: noise, cameras, or the beginning of a text."""
    shared = {
        "tokens": ("the same seed and beginning", "the same seed and beginnings"),
        "renders": ("the same cameras", "the same cameras"),
    }.get(str(record.run.get("domain")))
    if shared is None:
        return {
            "both": "Teacher and student start from the same noise under the same conditions: compare them place by "
            "place.",
            "real": "Real data has no noise to start from, but the conditions are the same.",
            "over_time": "The same noise and conditions at every step",
        }
    one, many = shared
    return {
        "both": f"Teacher and student are shown with {one} in every place.",
        "real": "Real data stands beside it for comparison.",
        "over_time": f"{many[0].upper()}{many[1:]} at every step",
    }


def _latest(record: Record, primary: str | None) -> str:
    series = evaluation_series(record).get(primary) if primary else None
    if primary is None or series is None:
        return "; it has not been evaluated yet"
    return f"; at step {series[0][-1]:,} its {spoken(primary)} is {number(series[1][-1])}"


def primary_metric(record: Record) -> str | None:
    return record.table.get("primary") or next(iter(evaluation_series(record)), None)


def ratio(over: Mapping[str, Any], under: Mapping[str, Any], key: str) -> str:
    """How many times smaller; empty when unknown."""
    a, b = over.get(key), under.get(key)
    return number(a / b, 2) if a and b else ""


def gap_closed(record: Record) -> float | None:
    """Share of the way from the teacher cut to the student's steps to the full teacher, in the primary metric."""
    rows, primary = record.rows(), primary_metric(record)
    if not primary or not {"teacher", "teacher_cut", "student"} <= set(rows):
        return None
    full, cut, student = (rows[role]["metrics"].get(primary) for role in ("teacher", "teacher_cut", "student"))
    if None in (full, cut, student) or cut == full:
        return None
    if (cut < full) is (record.table.get("better", {}).get(primary, "lower") == "lower"):
        return None  # a teacher that is better when cut short leaves no gap to close
    return (cut - student) / (cut - full)


def tiles(record: Record) -> list[Tile]:
    rows, primary = record.rows(), primary_metric(record)
    student, teacher = rows.get("student"), rows.get("teacher")
    found = []
    if student is not None:
        looked_at = not student["evaluations"]  # a scene
        if not looked_at:
            note = f"teacher: {number(teacher['evaluations'])}" if teacher else ""
            found.append(Tile("network evaluations per sample", number(student["evaluations"]), note))
        against = rows.get("teacher_fewest", teacher)
        speed = ratio(against, student, "ms_per_sample") if against else ""
        if student.get("ms_per_sample"):
            note = ""
            if against and speed and not looked_at:
                note = f"{speed} times faster than the teacher in {number(against['evaluations'])}"
            found.append(
                Tile(f"milliseconds per {'view' if looked_at else 'sample'}", number(student["ms_per_sample"]), note)
            )
        if primary:
            others = (("teacher", _value(rows, "teacher", primary)), ("real data", _value(rows, "floor", primary)))
            notes = [f"{who}: {number(value)}" for who, value in others if value is not None]
            arrow = {"lower": " ↓", "higher": " ↑"}.get(record.table.get("better", {}).get(primary, ""), "")
            found.append(Tile(spoken(primary) + arrow, number(student["metrics"].get(primary)), ", ".join(notes)))
    closed = gap_closed(record)
    if closed is not None:
        cut, full = (number(rows[role]["metrics"][primary]) for role in ("teacher_cut", "teacher"))
        found.append(
            Tile("of the gap closed", f"{100 * closed:.1f} %", f"{rows['teacher_cut']['name']}: {cut}, full: {full}")
        )
    if not found:
        for key, (_, y) in list(evaluation_series(record).items())[:4]:
            found.append(Tile(spoken(key), number(y[-1]), "last evaluation"))
    return found


def table(record: Record) -> tuple[list[str], list[Row]]:
    """Header and rows. `best` marks the best model in a column; real data does not compete."""
    rows: Sequence[Mapping[str, Any]] = record.table.get("rows", ())
    if not rows:
        return _last_evaluation(record)
    better = record.table.get("better", {})
    by_most = sorted(rows, key=lambda row: -len(row["metrics"]))  # some metrics fit some rows only
    keys = list(dict.fromkeys(key for row in by_most for key in row["metrics"]))
    ways = {"evaluations": "lower", "ms_per_sample": "lower", **better}
    arrows = {"lower": " ↓", "higher": " ↑"}
    best: dict[str, str] = {}
    models = [row for row in rows if row.get("role") != "floor"]
    for key, way in ways.items():
        values = [_number(row, key) for row in models]
        known = [value for value in values if value is not None]
        if len(set(known)) > 1:
            best[key] = number(min(known) if way == "lower" else max(known))
    columns = ["evaluations", "ms_per_sample", *keys]
    header = [
        "evaluations per sample",
        "ms per sample",
        *(spoken(key) + arrows.get(better.get(key, ""), "") for key in keys),
    ]
    shown = []
    for row in rows:
        cells = []
        for key in columns:
            text = number(_number(row, key))
            text = "none" if row.get("role") == "floor" and key in ("evaluations", "ms_per_sample") else text
            # ties at the printed precision are all best: a reader could not tell them apart
            cells.append(Cell(text, best=row in models and key in best and text == best[key]))
        sampler = (
            f"{row['sampler']}, {row['steps']} step{'s' if row['steps'] != 1 else ''}" if row.get("sampler") else ""
        )
        shown.append(Row(row["name"], sampler, row.get("role") or "", cells))
    return header, shown


def _number(row: Mapping[str, Any], key: str) -> float | None:
    value = row.get(key) if key in ("evaluations", "ms_per_sample") else row["metrics"].get(key)
    return value if isinstance(value, int | float) else None


def _last_evaluation(record: Record) -> tuple[list[str], list[Row]]:
    series = evaluation_series(record)
    if not series:
        return [], []
    step = max(x[-1] for x, _ in series.values())
    cells = [Cell(number(y[-1])) for _, y in series.values()]
    return [spoken(key) for key in series], [
        Row(f"student at step {step:,}", "last evaluation while training", "student", cells)
    ]


def facts(record: Record) -> list[tuple[str, str]]:
    """Versions, seed, hardware and whatever else run.json holds, flat and in its order."""
    found: list[tuple[str, str]] = []
    seed = record.block("train").get("seed")
    if seed is not None and "seed" not in record.run:
        found.append(("seed", str(seed)))
    for key, value in record.run.items():
        if key in ("history", "status", "command", "name", "step", "python", "domain", "format"):
            continue
        found.extend(_flat(spoken(str(key)), value))
    seconds = max((line.get("seconds") or 0 for line in record.timings), default=0)
    if seconds:
        found.append(("time", duration(seconds)))
    per_step = [line["step_seconds"] for line in record.timings if line.get("step_seconds")]
    if per_step:
        found.append(("seconds per step", f"{number(statistics.median(per_step))} (median)"))
    table_facts = record.table
    if table_facts.get("samples"):
        text = f"{table_facts['samples']:,} samples, seed {table_facts.get('seed')}, equal noise and conditions"
        found.append(("final table", text))
    return found


def _flat(name: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [pair for key, item in value.items() for pair in _flat(f"{name}: {spoken(str(key))}", item)]
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    return [(name, str(value))] if value not in (None, "") else []


def history(record: Record) -> list[str]:
    """What happened to the run, one line each; nothing when it simply ran through."""
    lines = []
    for item in record.run.get("history") or ():
        if not isinstance(item, Mapping):
            continue
        line = f"{item.get('event', 'event')} at step {item.get('step', 0):,}"
        changes = item.get("changes")
        if isinstance(changes, Mapping) and changes:
            line += " with " + ", ".join(f"{path} {old} → {new}" for path, (old, new) in changes.items())
        lines.append(f"{line}, {str(item.get('at', '')).replace('T', ' ')}")
    return lines if len(lines) > 2 else []


def reproduce(record: Record) -> str:
    """Commands that make this run again from the recipe on the page."""
    command = record.run.get("command")
    if isinstance(command, list | tuple):
        command = " ".join(map(str, command))
    lines = [f"limbeck {command_name(record)} recipe.yaml"]
    if command and command != lines[0]:
        lines += ["", "# as it was started", str(command)]
    return "\n".join(["# save the recipe above as recipe.yaml", *lines])


def place(record: Record) -> str:
    """The run's folder as a person would type it, without the folders of this machine."""
    return f"runs/{record.path.name}" if record.path.parent.name == "runs" else record.path.name


def following(record: Record) -> str:
    """What to do with the run next: two commands."""
    return "\n".join(next_commands(place(record), record.recipe, str(record.run.get("domain", ""))))


def next_commands(folder: Any, recipe: Mapping[str, Any], domain: str) -> list[str]:
    """How to sample a run and how to export it, as its modality does."""
    generator = recipe.get("generator")
    use = generator.get("use", "") if isinstance(generator, Mapping) else str(generator or "")
    usual = "-n 64 -o samples.png"
    own = {"tokens": '--prompt "..."', "renders": "-n 24 -o orbit.gif", "clip": "-n 16 -o clips.gif"}
    look = own.get(domain, usual)
    return [f"limbeck sample {folder} {look}", f"limbeck export {folder} exported/ --to {exporter_for(use)}"]


def exporter_for(generator: str) -> str:
    """The first exporter of the generator's modality, or core's own: a program for denoisers, else the weights."""
    from limbeck.errors import LimbeckError
    from limbeck.plugins.registry import registry

    try:
        component = registry.find("generator", generator).component
    except LimbeckError:
        return "torch"
    if component.modality != "any":
        for entry in registry.components("exporter", component.modality):
            if entry.component.modality == component.modality:
                return entry.component.name
    return "torch" if {"gaussian", "denoiser"} <= component.can or not component.can else "safetensors"
