"""A chart of lines for panels."""

import re
from xml.etree import ElementTree

from limbeck.report.fragments import BOTTOM, HEIGHT, LEFT, WIDTH, line_chart


def test_points_lie_where_their_numbers_put_them_and_names_are_escaped():
    page = line_chart(
        {"a <b>": [(0, 0.0), (10, 10.0)], "flat": [(5, 5.0)]},
        ticks=[(5, "1-9")], end=10, label='distance "so far"', axis="frames",
    )  # fmt: skip
    svg = ElementTree.fromstring(re.search(r"<svg.*</svg>", page)[0])
    (line, dot) = [p.get("points") for p in svg.iter("polyline")]
    bottom, top = HEIGHT - BOTTOM + 4, (HEIGHT - BOTTOM) * (1 - 1 / 1.1) + 4
    assert line == f"{LEFT:.1f},{bottom:.1f} {WIDTH - 8:.1f},{top:.1f}"
    assert dot.startswith(f"{(LEFT + WIDTH - 8) / 2:.1f},")
    assert svg.get("aria-label") == 'distance "so far"' and "1-9" in page
    assert "a &lt;b&gt;" in page and '<p class="caption">frames; <span' in page
