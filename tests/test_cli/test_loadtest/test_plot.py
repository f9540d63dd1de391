from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from sage.cli.loadtest.plot import Line, plot

FLOATS = st.floats(0, 1e12, allow_subnormal=False)
POINTS = st.lists(st.tuples(FLOATS, FLOATS)).map(sorted)
LINES = st.lists(st.builds(Line, st.text("aé<&>\"'", max_size=9), POINTS), max_size=3)


@given(LINES)
def test_every_line_is_a_picture_within_its_frame(lines: list[Line]) -> None:
    root = ET.fromstring(plot(lines, x_title="x", y_title="y"))
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    drawn = root.findall("polyline")
    assert len(drawn) == len(lines)
    for line, element in zip(lines, drawn, strict=True):
        points = element.attrib["points"].split()
        assert len(points) == len(line.points)
        for point in points:
            x, y = map(float, point.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height


def test_texts_are_escaped() -> None:
    svg = plot([Line("<b>&", [(0, 1)])], x_title="a<b", y_title='"c"')
    assert "<b>" not in svg
    assert ET.fromstring(svg).attrib["aria-label"] == '"c" by a<b'


def test_ticks_may_be_given() -> None:
    svg = plot(
        [Line("l", [(0, 1), (2, 3)])],
        x_title="x",
        y_title="y",
        x_ticks=[(0.0, "none"), (2.0, "all")],
    )
    texts = re.findall(r">([^<>]+)</text>", svg)
    assert {"none", "all", "l", "x", "y"} <= set(texts)
    # 3 is drawn on a scale that ends at 5.
    assert "5" in texts
