"""Everything that is recorded, by section: the names in it, and what computes the value of one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import values
from cases import cases


@dataclass(frozen=True)
class Section:
    names: Sequence[str]
    value: Callable[[str], Any]
    quick: bool  # seconds for all of it; otherwise minutes


def sections() -> dict[str, Section]:
    table = list(cases())
    by_id = {case.id: case for case in table}
    if len(by_id) < len(table):
        twice = sorted({case.id for case in table if sum(other.id == case.id for other in table) > 1})
        raise ValueError(f"two cases have one id: {', '.join(twice)}")
    return {
        "losses": Section([*by_id], lambda name: values.losses(by_id[name]), quick=True),
    }
