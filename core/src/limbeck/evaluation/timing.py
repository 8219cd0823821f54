"""How long a call takes, by the wall's clock."""

import statistics
import time
from collections.abc import Callable

import torch


def median_seconds(call: Callable[[], object], repeats: int, device: torch.device | str = "cpu") -> float:
    """Median seconds of `repeats` calls, after one that warms up; each waits until the device has finished."""

    def wait() -> None:
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize(device)

    def seconds() -> float:
        started = time.perf_counter()
        call()
        wait()
        return time.perf_counter() - started

    call()
    wait()
    return statistics.median(seconds() for _ in range(repeats))


__all__ = ["median_seconds"]
