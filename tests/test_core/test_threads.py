"""Threads that share a session."""

from __future__ import annotations

import sys
import threading
from collections import Counter

import pytest

from sage.errors import LimitReached, ReplayError, SessionClosed


@pytest.fixture(autouse=True)
def _impatient_interpreter():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def run_together(work, count=8):
    """Run ``work(number)`` in threads that start at once; re-raise what they raise."""
    start, errors = threading.Barrier(count), []

    def body(number):
        try:
            start.wait()
            work(number)
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=body, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize("size", [16, 20_000])  # the engine frees the GIL or not
def test_no_sequence_number_twice_and_none_missing(ends, size):
    ada, grace = ends()
    records: list[bytes] = []
    refused: list[int] = []

    def work(number):
        for _ in range(130):  # 1,040 in all: the last 40 find the session used up
            try:
                records.append(ada.seal(bytes([number]) * size, now=1.0))
            except LimitReached:
                refused.append(number)

    run_together(work)
    numbers = [int.from_bytes(record[:8], "big") for record in records]
    assert sorted(numbers) == list(range(1000))
    assert len(refused) == 40
    assert ada.sent == 1000
    senders = Counter(grace.open(record, now=1.0)[0] for record in records)
    assert senders + Counter(refused) == Counter({n: 130 for n in range(8)})


def test_each_record_is_accepted_once(ends):
    ada, grace = ends()
    records = [ada.seal(b"%d" % seq, now=1.0) for seq in range(600)]
    opened: list[bytes] = []
    refused: list[int] = []

    def work(number):
        mine = records[::-1] if number % 2 else records
        for record in mine:
            try:
                opened.append(grace.open(record, now=1.0))
            except ReplayError:
                refused.append(number)

    run_together(work, 4)
    assert sorted(opened, key=int) == [b"%d" % seq for seq in range(600)]
    assert len(refused) == 3 * 600
    assert grace.received == 600


def test_accepting_is_atomic(ends):
    ada, grace = ends()
    seqs = [grace.authenticate(ada.seal(b"", now=1.0), now=1.0)[0] for _ in range(300)]
    accepted: list[int] = []

    def work(_):
        for seq in seqs:
            try:
                grace.accept(seq, now=1.0)
                accepted.append(seq)
            except ReplayError:
                pass

    run_together(work, 4)
    assert sorted(accepted) == seqs


def test_closing_below_others(ends):
    """Whatever was sealed before the close opens; nothing is sealed with no key."""
    for _ in range(20):
        ada, grace = ends()
        records: list[bytes] = []

        def work(number, ada=ada, records=records):
            try:
                for _ in range(100):
                    if number == 3 and len(records) > 20:
                        ada.close()
                    records.append(ada.seal(b"x", now=1.0))
            except SessionClosed:
                pass

        run_together(work, 4)
        assert ada.closed
        for record in records:
            assert grace.open(record, now=1.0) == b"x"
