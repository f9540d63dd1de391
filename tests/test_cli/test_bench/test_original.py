from __future__ import annotations

from sage.cli.bench.figures import ROWS
from sage.cli.bench.original import GO, ORIGIN


def test_known_figures_say_whence_they_are() -> None:
    assert "another machine" in ORIGIN
    for known in GO:
        assert known.row in ROWS
        assert 0 < known.ns_min <= known.ns_max
        assert known.as_json()["row"] == known.row
