"""The median of timed calls."""

import time

import pytest

from limbeck.evaluation.timing import median_seconds


def test_one_call_warms_up_and_the_median_of_the_others_counts():
    waits = iter((0.2, 0.01, 0.01, 0.1))  # the first is slow, and one of the three is an outlier
    assert median_seconds(lambda: time.sleep(next(waits)), 3) == pytest.approx(0.01, abs=0.02)
    assert next(waits, None) is None
