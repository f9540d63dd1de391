"""OpenSSL finds no memory: each of its functions fails at each of its calls in turn.

A call of ours then ends with `MemoryError`, moves nothing that a verified record alone
may move, leaves no error behind in OpenSSL's queue, and the next call works.
"""

from __future__ import annotations

import pytest

from ..other_process import answer
from .faults import PRELUDE, needs_libcrypto

pytestmark = needs_libcrypto

FAILING = {
    "cipher.newctx": "None",
    "cipher.encrypt_init": "0",
    "cipher.decrypt_init": "0",
    "cipher.cipher": "0",
    "cipher.final": "0",
    "cipher.get_ctx_params": "0",
    "digest.init": "0",
    "digest.update": "0",
    "digest.final": "0",
}

SETTING = """
import itertools
from dataclasses import replace

at_call, failed = -1, False
crypto = library.handle

def fail(real, *given):
    global at_call, failed
    at_call -= 1
    if at_call != -1:
        return real(*given)
    failed = True
    crypto.ERR_new()
    crypto.ERR_set_error(6, 65, None)
    return VALUE

exchange("NAME", fail)
import sage
from sage import _core
from sage.errors import AuthenticationError, BatchError
from sage.session import DRAFT1, STREAM, STREAM_AES, V0_10
from sage.types import Role

assert sage.backend()["engine"] == "libcrypto"
SEED, TH, SID = bytes(range(32)), bytes(range(32, 64)), bytes(range(16))

def queue():
    return crypto.ERR_peek_error()

def each(act, refused=()):
    '''Fail at one call after the other, until there is none; yield what was raised.'''
    global at_call, failed
    for number in itertools.count():
        at_call, failed = number, False
        try:
            result = act()
        except MemoryError as exc:
            assert str(exc) == "OpenSSL found no memory"
            assert failed
            at_call = -1
            assert queue() == 0
            yield exc
        except refused as exc:
            at_call = -1
            assert failed and queue() == 0
            yield exc
        else:
            at_call = -1
            assert not failed, number
            yield result
            return

def session(profile, role):
    is_draft = profile.layout == "draft1"
    return _core.SessionCore(
        profile, SEED, None if is_draft else TH, role,
        session_id=None if profile.layout == "transcript" else SID, now=0.0,
    )

def pair(profile):
    return [session(profile, role) for role in Role]

def last(found):
    *errors, result = found
    return len(errors), result

FEW = [replace(p, generation_records=2, max_records=10**6)
       for p in (V0_10, STREAM, STREAM_AES, DRAFT1)]
SIZES = (10, 5000)  # with the GIL, and without
total = 0
"""

MAKING = """
for profile in FEW:
    count, ada = last(each(lambda: session(profile, Role.INITIATOR)))
    total += count
    assert session(profile, Role.RESPONDER).open(ada.seal(b"x", now=1.0), now=1.0)
parent = session(V0_10, Role.INITIATOR)
count, stream = last(each(lambda: parent.derive(STREAM, SID, now=1.0)))
total += count
print(total)
"""

DERIVING = """
from sage import _crypto
from sage.handshake import derive, transcript

for salt in (SEED, bytes(65)):  # the longer one is hashed first
    count, prk = last(each(lambda: derive.extract(salt, b"secret")))
    assert prk == _crypto.hkdf_extract(salt, b"secret")
    total += count
count, key = last(each(lambda: derive.expand(prk, b"info")))
assert key == _crypto.hkdf_expand(prk, b"info", 32)
total += count
count, key = last(each(lambda: derive.hkdf(bytes(65), b"secret", b"info")))
assert key == _crypto.hkdf_expand(prk, b"info", 32)
total += count
count, tag = last(each(lambda: transcript.ack_tag(SEED, TH)))
assert tag == _crypto.hmac_sha256(transcript.derive_ack_key(SEED, TH), TH)
print(total + count)
"""

SEALING = """
import numpy as np
for profile, size in itertools.product(FEW, SIZES):
    plain, out = bytes(range(250)) * (size // 250 + 1), bytearray(size + 36)
    plain = plain[:size]
    def into(ada):
        ada.seal_into(plain, out, now=1.0)
        return bytes(out)
    acts = {
        "seal": lambda ada: [ada.seal(plain, now=1.0)],
        "into": lambda ada: [into(ada)],
        "many": lambda ada: ada.seal_many([plain] * 5, now=1.0),
        "batch": lambda ada: [
            bytes(row) for row in
            ada.seal_batch(np.frombuffer(plain * 5, np.uint8).reshape(5, size), now=1.0)
        ],
        "threads": lambda ada: ada.seal_many([plain] * 5, threads=3, now=1.0),
    }
    for name, act in acts.items():
        ada, grace = pair(profile)
        records = []
        for _ in range(3):  # into the next generation
            before = ada.sent
            count, sealed = last(each(lambda: act(ada)))
            # A number is used up where a record failed, and never used twice.
            assert ada.sent <= before + (count + 1) * len(sealed)
            records += sealed
            total += count
        assert len({record[:8] for record in records}) == len(records)
        assert set(grace.open_many(records, now=1.0)) == {plain}
print(total)
"""

OPENING = """
import numpy as np

class Skipped(Exception):
    pass

def opening(grace, plain, name, act, records, out):
    '''Open, at worst with failures; return how many there were.'''
    def facts():
        return grace.received, grace.expires_at
    def once():
        try:
            return act(grace, records)
        except BatchError as exc:  # as if one had been forged; the others are accepted
            (bad,) = exc.errors
            assert forgeries and isinstance(exc.error, AuthenticationError)
            assert not out.any() or not out[bad].any()
            raise Skipped from None
    count, before = 0, facts()
    for found in each(once, (AuthenticationError, Skipped)):
        if isinstance(found, list):
            assert found == [plain] * len(records)
            return count
        count += 1
        accepted = grace.received - before[0]  # rows that stay
        if isinstance(found, Skipped) or facts() != before:
            # Of a batch those before the one that failed may have been accepted.
            assert isinstance(found, Skipped) or settling and len(records) > 1
            records[:] = renew()
            before = facts()
        if not isinstance(found, Skipped):
            assert b"secr" not in out[accepted:].tobytes()
            assert accepted == 0 or name == "many" or out[:accepted].all()
        assert isinstance(found, MemoryError) != forgeries

for profile, size in itertools.product(FEW, SIZES):
    plain = (b"secret" * size)[:size]
    def into(grace, records):
        out[:] = 0x3F
        assert grace.open_into(records[0], out[0], now=2.0) == size
        return [out.tobytes()]
    def batch(grace, records, threads=1):
        out[:] = 0x3F
        wire = np.frombuffer(b"".join(records), np.uint8).reshape(len(records), -1)
        grace.open_batch(wire, out, threads=threads, now=2.0)
        return [row.tobytes() for row in out]
    acts = {
        "open": (1, lambda grace, records: [grace.open(records[0], now=2.0)]),
        "into": (1, into),
        "authenticate": (1, lambda grace, records: [
            grace.authenticate(records[0], now=2.0)[1]]),
        "many": (4, lambda grace, records: grace.open_many(records, now=2.0)),
        "batch": (4, batch),
        "threads": (4, lambda grace, records: batch(grace, records, 3)),
    }
    for name, (number, act) in acts.items():
        out = np.zeros((number, size), np.uint8)
        ada, grace = pair(profile)
        def renew():
            return ada.seal_many([plain] * number, now=1.0)
        count = 0
        for _ in range(3):  # into the next generation
            count += opening(grace, plain, name, act, renew(), out)
        assert grace.failed_opens == (count if forgeries else 0)
        assert name == "authenticate" or grace.received >= 3 * number
        total += count
print(total)
"""


@pytest.mark.parametrize("name", FAILING)
@pytest.mark.parametrize("what", ["MAKING", "DERIVING", "SEALING", "OPENING"])
def test_each_call_that_fails(name, what):
    setting = SETTING.replace("NAME", name).replace("VALUE", FAILING[name])
    # Of a tag's last function nobody can say whether it is a forgery or a failure.
    setting += f"forgeries = {name == 'cipher.final'}\n"
    # A batch that reaches a new generation derives a key between its records.
    setting += f"settling = {name.startswith('digest')}\n"
    total = int(answer(PRELUDE + setting + globals()[what]))
    hashes, opens = name.startswith("digest"), name == "cipher.decrypt_init"
    seals = name in ("cipher.encrypt_init", "cipher.get_ctx_params")
    expected = {
        "MAKING": hashes,
        "DERIVING": hashes,
        "SEALING": not opens,
        "OPENING": not seals,
    }[what]
    assert (total > 0) == expected, total
