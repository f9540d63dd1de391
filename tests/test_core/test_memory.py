"""What another process finds of a session's keys once the session is closed.

A child makes sessions, uses and closes them, and waits; the parent computes every key
they had, from the master key alone, and looks for them in all of the child's memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sage._accel import backend
from sage._crypto import hkdf_expand, hkdf_extract, hmac_sha256, sha256
from sage.encoding import b64u_encode

from ..other_process import memory_of
from .faults import needs_libcrypto

MASTER, TH, STREAM_ID = bytes(range(7, 39)), bytes(range(100, 132)), bytes(range(16))
PAIRS, RECORDS = 100, 300
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/mem").exists(), reason="reads Linux's view of a process"
)
COMPILED = pytest.mark.skipif(
    backend()["core"] != "cython", reason="a promise of the compiled core"
)

CHILD = """
import gc, sys
from sage._accel import backend
from sage._crypto import hkdf_expand_into
from sage.session import Session
from sage.types import Role

master, th, stream_id, pairs, records, act = eval(sys.argv[1])
sid = sys.argv[2]
if backend()["engine"] == "libcrypto":
    from sage import _core
    _core.send_bulk_elsewhere(True)  # so that both hold the key of the AES stream
ends = []
for number in range(pairs):
    seed = bytearray(32)
    hkdf_expand_into(master, b"seed" + number.to_bytes(4, "big"), seed)
    for role in Role:
        session = Session.v0_10(seed, th, role)
        ends.append([
            session,
            session.derive_stream(stream_id),
            Session.stream(seed, th, stream_id, role, "aes-256-gcm"),
            Session.draft1(seed, sid, role),
            Session.draft1(seed, sid),
        ])
    seed[:] = bytes(32)
for ada, grace in zip(ends[::2], ends[1::2]):
    for one, other in zip(ada, grace):
        for _ in range(records):
            other.open(one.seal(b"to Grace"))
            one.open(other.seal(b"to Ada"))
        out = bytearray(100)
        other.open_into(one.seal_into(b"to Grace", out) and out[:44], bytearray(8))
        for size in (3000, 9000):
            other.open_many(one.seal_many([b"x" * size] * 3))
if act == "close":
    for session in sum(ends, []):
        session.close()
elif act == "drop":
    del ada, grace, one, other, session, ends
gc.collect()
print("ready", flush=True)
sys.stdin.read()
"""


def key_sets() -> Iterator[dict[str, bytes]]:
    """Yield the keys of each pair: V10's, both streams', draft1's."""
    sid = b64u_encode(STREAM_ID).encode()
    for number in range(PAIRS):
        seed = hkdf_expand(MASTER, b"seed" + number.to_bytes(4, "big"), 32)
        prk = hkdf_extract(sid, seed)
        keys = {"seed": seed, "draft1 prk": prk}
        six = hkdf_expand(prk, b"sage-session-keys-v1", 64)
        six += hkdf_expand(prk, b"sage-directional-keys-v1", 128)
        keys |= {f"draft1 {at}": six[32 * at : 32 * at + 32] for at in range(6)}
        for generation in (0, 1):
            be64 = generation.to_bytes(8, "big")
            for way in ("c2s", "s2c", "single"):
                info = b"sage-session-rekey-v1" + way.encode() + be64
                keys[f"draft1 {way} {generation}"] = hkdf_expand(prk, info, 32)
                info = f"sage-{way}-key|0.10.0".encode() + TH + be64
                keys[f"v0_10 {way} {generation}"] = hkdf_expand(seed, info, 32)
        for aead in ("chacha20poly1305", "aes-256-gcm"):
            sth = sha256(b"sage-stream|1" + TH + STREAM_ID + aead.encode())
            root = hkdf_expand(seed, b"sage-stream-root|1" + sth, 32)
            keys[f"{aead} root"] = root
            for way in ("c2s", "s2c"):
                info = f"sage-stream-{way}-key|1".encode() + sth + bytes(8)
                keys[f"{aead} {way}"] = hkdf_expand(root, info, 32)
        yield keys


def found_in_child(core: str, act: str, records: int = RECORDS) -> dict[str, int]:
    """Return which kinds of key another process finds, and how many of each."""
    if core == "python":
        environment = {"SAGE_NO_EXTENSIONS": "1"}
    else:
        environment = {"SAGE_ENGINE": backend()["engine"]}
    facts = repr((MASTER, TH, STREAM_ID, PAIRS, records, act))
    memory = memory_of(CHILD, facts, b64u_encode(STREAM_ID), **environment)
    assert MASTER in memory  # the scan sees what is there
    found: dict[str, int] = {}
    words = words_of(memory)
    for keys in key_sets():
        for name, key in keys.items():
            # A part of a key is as telling, and 64 bits of it do not occur by chance.
            if not words.isdisjoint((key[:8], key[16:24])):
                found[name] = found.get(name, 0) + 1
    return found


def words_of(memory: bytes) -> set[bytes]:
    """Return the 8-byte words, at any place, that begin like a half of some key."""
    every = [key for keys in key_sets() for key in keys.values()]
    halves = [key[at : at + 8] for key in every for at in (0, 16)]
    wanted = np.frombuffer(b"".join(halves), np.uint64)
    beginnings = np.zeros(1 << 16, bool)
    beginnings[wanted & 0xFFFF] = True
    words: set[bytes] = set()
    for offset in range(8):
        view = np.frombuffer(
            memory[offset : len(memory) - (len(memory) - offset) % 8], np.uint64
        )
        likely = view[beginnings[view & 0xFFFF]]
        words.update(map(bytes, likely[np.isin(likely, wanted)].view("V8")))
    return words


@COMPILED
@pytest.mark.parametrize("act", ["close", "drop"])
# What a few leave behind is not overwritten by what many do.
@pytest.mark.parametrize("records", [3, RECORDS])
def test_closed_compiled_sessions_leave_no_key(act, records):
    assert found_in_child("cython", act, records) == {}


@pytest.mark.parametrize("core", ["python", pytest.param("cython", marks=COMPILED)])
def test_the_scan_would_notice(core):
    """Sessions that are open hold their keys, on either twin."""
    found = found_in_child(core, "leave")
    assert found["seed"] == PAIRS
    assert found["v0_10 c2s 1"] == PAIRS
    assert found["chacha20poly1305 c2s"] == PAIRS


def test_what_the_pure_twin_leaves():
    """Some of its keys stay in freed memory: `docs/explanation/wiping.md` says so."""
    found = found_in_child("python", "close")
    print(found)
    # Whatever stays, it is no longer in the blocks themselves.
    assert found.get("v0_10 c2s 1", 0) < PAIRS


DERIVING = """
import sys
from _thread import allocate_lock, start_new_thread
from sage._accel import hkdf_into, hmac_sha256_into

salt, ikm = (bytes.fromhex(text) for text in sys.argv[1:])
done, never = allocate_lock(), allocate_lock()
done.acquire()
never.acquire()

def aside(derive, *known):
    out = bytearray(32)
    derive(*known, out)
    out[:] = bytes(32)
    done.release()
    never.acquire()  # nobody uses this thread's stack again

for known in (hkdf_into, salt, ikm, b"info"), (hmac_sha256_into, ikm, salt):
    start_new_thread(aside, known)
    done.acquire()
print("ready", flush=True)
sys.stdin.read()
"""


@needs_libcrypto
def test_derivations_leave_nothing():
    salt, ikm = sha256(b"salt"), sha256(b"ikm") * 2
    prk, tag = hkdf_extract(salt, ikm), hmac_sha256(ikm, salt)
    traces = {"prk": prk, "okm": hkdf_expand(prk, b"info", 32), "tag": tag}
    for name, key in (("prk", prk), ("salt", salt), ("ikm", ikm)):
        for pad in (0x36, 0x5C):
            traces[f"{name} under {pad:#x}"] = bytes(byte ^ pad for byte in key)
    # As the words of the hash's state, in the order of this machine's bytes.
    for name in ("prk", "okm", "tag"):
        words = np.frombuffer(traces[name], ">u4").astype("=u4")
        traces[f"{name} as words"] = words.tobytes()
    memory = memory_of(DERIVING, salt.hex(), ikm.hex())
    assert salt in memory  # the scan sees what is there
    assert [name for name, trace in traces.items() if trace[8:16] in memory] == []
