from __future__ import annotations

import sys

import pytest

from sage.cli.bench.figures import PRIMITIVES, SIZES, NotHere
from sage.cli.bench.tls import Contexts, handshaking, tls_cases

from .conftest import measure_all


def test_both_ends_have_verified_each_other() -> None:
    client, server = Contexts().shake_hands()
    assert client.version() == server.version() == "TLSv1.3"
    assert client.getpeercert()
    assert server.getpeercert()
    client.write(b"x")
    assert server.read(10) == b"x"


def test_records_and_the_handshake() -> None:
    *records, handshake = measure_all(tls_cases())
    assert [figure.bytes for figure in records] == list(SIZES)
    assert {figure.row for figure in records} <= {"rt", "rt-aes"}
    assert all("TLS_" in (figure.note or "") for figure in records)
    assert handshake.against == PRIMITIVES
    assert handshake.ratio


def test_certificates_need_trustme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(NotHere, match="trustme"):
        handshaking()
    with pytest.raises(NotHere, match="trustme"):
        list(tls_cases())
