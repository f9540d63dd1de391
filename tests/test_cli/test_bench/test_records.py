from __future__ import annotations

from sage.cli.bench.figures import ENCRYPT, SIZES
from sage.cli.bench.records import record_cases, stream_end, v10_end
from sage.types import Role

from .conftest import BARELY


def test_every_way_at_every_size() -> None:
    """Runs them all: what could not be opened would be an error."""
    seen = set()
    for case in record_cases():
        if case.size == 16384 and case.row in ("v10", "seal"):
            continue  # a whole session of these takes a while on the pure twin
        (figure,) = case.measure(BARELY)
        assert (figure.row, figure.bytes) == (case.row, case.size)
        assert figure.against == ENCRYPT
        assert figure.ns is not None
        assert figure.against_ns is not None
        assert figure.ratio is not None
        assert figure.ns > 0
        assert figure.ratio > 0
        seen.add(case.row)
    assert seen == {
        *("v10", "stream", "stream-aes", "seal", "seal-aes", "into", "into-aes"),
        *("many", "many-aes", "batch", "batch-aes"),
    }
    assert {case.size for case in record_cases()} == set(SIZES)


def test_the_ends_fit() -> None:
    for end in (v10_end, stream_end):
        ours, theirs = map(end, Role)
        assert theirs.open(ours.seal(b"x")) == b"x"
