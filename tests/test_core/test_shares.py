"""Batches that threads share: the outcome is that of one thread, record by record."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sage.errors import BatchError, SessionClosed, UsageError
from sage.session import STREAM, STREAM_AES
from sage.types import Role

from ..other_process import answer
from .engines import KERNELS

SEED, TH, NAME = bytes(range(32)), bytes(range(100, 132)), bytes(16)
SIZE = 5000
FEW = replace(STREAM, generation_records=4)


def ends(core: Any, profile: Any = STREAM) -> tuple[Any, Any]:
    ada, grace = (
        core.SessionCore(profile, SEED, TH, role, session_id=NAME, now=0.0)
        for role in Role
    )
    return ada, grace


def array(records: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(records), np.uint8).reshape(len(records), -1)


@pytest.mark.parametrize(
    ("threads", "message"),
    [
        (True, "threads must be an int, not bool"),
        (2.0, "threads must be an int, not float"),
        (None, "threads must be an int, not NoneType"),
        ("2", "threads must be an int, not str"),
        (0, r"threads must be within 1\.\.64"),
        (-1, r"threads must be within 1\.\.64"),
        (65, r"threads must be within 1\.\.64"),
        (2**70, r"threads must be within 1\.\.64"),
    ],
)
def test_what_is_no_number_of_threads(twin, snapshot, threads, message):
    ada, grace = ends(twin)
    records = ends(twin)[0].seal_many([bytes(9)] * 2, now=1.0)
    before = snapshot(ada), snapshot(grace)
    for act in (
        lambda: ada.seal_many([b""], threads=threads, now=1.0),
        lambda: ada.seal_batch(np.zeros((2, 9), np.uint8), threads=threads, now=1.0),
        lambda: grace.open_many(records, threads=threads, now=1.0),
        lambda: grace.open_batch(array(records), threads=threads, now=1.0),
    ):
        with pytest.raises(UsageError, match=message):
            act()
    assert (snapshot(ada), snapshot(grace)) == before


@pytest.mark.parametrize("threads", range(1, 65, 9))
@pytest.mark.parametrize("profile", [STREAM, STREAM_AES, FEW], ids=str)
@pytest.mark.parametrize("core", KERNELS, ids=str)
def test_any_number_of_threads(core, profile, threads):
    rows = np.arange(30 * SIZE, dtype=np.uint32).astype(np.uint8).reshape(30, SIZE)
    alone, ada = ends(core, profile)[0], ends(core, profile)[0]
    grace = ends(core, profile)[1]
    wire = ada.seal_batch(rows, threads=threads, now=1.0)
    assert (wire == alone.seal_batch(rows, now=1.0)).all()
    assert (grace.open_batch(wire, threads=threads, now=1.0) == rows).all()
    assert grace.received == 30


def hostile(ada: Any) -> list[bytes]:
    """Return what one batch may hold: alternating keys, forgeries, replays, all."""
    good = ada.seal_many([bytes([number]) * SIZE for number in range(24)], now=1.0)
    forged = [record[:-1] + bytes([record[-1] ^ 1]) for record in good]
    wrong_nonce = good[3][:8] + b"?" + good[3][9:]
    beyond = (2**48).to_bytes(8, "big") + bytes(4) + (2**48).to_bytes(8, "big")
    return [
        good[20],
        forged[1],  # and the genuine one after it
        good[1],
        good[1],
        forged[1],  # of one that was seen: a replay, and no failure
        good[23],
        wrong_nonce,
        good[0],
        beyond + good[0][20:],
        forged[19],
        good[22],
        forged[2],
        good[20],
        good[2],
        forged[21],
        good[3],
        good[21],
    ]


def told(act: Any) -> Any:
    try:
        opened, errors = act(), {}
    except BatchError as exc:
        opened, errors = exc.opened, exc.errors
    except Exception as exc:
        return type(exc), str(exc)
    return [None if row is None else bytes(row) for row in opened], [
        (at, type(e), str(e), getattr(e, "code", None)) for at, e in errors.items()
    ]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 1000])
@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("core", KERNELS, ids=str)
def test_a_hostile_batch(core, threads, limit):
    """Up to the failed open that ends a session, in the middle of the batch."""
    profile = replace(FEW, max_failed_opens=limit)
    records = hostile(ends(core, profile)[0])
    one, many, rows = (ends(core, profile)[1] for _ in range(3))

    def singly() -> Any:
        opened: list[bytes | None] = []
        errors = []
        for at, record in enumerate(records):
            try:
                opened.append(one.open(record, now=1.0))
            except Exception as exc:
                opened.append(None)
                errors.append((at, type(exc), str(exc), getattr(exc, "code", None)))
        return opened, errors

    def facts(session: Any) -> Any:
        return session.failed_opens, session.received, session.closed

    if limit == 1000:
        expected = singly()
        assert len(expected[1]) == 9
        assert one.failed_opens == 4
    else:  # a call on a session that is closed says so before it looks at a record
        expected = told(lambda: ends(core, profile)[1].open_many(records, now=1.0))
    found = told(lambda: many.open_many(records, threads=threads, now=1.0))
    assert found == expected
    opened = told(lambda: rows.open_batch(array(records), threads=threads, now=1.0))
    assert opened == (
        [row or bytes(SIZE) for row in expected[0]],
        expected[1],
    )
    assert facts(rows) == facts(many)
    assert many.failed_opens == min(limit, 4)
    assert many.closed == (limit <= 4)
    if limit == 1000:
        assert facts(many) == facts(one)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("core", KERNELS, ids=str)
def test_closing_in_the_middle(core, threads):
    """The batch is refused or complete, and a refused one leaves no plaintext."""
    refused = 0
    for turn in range(12):
        ada, grace = ends(core)
        wire = ada.seal_batch(np.full((64, 60_000), 7, np.uint8), now=1.0)
        out = np.zeros((64, 60_000), np.uint8)
        closing = threading.Timer(turn * 0.0003, grace.close)
        closing.start()
        bad: list[int] = []
        try:
            grace.open_batch(wire, out, threads=threads, now=1.0)
        except SessionClosed:
            bad.extend(range(64))
        except BatchError as exc:
            bad.extend(exc.errors)
        refused += bool(bad)
        assert not out[bad].any()
        assert (np.delete(out, bad, 0) == 7).all()
        closing.join()
        with pytest.raises(SessionClosed):
            grace.open_batch(wire, out, now=1.0)
    assert refused


INTERRUPTED = """
import signal, time
import numpy as np
from sage import _accel as accel
from sage.session import STREAM
from sage.types import Role

ada, grace = (
    accel.SessionCore(STREAM, bytes(32), bytes(32), r, session_id=bytes(16))
    for r in Role
)
rows, interrupted = np.full((640, 100_000), 7, np.uint8), 0
wire, room = ada.seal_batch(rows), np.zeros_like(rows)

def handler(number, frame):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, handler)
for turn in range(6):
    try:
        # From one thread on there is one to wait for; its share is far from done.
        # Where the process stands still meanwhile, the timer runs out right here.
        signal.setitimer(signal.ITIMER_REAL, 0.002 + 0.004 * turn)
        try:
            grace.open_batch(wire, room, threads=2)
        except Exception as exc:
            assert type(exc).__name__ == "BatchError", exc
        finally:
            # The timer may still run out here: that, too, is caught below.
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        interrupted += 1
    before = room.copy()
    time.sleep(0.03)
    assert (room == before).all()
assert interrupted
print("whole")
"""


@pytest.mark.skipif(os.name != "posix", reason="needs a timer that interrupts")
def test_nothing_is_written_once_an_interrupted_call_has_ended():
    environment = {k: v for k, v in os.environ.items() if k.startswith("SAGE_")}
    assert answer(INTERRUPTED, **environment) == "whole"


@pytest.mark.parametrize("why", [RuntimeError, MemoryError, PermissionError])
def test_where_there_is_no_thread_to_be_had(monkeypatch, why):
    """The call does the work of those that could not be started."""
    core = KERNELS[-1]
    if not core.direct:
        pytest.skip("the other engines start none")

    def refuse(*_: Any) -> None:
        raise why("can't start new thread")

    monkeypatch.setattr(core.module, "start_new_thread", refuse)
    ada, grace = ends(core)
    texts = [bytes([number]) * SIZE for number in range(9)]
    records = ada.seal_many(texts, threads=4, now=1.0)
    assert grace.open_many(records, threads=4, now=1.0) == texts


def running(share: Any, args: Any) -> None:
    """Start a thread, and find no memory for its number."""
    threading.Thread(target=share, args=args).start()
    raise MemoryError


@pytest.mark.parametrize("start", [running, lambda *_: None], ids=["late", "never"])
def test_each_share_is_done_once_and_by_whoever_comes_first(monkeypatch, start):
    """Whether a thread was started is not always known."""
    core = KERNELS[-1]
    if not core.direct:
        pytest.skip("the other engines start none")
    shares = []

    def keep(share: Any, args: Any) -> None:
        shares.append(share)
        start(share, args)

    monkeypatch.setattr(core.module, "start_new_thread", keep)
    for _ in range(200):
        ada, grace = ends(core)
        texts = [bytes([number]) * SIZE for number in range(9)]
        records = ada.seal_many(texts, threads=4, now=1.0)
        wire, out = array(records), np.zeros((9, SIZE), np.uint8)
        grace.open_batch(wire, out, threads=4, now=1.0)
        assert [bytes(row) for row in out] == texts
        out[:] = 0
        while shares:  # one that comes when all is over
            shares.pop()()
        assert not out.any()


def test_interrupted_while_a_thread_starts(monkeypatch):
    """As where a hook audits it; what nobody has begun is not waited for."""
    core = KERNELS[-1]
    if not core.direct:
        pytest.skip("the other engines start none")
    started = []

    def start(share: Any, args: Any) -> None:
        if started:
            raise KeyboardInterrupt
        started.append(share)
        threading.Thread(target=share, args=args).start()

    monkeypatch.setattr(core.module, "start_new_thread", start)
    ada, _ = ends(core)
    with pytest.raises(KeyboardInterrupt):
        ada.seal_many([bytes(SIZE)] * 9, threads=4, now=1.0)
    assert len(started) == 1
    assert ada.sent == 9
