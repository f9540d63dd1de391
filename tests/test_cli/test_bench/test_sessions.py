from __future__ import annotations

from sage.cli.bench.sessions import session_cases

from .conftest import measure_all


def test_sessions_are_made_and_used() -> None:
    made, first = measure_all(session_cases())
    assert (made.row, first.row) == ("session", "first")
    assert made.bytes is first.bytes is None
    assert made.ns is not None
    assert made.ns > 0
