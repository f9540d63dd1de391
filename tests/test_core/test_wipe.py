"""No key outlives its session."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path
from typing import Any

import pytest

from sage import _core_py as pure
from sage._accel import backend
from sage._crypto import ChaCha20Poly1305, hkdf_expand
from sage.session import V0_10
from sage.types import Role

from ..other_process import answer
from .faults import PRELUDE, needs_libcrypto
from .test_window import short_of_memory_at

SEED, TH = bytes(range(32)), bytes(range(100, 132))
MEMORY = Path("/proc/self/mem")


def keys() -> list[bytes]:
    return [SEED] + [
        hkdf_expand(
            SEED,
            f"sage-{direction}-key|0.10.0".encode()
            + TH
            + generation.to_bytes(8, "big"),
            32,
        )
        for direction in ("c2s", "s2c")
        for generation in (0, 1)
    ]


def used_session(twin: Any) -> Any:
    """Return an initiator whose every key slot has been filled."""
    ada, grace = (
        twin.SessionCore(V0_10, SEED, TH, role, now=0.0)
        for role in (Role.INITIATOR, Role.RESPONDER)
    )
    for _ in range(300):
        ada.open(grace.seal(b"", now=1.0), now=1.0)
        ada.seal(b"", now=1.0)
    grace.close()
    return ada


def held(session: Any) -> bytes:
    if type(session).__module__ == "sage._core_py":
        return bytes(session._block)
    return ctypes.string_at(id(session), type(session).__basicsize__)


def test_close_wipes_the_block(twin):
    ada = used_session(twin)
    secrets = [secret for secret in keys() if secret in held(ada)]
    # The seed, c2s of generation 1, s2c of generations 1 and 0.
    assert len(secrets) == 4
    ada.close()
    assert not any(secret[:8] in held(ada) for secret in secrets)
    assert TH not in held(ada)
    if type(ada).__module__ == "sage._core_py":
        assert held(ada) == bytes(192)


def test_closing_short_of_memory_wipes_everything_or_nothing():
    for event in range(12):
        ada = used_session(pure)
        grace = pure.SessionCore(V0_10, SEED, TH, Role.RESPONDER, now=0.0)
        grace.seal_many([b""] * 700, now=1.0)
        ada.authenticate(grace.seal(b"", now=1.0), now=1.0)  # of a key not yet kept
        tried = ada._tried[1]
        if short_of_memory_at(event, ada.close):
            assert not ada.closed
            assert ada.seal(b"", now=1.0)
            ada.close()
        assert ada.closed
        assert not any(held(ada))
        assert not any(tried)
        assert not ada._tried[1]
        assert not ada._sealers
        assert not ada._openers
        assert ada._seal_ahead is pure._SEAL_NONE_AHEAD
        assert ada._open_ahead is pure._OPEN_NONE_AHEAD


@pytest.mark.parametrize("act", ["close", "drop"])
def test_the_objects_of_cryptography_go_with_the_session(twin, monkeypatch, act):
    made = []

    def make(key):
        made.append(ChaCha20Poly1305(key))
        return made[-1]

    monkeypatch.setattr(twin, "ChaCha20Poly1305", make)
    direct = twin is not pure and backend()["engine"] == "libcrypto"
    if direct:
        twin.use_libcrypto(False)
    try:
        ada = used_session(twin)
    finally:
        if direct:
            twin.use_libcrypto(True)

    def references() -> list[int]:
        return [sys.getrefcount(engine) for engine in made]

    before = references()
    if act == "close":
        ada.close()
    else:
        del ada
    # One to send with, one for each of the two generations received.
    after = references()
    assert sum(was > now for was, now in zip(before, after, strict=True)) == 3
    assert len(set(after)) == 1


CONTEXTS = """
alive, made = set(), []

def new(real, provider):
    made.append(real(provider))
    alive.add(made[-1])
    return made[-1]

def free(real, context):
    alive.remove(context)
    real(context)

exchange("cipher.newctx", new)
exchange("cipher.freectx", free)
import sage
from sage import _core
from sage.session import V0_10
from sage.types import Role

assert sage.backend()["engine"] == "libcrypto"
told = [len(made) > 0, len(alive)]
ada, grace = (_core.SessionCore(V0_10, bytes(32), bytes(32), r, now=0.0) for r in Role)
for _ in range(300):
    ada.open(grace.seal(b"", now=1.0), now=1.0)
    ada.seal(b"", now=1.0)
told.append(len(alive))
grace.close()
told.append(len(alive))
forgery = bytes(8) + bytes(4) + bytes(8) + bytes(16)
for act in (
    lambda: ada.seal_many([bytes(5000)] * 6, threads=3, now=1.0),
    lambda: ada.open(b"short", now=1.0),
    lambda: ada.open(forgery, now=1.0),
):
    try:
        act()
    except sage.SageError:
        pass
told.append(len(alive))
{act}
told.append(len(alive))
print(told)
"""


@needs_libcrypto
@pytest.mark.parametrize("act", ["ada.close()", "del ada"])
def test_the_contexts_of_openssl_go_with_the_session(act):
    """OpenSSL wipes a context that is freed; each that was made is."""
    found = answer(PRELUDE + CONTEXTS.replace("{act}", act))
    # Of the check none is left. Then one to send with for each, and for ada one for
    # each of two generations; what threads and forgeries needed has gone again.
    assert found == "[True, 0, 4, 3, 3, 0]"


@pytest.mark.skipif(not MEMORY.exists(), reason="reads Linux's view of the process")
def test_deallocation_wipes_the_compiled_block():
    core = pytest.importorskip("sage._core")
    secrets = keys()
    ada = used_session(core)
    where, size = id(ada), type(ada).__basicsize__
    with MEMORY.open("rb", buffering=0) as memory:
        memory.seek(where)
        assert sum(secret in memory.read(size) for secret in secrets[:1]) == 1
        del ada
        memory.seek(where)
        after = memory.read(size)
    assert not any(secret[:8] in after for secret in secrets)


def test_a_compiled_session_is_small_and_unknown_to_the_collector():
    core = pytest.importorskip("sage._core")
    ada = core.SessionCore(V0_10, SEED, TH, Role.INITIATOR, now=0.0)
    assert sys.getsizeof(ada) <= 512
    assert not gc.is_tracked(ada)


def test_a_subclass_with_room_for_cycles_is_collected():
    core = pytest.importorskip("sage._core")
    freed = []

    class Roomy(core.SessionCore):
        def __del__(self):
            freed.append(True)

    ada = Roomy(V0_10, SEED, TH, Role.INITIATOR, now=0.0)
    assert gc.is_tracked(ada)
    ada.itself = ada
    del ada
    gc.collect()
    assert freed == [True]
