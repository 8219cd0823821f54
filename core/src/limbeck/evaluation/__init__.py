"""Measuring students beside their teachers and real data."""

from limbeck.evaluation.measure import *  # noqa: F403
