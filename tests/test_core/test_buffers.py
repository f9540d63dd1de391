"""The caller's buffers: in the caller's way of each other, or changed meanwhile."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from sage.errors import AuthenticationError, SageError, SessionClosed
from sage.session import STREAM, STREAM_AES
from sage.types import Role

from ..other_process import answer
from .engines import KERNELS
from .faults import needs_libcrypto

SEED, TH, NAME = bytes(range(32)), bytes(range(100, 132)), bytes(16)
LONG = 2_000_000


def ends(core: Any, profile: Any = STREAM) -> tuple[Any, Any]:
    ada, grace = (
        core.SessionCore(profile, SEED, TH, role, session_id=NAME, now=0.0)
        for role in Role
    )
    return ada, grace


def text(size: int) -> bytes:
    return bytes(at * 7 & 255 for at in range(size))


@pytest.mark.parametrize("size", [0, 1, 15, 64, 100, 2049, 4096, 5000])
@pytest.mark.parametrize("profile", [STREAM, STREAM_AES], ids=lambda p: p.aead)
@pytest.mark.parametrize("core", KERNELS, ids=str)
def test_overlap_at_every_offset(core, profile, size):
    """What lies in the way gives what would be given if it lay apart."""
    reference, grace = ends(core, profile)
    ada = ends(core, profile)[0]
    for source, target in [
        (at, 80 - at) for at in range(0, 81, 1 if size < 200 else 7)
    ]:
        expected = reference.seal(text(size), now=1.0)
        buffer = bytearray(size + 200)
        view = memoryview(buffer)
        buffer[source : source + size] = text(size)
        ada.seal_into(view[source : source + size], view[target:], now=1.0)
        assert buffer[target : target + size + 36] == expected
        buffer[source : source + size + 36] = expected
        record = view[source : source + size + 36]
        assert grace.open_into(record, view[target:], now=1.0) == size
        assert buffer[target : target + size] == text(size)


@pytest.fixture
def meddler() -> Any:
    """Return a function that runs another over and over beside a third."""

    def beside(meddle: Any, work: Any) -> list[BaseException]:
        stop, refused = threading.Event(), []

        def body() -> None:
            while not stop.is_set():
                try:
                    meddle()
                except BufferError as exc:
                    refused.append(exc)

        thread = threading.Thread(target=body)
        thread.start()
        try:
            work()
        finally:
            stop.set()
            thread.join()
        return refused

    return beside


@pytest.mark.parametrize("core", KERNELS, ids=str)
def test_a_buffer_cannot_be_resized_while_it_is_used(core, meddler):
    ada, grace = ends(core)
    plain, out, room = bytearray(LONG // 2), bytearray(LONG), bytearray(LONG)
    width = len(plain) + 36

    def meddle() -> None:
        for buffer, size in ((plain, LONG // 2), (out, LONG), (room, LONG)):
            if len(buffer) == size:
                buffer.append(0)
            else:
                buffer.pop()

    def work() -> None:
        for _ in range(10):
            # One byte more or less is all that the other thread ever manages.
            size = ada.seal_into(plain, out, now=1.0)
            assert abs(size - width) <= 1
            assert grace.open_into(out[:size], room, now=1.0) == size - 36

    meddler(meddle, work)
    assert {len(plain) - LONG // 2, len(out) - LONG, len(room) - LONG} <= {0, 1}


@pytest.mark.parametrize("core", KERNELS, ids=str)
def test_a_view_that_is_released_meanwhile(core):
    """The call holds the buffer by itself, or finds that the view is gone."""
    ada, grace = ends(core)
    for turn in range(15):
        plain = memoryview(bytearray(text(1000) * 1000))
        releasing = threading.Timer(turn * 0.0001, plain.release)
        releasing.start()
        try:
            record = ada.seal(plain, now=1.0)
        except (SageError, ValueError):
            record = None
        releasing.join()
        if record is not None:
            assert grace.open(record, now=1.0) == text(1000) * 1000


@pytest.mark.parametrize("profile", [STREAM, STREAM_AES], ids=lambda p: p.aead)
@pytest.mark.parametrize("core", KERNELS, ids=str)
def test_an_array_that_changes_meanwhile(core, profile, meddler):
    """What is sealed is some of both; what is opened verifies or is refused."""
    ada, grace = ends(core, profile)
    plain = np.full(LONG // 4, 7, np.uint8)
    wire = np.zeros(LONG // 4 + 36, np.uint8)

    def meddle() -> None:
        plain[:] ^= 8

    def seal() -> None:
        for _ in range(10):
            opened = np.frombuffer(
                grace.open(ada.seal(plain, now=1.0), now=1.0), np.uint8
            )
            assert np.isin(opened, (7, 15)).all()

    meddler(meddle, seal)

    def open_() -> None:
        for _ in range(10):
            ada.seal_into(bytes(LONG // 4), wire, now=1.0)
            try:
                assert len(grace.open(wire, now=1.0)) == LONG // 4
            except (AuthenticationError, SageError):
                continue

    meddler(lambda: wire.__setitem__(-1, wire[-1] ^ 1), open_)
    assert ada.sent == 20


@pytest.mark.parametrize("core", KERNELS, ids=str)
def test_closing_while_a_long_record_is_sealed(core):
    for turn in range(15):
        ada, grace = ends(core)
        closing = threading.Timer(turn * 0.0001, ada.close)
        closing.start()
        try:
            record = ada.seal(bytes(1_000_000), now=1.0)
        except SessionClosed:
            record = None
        closing.join()
        assert ada.closed
        if record is not None:
            assert grace.open(record, now=1.0) == bytes(1_000_000)


NO_MEMORY = """
import _testcapi
from sage._accel import SessionCore
from sage.session import V0_10
from sage.types import Role

ada, grace = (SessionCore(V0_10, bytes(32), bytes(32), role, now=0.0) for role in Role)
room, now, failed = bytearray(3000), 1.0, 0
for number in range(10):
    record, accepted = ada.seal(bytes(3000), now=now), grace.received
    act = grace.open_into
    _testcapi.set_nomemory(number, number + 1)
    try:
        act(record, room, now=now)
        accepted += 1
    except MemoryError:
        failed += 1
    finally:
        _testcapi.remove_mem_hooks()
    assert grace.received == accepted
assert 0 < failed < 10
print("whole")
"""


@needs_libcrypto
def test_no_memory_once_a_record_was_accepted():
    """Whatever the call needs it has by then."""
    pytest.importorskip("_testcapi")
    assert answer(NO_MEMORY, SAGE_ENGINE="libcrypto") == "whole"
