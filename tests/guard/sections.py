"""Everything that is recorded, by section: the names in it, and what computes the value of one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import bundled
import processes
import runs
import values
import walks
from cases import cases


@dataclass(frozen=True)
class Section:
    names: Sequence[str]
    value: Callable[[str], Any]
    quick: bool  # seconds for all of it; otherwise minutes
    tolerance: Callable[[str], float]  # of one value, between processors


def sections() -> dict[str, Section]:
    table = list(cases())
    by_id = {case.id: case for case in table}
    if len(by_id) < len(table):
        twice = sorted({case.id for case in table if sum(other.id == case.id for other in table) > 1})
        raise ValueError(f"two cases have one id: {', '.join(twice)}")
    return {
        "losses": Section([*by_id], lambda name: values.losses(by_id[name]), True, lambda name: by_id[name].tolerance),
        "processes": Section(processes.NAMES, processes.value, True, lambda _: 1e-6),
        "samplers": Section([*walks.SAMPLERS], walks.sampled, True, lambda _: 1e-5),
        "sources": Section([*walks.BATCHES], walks.batches, True, lambda _: 1e-5),
        "data": Section([*bundled.DATA], bundled.data, False, lambda _: 1e-5),
        "cameras": Section(["3d/cameras"], bundled.cameras, False, lambda _: 1e-5),
        "teachers": Section([*bundled.TEACHERS], bundled.network(bundled.TEACHERS), False, lambda _: 1e-4),
        "fresh": Section([*bundled.FRESH], bundled.network(bundled.FRESH), False, lambda _: 1e-4),
        "metrics": Section([*bundled.METRICS], bundled.metric, False, lambda _: 1e-3),
        "runs": Section([*runs.RUNS], runs.value, False, lambda _: 0.05),
    }
