"""Measuring students beside their teachers and real data."""

from limbeck.evaluation.comparison import compare, table
from limbeck.evaluation.fewest import fewest_evaluations
from limbeck.evaluation.metrics import directions, measure
from limbeck.evaluation.student import evaluate_student, grid, save_grid

__all__ = [
    "compare", "directions", "evaluate_student", "fewest_evaluations", "grid", "measure", "save_grid", "table",
]  # fmt: skip
