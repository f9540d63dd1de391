"""Threads that share a session."""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from dataclasses import replace

import pytest

from sage._accel import backend
from sage.errors import LimitReached, ReplayError, SessionClosed
from sage.session import STREAM, Session
from sage.session.profile import draft1_profile
from sage.types import Role

from ..other_process import answer


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


THREADS, SEALS = 8, 50_000
SLOW = pytest.mark.slow


@pytest.fixture(params=[0.005, 1e-6], ids=["5 ms", "1 us"])
def _switch_interval(request, _impatient_interpreter):
    sys.setswitchinterval(request.param)


@pytest.mark.parametrize(
    ("size", "seals"),
    [(32, SEALS), (16_384, SEALS // 5), pytest.param(16_384, SEALS, marks=SLOW)],
)
@pytest.mark.usefixtures("_switch_interval")
def test_eight_threads_on_one_stream(twin, size, seals):
    """No sequence number twice, none missing, and every nonce is its number."""
    ada, grace = (
        twin.SessionCore(STREAM, bytes(32), bytes(32), role, session_id=bytes(16))
        for role in Role
    )
    numbers = [[] for _ in range(THREADS)]
    samples = []

    def work(number):
        plaintext, seal, mine = bytes([number]) * size, ada.seal, numbers[number]
        for turn in range(seals):
            record = seal(plaintext)
            mine.append(record[:20])
            if turn % 997 == 0:
                samples.append((record, plaintext))

    run_together(work, THREADS)
    headers = sorted(header for mine in numbers for header in mine)
    total = THREADS * seals
    assert ada.sent == total
    assert headers == [
        seq.to_bytes(8, "big") + bytes(4) + seq.to_bytes(8, "big")
        for seq in range(total)
    ]
    for mine in numbers:
        assert mine == sorted(mine)
    for record, plaintext in samples:
        assert grace.authenticate(record)[1] == plaintext


@pytest.mark.parametrize("size", [40, 5000])
def test_threads_that_seal_many_and_into(twin, size):
    ada, grace = (
        twin.SessionCore(STREAM, bytes(32), bytes(32), role, session_id=bytes(16))
        for role in Role
    )
    records = []

    def work(number):
        out = bytearray(size + 36)
        for _ in range(60):
            got = ada.seal_many([bytes([number]) * size] * 5)
            seqs = [int.from_bytes(record[:8], "big") for record in got]
            assert seqs == list(range(seqs[0], seqs[0] + 5))
            records.extend(got)
            ada.seal_into(bytes([number]) * size, out)
            records.append(bytes(out))

    run_together(work)
    assert ada.sent == len(records) == 8 * 60 * 6
    assert len({record[:8] for record in records}) == len(records)
    records.sort()
    assert {row[0] for row in grace.open_many(records)} == set(range(8))


def test_generations_that_threads_cross_together(twin):
    """Who is late seals under the key of its own number, not of the newest."""
    few = replace(STREAM, generation_records=7)
    ada, grace = (
        twin.SessionCore(few, bytes(32), bytes(32), role, session_id=bytes(16))
        for role in Role
    )
    records = []

    def work(number):
        for _ in range(100):
            records.extend(ada.seal_many([bytes([number])] * 5))
            records.append(ada.seal(bytes([number])))

    run_together(work)
    records.sort()
    opened = grace.open_many(records)
    assert sorted({row[0] for row in opened}) == list(range(8))
    assert len(opened) == 8 * 600


@pytest.mark.parametrize(("size", "generation"), [(1, 7), (5000, 7), (5000, 1000)])
def test_the_drafts_first_key_when_threads_go_back_to_it(twin, size, generation):
    """It is not derived as the others are, and each direction has its own."""
    ada, grace = (
        twin.SessionCore(
            draft1_profile(generation), bytes(32), None, role, session_id=bytes(16)
        )
        for role in Role
    )
    records = []

    def work(number):
        for _ in range(50):
            records.append(ada.seal(bytes([number]) * size))
        records.extend(ada.seal_many([bytes([number]) * size] * 50, threads=2))

    run_together(work)
    records.sort()
    opened = grace.open_many(records, threads=2)
    assert Counter(row[0] for row in opened) == dict.fromkeys(range(8), 100)


@pytest.mark.parametrize("size", [16, 300_000])
def test_what_is_under_way_when_a_session_closes_is_refused(twin, size):
    """Once close() has returned, no call that it overtook gives a record."""
    for _ in range(10):
        ada = twin.SessionCore(
            STREAM, bytes(32), bytes(32), Role.INITIATOR, session_id=bytes(16)
        )
        closed, late = threading.Event(), []

        def work(number, ada=ada, closed=closed, late=late):
            try:
                if number == 0:
                    while ada.sent < 50:
                        ada.seal(bytes(size))
                    ada.close()
                    closed.set()
                while True:
                    before = closed.is_set()
                    ada.seal(bytes(size))
                    late.append(before)
            except SessionClosed:
                pass

        run_together(work, 4)
        assert not any(late)


def test_what_is_refused_because_the_session_closed_leaves_no_plaintext(ends):
    refused = 0
    for turn in range(20):
        ada, grace = ends(now=None)
        record, out = ada.seal(b"s" * 8_000_000), bytearray(8_000_000)
        closing = threading.Timer(turn % 10 * 0.0003, grace.close)
        closing.start()
        try:
            grace.open_into(record, out)
        except SessionClosed:
            refused += 1
            assert not any(out)
        closing.join()
    assert refused


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


INTERRUPTED = """
import faulthandler, itertools, random, signal, time
from sage._accel import SessionCore
from sage.session import STREAM
from sage.types import Role

faulthandler.dump_traceback_later(30, exit=True)

class Interrupt(BaseException):
    pass

def interrupt(number, frame):
    raise Interrupt

signal.signal(signal.SIGALRM, interrupt)
ada, grace = (
    SessionCore(STREAM, bytes(32), bytes(32), role, session_id=bytes(16))
    for role in Role
)
ends = time.monotonic() + 2
while time.monotonic() < ends:
    records = iter(ada.seal_many([b""] * 500))  # waits for ever where one is stuck
    for act in (lambda: ada.seal(b""), lambda: grace.open(next(records))):
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(5e-6, 6e-5))
            try:
                for _ in range(400):
                    act()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except Interrupt:
            pass
    grace.open(ada.seal(b""))
print("free")
"""


@pytest.mark.skipif(os.name != "posix", reason="needs a timer that interrupts")
def test_an_interrupt_leaves_no_session_locked():
    environment = {k: v for k, v in os.environ.items() if k.startswith("SAGE_")}
    assert answer(INTERRUPTED, **environment) == "free"


@pytest.mark.parametrize(("size", "lets_in"), [(16, False), (20_000, True)])
def test_who_waits_gets_in_while_a_long_record_is_sealed(size, lets_in):
    """And while a short one is, only when the interpreter says so: here, never."""
    if backend()["engine"] != "libcrypto":
        pytest.skip("the engine decides by itself")
    ada = Session.stream(bytes(32), bytes(32), bytes(16), Role.INITIATOR)
    gate, ran, text = threading.Lock(), [], bytes(size)
    gate.acquire()

    def wait():
        with gate:
            ran.append(True)

    thread = threading.Thread(target=wait)
    thread.start()
    sys.setswitchinterval(1000)
    gate.release()  # from here on it waits for the GIL
    for _ in range(20_000):
        ada.seal(text)
        if ran:
            break
    assert bool(ran) == lets_in
    sys.setswitchinterval(1e-6)
    thread.join()
