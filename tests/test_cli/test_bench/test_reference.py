from __future__ import annotations

from sage.cli.bench.figures import SIZES
from sage.cli.bench.reference import aead_cases, against_encrypt, encrypting

from .conftest import BARELY, measure_all


def test_the_aeads_alone() -> None:
    figures = measure_all(aead_cases())
    assert {(f.row, f.bytes) for f in figures} == {
        (row, size) for row in ("rt", "rt-aes") for size in SIZES
    }


def test_what_has_no_size_is_compared_with_64_bytes() -> None:
    (figure,) = against_encrypt("session", None, encrypting(64), note="x")(BARELY)
    assert figure.bytes is None
    assert figure.note == "x"
    assert figure.rounds == 1
    assert figure.against_ns is not None
