"""The report of a run: one HTML file that opens from disk, needs nothing beside it, and is worth looking at."""

from limbeck.report.fragments import Fragment, line_chart
from limbeck.report.page import write

__all__ = ["Fragment", "line_chart", "write"]
