from __future__ import annotations

import json

import pytest

from sage.cli.bench.contestants import find_contestant
from sage.cli.bench.figures import Figure
from sage.cli.bench.promises import judge
from sage.cli.bench.race import Result
from sage.cli.bench.report import (
    absent_rows,
    as_json,
    one_time_rows,
    promise_rows,
    record_rows,
    size_name,
)
from sage.cli.bench.timing import FULL

from .conftest import Made


@pytest.mark.parametrize(
    ("size", "name"),
    [(None, ""), (64, "64 B"), (1024, "1 KiB"), (16384, "16 KiB")],
)
def test_sizes_are_named(size: int | None, name: str) -> None:
    assert size_name(size) == name


def test_records_stand_side_by_side(made: Made) -> None:
    rows = list(record_rows(made()))
    v10 = [row[1:] for row in rows if row[0] == "seal + open, 0.10.0"]
    assert [row[0] for row in v10] == [
        "sage, libcrypto",
        "sage, cryptography",
        "sage, pure twin",
    ]
    assert v10[0][1:] == ("1.01  ×1.45", "1.08  ×1.55", "1.29  ×1.85")


def test_the_original_is_shown_beside_what_does_the_same(made: Made) -> None:
    results = made()
    assert not any("Go" in row[1] for row in record_rows(results))
    results[0].figures.append(
        Figure(row="seal", bytes=64, against="encrypt", ns=450.0, ratio=0.6, note="n")
    )
    rows = record_rows(results)
    ours, original = [row for row in rows if row[0] == "seal, 0.10.0"]
    assert ours[1:] == ("sage, libcrypto (n)", "0.45  ×0.60", "", "")
    assert original[1:] == ("Go original, elsewhere *", "0.33", "0.92", "7.60")


def test_what_is_done_once(made: Made) -> None:
    rows = list(one_time_rows(made()))
    assert ("a session made", "sage, libcrypto", "2.10", "×3.00", "encrypt, 64 B") in (
        rows
    )
    assert any(row[1:3] == ("Go original, elsewhere *", "5.00 to 7.40") for row in rows)
    against = {row[4] for row in rows}
    assert {"its primitives", "TLS 1.3 handshake", "one thread (throughput)"} <= against
    assert any(row[1] == "sage, libcrypto, 16 KiB" for row in rows)


def test_what_is_absent_is_listed() -> None:
    absent = Figure(row="threads", bytes=16384, against="one-thread", absent="one core")
    results = [
        Result(contestant=find_contestant("qh3"), absent="not installed"),
        Result(contestant=find_contestant("tls"), figures=[absent]),
    ]
    assert list(absent_rows(results)) == [
        ("qh3", "not installed"),
        ("TLS 1.3, standard library: two threads sealing, two sessions", "one core"),
    ]
    (row,) = one_time_rows(results)
    assert row[3] == "absent"


def test_verdicts_are_listed(made: Made) -> None:
    rows = list(promise_rows(judge(made(2.0))))
    assert rows[0] == (
        *("sage-libcrypto", "seal + open, 0.10.0", "64 B"),
        *("2.90", "<= 1.45", "missed"),
    )
    assert rows[-1][3:] == ("0.90", ">= 1.8", "missed")
    assert any("times TLS 1.3 handshake" in row[1] for row in rows)
    assert {row[3] for row in promise_rows(judge([]))} == {""}


def test_programs_get_everything(made: Made) -> None:
    results = made()
    found = json.loads(json.dumps(as_json(results, judge(results), FULL)))
    assert found["format"] == "sage-bench-1"
    assert found.keys() == {
        *("format", "machine", "rounds", "burst_ns", "rows", "against"),
        *("contestants", "go_original", "promises"),
    }
    first = found["contestants"][0]
    assert first.keys() == {"name", "title", "absent", "facts", "figures"}
    assert first["figures"][0].keys() == {
        *("row", "bytes", "against", "ns", "against_ns", "ratio", "rounds"),
        *("note", "absent"),
    }
    assert found["contestants"][-1]["absent"] == "qh3 is not installed"
    assert found["promises"][0].keys() == {
        *("contestant", "row", "bytes", "against", "limit", "at_least", "ratio"),
        *("state", "reason"),
    }
    assert found["machine"]["cores"] >= 1
