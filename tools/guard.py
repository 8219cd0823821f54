"""Numbers that a refactoring must leave alone: records them, and compares them bit by bit.

    python tools/guard.py check             everything against tests/guard/values.json; exits 1 when anything differs
    python tools/guard.py check --quick     without bundled teachers and whole runs
    python tools/guard.py check --only 'losses/dmd2*'
    python tools/guard.py record            writes the file (with --only or --quick: these values of it)

What is computed is in tests/guard; the table of cases is tests/guard/cases.py. It measures the checkout that it stands
in, whatever is installed. On another processor or torch the bits differ: `check` then compares losses and norms to a
tolerance (1e-9 where the arithmetic is float64) and says so.
"""

import argparse
import fnmatch
import json
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FILE = ROOT / "tests" / "guard" / "values.json"


def lines_of(value: Any, depth: int) -> str:
    """JSON with a line for everything down to a depth, and whatever is deeper on one line."""
    if not isinstance(value, dict) or depth == 0 or not value:
        return json.dumps(value)
    inner = ",\n".join(f"{json.dumps(key)}: {lines_of(item, depth - 1)}" for key, item in value.items())
    return "{\n" + inner + "\n}"


def chosen(sections: dict[str, Any], only: str | None, quick: bool) -> list[tuple[str, str]]:
    names = [(key, name) for key, section in sections.items() if section.quick or not quick for name in section.names]
    if only is None:
        return names
    pattern = only if any(c in only for c in "*?[") else f"*{only}*"
    found = [(key, name) for key, name in names if fnmatch.fnmatchcase(f"{key}/{name}", pattern)]
    if not found:
        sys.exit(f"nothing is called {only!r}; names are SECTION/NAME, sections: {', '.join(sections)}")
    return found


def computed(sections: dict[str, Any], names: list[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """The values now, as they read after a round trip through JSON."""
    found: dict[str, dict[str, Any]] = {}
    for key in dict.fromkeys(key for key, _ in names):
        start = time.perf_counter()
        mine = [name for other, name in names if other == key]
        found[key] = {name: json.loads(json.dumps(sections[key].value(name))) for name in mine}
        print(f"{key:10} {len(mine):4} in {time.perf_counter() - start:.1f} s", flush=True)
    return found


def record(sections: dict[str, Any], names: list[tuple[str, str]], machine: dict[str, str], whole: bool) -> int:
    found = computed(sections, names)
    old = json.loads(FILE.read_text()) if FILE.exists() and not whole else {}
    if old and old["machine"] != machine:
        sys.exit(f"{FILE} was recorded on {old['machine']}, this is {machine}: record all of it, or nothing")
    kept = {key: {**old.get(key, {}), **found.get(key, {})} for key in sections}
    # in the order of the table, without what is no longer in it
    sorted_ = {key: {n: kept[key][n] for n in section.names if n in kept[key]} for key, section in sections.items()}
    FILE.write_text(lines_of({"machine": machine, **sorted_}, 4) + "\n")
    print(f"recorded in {FILE.relative_to(ROOT)}, {FILE.stat().st_size / 1e6:.1f} MB")
    return 0


def check(sections: dict[str, Any], names: list[tuple[str, str]], machine: dict[str, str], whole: bool) -> int:
    from values import differences

    recorded = json.loads(FILE.read_text())
    bitwise = recorded["machine"] == machine
    how = "bit by bit" if bitwise else "to the tolerances of another processor"
    if not bitwise:
        print(f"recorded on {recorded['machine']}, this is {machine}: compared {how}")
    found, lines = computed(sections, names), []
    for key, now in found.items():
        before = recorded.get(key, {})
        lines += [f"{key} / {name}: recorded, and not there now" for name in before if whole and name not in now]
        for name, value in now.items():
            if name not in before:
                lines.append(f"{key} / {name}: there now, and not recorded")
                continue
            tolerance = 0.0 if bitwise else sections[key].tolerance(name)
            lines += differences(before[name], value, tolerance=tolerance, where=f"{key} / {name}")
    for line in lines:
        print(f"  {line}")
    print(f"{len(lines)} differences in {len(names)} values, {how}")
    return 1 if lines else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="record or check the numbers that a refactoring must leave alone")
    parser.add_argument("action", choices=["record", "check"])
    parser.add_argument("--only", metavar="PATTERN", help="names SECTION/NAME to take: a part of them, or with * and ?")
    parser.add_argument("--quick", action="store_true", help="only what takes seconds: no bundled teachers, no runs")
    args = parser.parse_args()

    sources = [ROOT / "core" / "src", *sorted(ROOT.glob("plugins/*/src"))]
    sys.path[:0] = [str(path) for path in (ROOT / "tests" / "guard", *sources)]
    import torch
    from sections import sections
    from values import machine

    import limbeck

    assert Path(limbeck.__file__).is_relative_to(ROOT), f"limbeck comes from {limbeck.__file__}, not from {ROOT}"
    torch.set_num_threads(1)
    everything = sections()
    names = chosen(everything, args.only, args.quick)
    whole = args.only is None and not args.quick
    return (record if args.action == "record" else check)(everything, names, machine(), whole)


if __name__ == "__main__":
    sys.exit(main())
