"""libsodium does what OpenSSL does, or nothing at all."""

from __future__ import annotations

import copy
import ctypes
import gc
import hashlib
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)
from hypothesis import given
from hypothesis import strategies as st

from sage import _crypto, _libsodium
from sage._accel import backend
from sage._libsodium import Verify
from sage.errors import AuthenticationError, ProtocolError, UsageError
from sage.types import Buffer

from ..ed25519_group import (
    BASE,
    IDENTITY,
    L,
    P,
    add,
    challenge,
    decode,
    encode,
    forge,
    multiply,
    torsion,
)
from ..other_process import answer_and_warnings, memory_of

CORE = _libsodium.compiled()
needs_core = pytest.mark.skipif(
    CORE is None, reason="the compiled core has no libsodium to call"
)


def verification(name: str) -> Verify | None:
    """Return a verification as `_libsodium` finds it, with the core or without."""
    with pytest.MonkeyPatch.context() as patch:
        if name == "PyNaCl":
            patch.setattr(_libsodium, "compiled", lambda: None)
        return _libsodium.verification.__wrapped__()


@pytest.fixture(
    scope="module", params=[pytest.param("core", marks=needs_core), "PyNaCl"]
)
def found(request: pytest.FixtureRequest) -> Verify:
    """Return each of the ways that there are to verify."""
    verify = verification(request.param)
    if verify is None:
        pytest.skip("PyNaCl is not installed, or not to be looked for")
    assert (CORE is not None and verify is CORE.ed25519_verify) == (
        request.param == "core"
    )
    return verify


def openssl(public: bytes, message: Buffer, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def textbook(cofactor: int, *, reduces: bool = False) -> Verify:
    """Return a verification of the equation times a cofactor."""

    def verify(public: bytes, message: Buffer, signature: bytes) -> bool:
        try:
            r = decode(signature[:32])
        except AssertionError:
            return False
        s = int.from_bytes(signature[32:], "little")
        if s >= L and not reduces:
            return False
        k = challenge(signature[:32], public, bytes(message))
        left = multiply(cofactor * s, BASE)
        right = add(r, multiply(k, decode(public)))
        return left == multiply(cofactor, right)

    return verify


def test_verifications_that_agree() -> None:
    assert _libsodium.verifies(openssl)
    assert _libsodium.verifies(textbook(1))


def fails(public: bytes, message: Buffer, signature: bytes) -> bool:
    raise OSError("no library")


@pytest.mark.parametrize(
    "verify",
    [
        pytest.param(textbook(8), id="cofactored"),
        pytest.param(textbook(1, reduces=True), id="reduces the scalar"),
        pytest.param(lambda *given: True, id="accepts everything"),
        pytest.param(lambda *given: False, id="refuses everything"),
        pytest.param(lambda *given: openssl(*given) or None, id="says nothing"),
        pytest.param(lambda public, *given: openssl(bytes(32), *given), id="no key"),
        pytest.param(
            lambda public, message, signature: openssl(public, b"m", signature),
            id="another message",
        ),
        pytest.param(fails, id="fails"),
    ],
)
def test_verifications_that_do_not(verify: Verify) -> None:
    assert not _libsodium.verifies(verify)


# --- the library itself -------------------------------------------------------------


def forged(index: int, nonce: int, message: bytes) -> bytes:
    return forge(add(multiply(nonce, BASE), torsion()[index]), nonce, 77, message)


@pytest.mark.parametrize("nonce", [0, 5, 1234567])
@pytest.mark.parametrize("index", range(8))
def test_nonce_points_of_every_order(index: int, nonce: int, found: Verify) -> None:
    """Only one of the identity differs, and `ed25519_verify` refuses it itself."""
    public, signature = encode(multiply(77, BASE)), forged(index, nonce, b"m")
    accepts = found(public, b"m", signature)
    assert accepts == (index == 0 and nonce != 0)
    if add(multiply(nonce, BASE), torsion()[index]) != IDENTITY:
        assert accepts == openssl(public, b"m", signature)


MUTATIONS: dict[str, Callable[[bytes, int], bytes]] = {
    "none": lambda signature, at: signature,
    "bit": lambda signature, at: (
        int.from_bytes(signature, "little") ^ 1 << at
    ).to_bytes(64, "little"),
    "large scalar": lambda signature, at: (
        signature[:32]
        + (int.from_bytes(signature[32:], "little") + L).to_bytes(32, "little")
    ),
    "other encoding": lambda signature, at: (
        (P + at % 19).to_bytes(32, "little") + signature[32:]
    ),
    "noise": lambda signature, at: bytes([at % 256]) * 64,
}


@given(
    seed=st.binary(min_size=32, max_size=32),
    message=st.binary(max_size=300),
    mutation=st.sampled_from(list(MUTATIONS)),
    at=st.integers(0, 511),
)
def test_it_judges_as_openssl_does(
    seed: bytes, message: bytes, mutation: str, at: int, found: Verify
) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public = key.public_key().public_bytes_raw()
    signature = MUTATIONS[mutation](key.sign(message), at)
    verdict = openssl(public, message, signature)
    assert found(public, message, signature) == verdict == (mutation == "none")
    assert found(public, bytearray(message), signature) == verdict
    assert found(public, memoryview(message), signature) == verdict


@needs_core
def test_what_it_verifies_has_the_right_sizes() -> None:
    public, signature = bytes(32), bytes(64)
    for key, proof in ((public[1:], signature), (public, signature + b"\0")):
        with pytest.raises(UsageError):
            CORE.ed25519_verify(key, b"m", proof)
    with pytest.raises(UsageError):
        CORE.ed25519_verify(public, "m", signature)


# --- private keys ---------------------------------------------------------------------

raw = st.binary(min_size=32, max_size=32)
TWO_P = 2 * P
points = raw | st.sampled_from(
    [n.to_bytes(32, "little") for n in (0, 1, 9, P - 1, P, P + 1, TWO_P, TWO_P + 1)]
)


@needs_core
@given(private=raw, public=points)
def test_it_agrees_as_openssl_does(private: bytes, public: bytes) -> None:
    ours, theirs = CORE.X25519Key(private), X25519PrivateKey.from_private_bytes(private)
    assert ours.public_bytes_raw() == theirs.public_key().public_bytes_raw()
    assert ours.private_bytes_raw() == private
    try:
        shared = theirs.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        assert ours.exchange(public) is None
    else:
        assert ours.exchange(public) == shared
        assert ours.exchange(memoryview(public)) == shared


@needs_core
@given(seed=raw, message=st.binary(max_size=400))
def test_it_signs_as_openssl_does(seed: bytes, message: bytes) -> None:
    signer, expected = (
        CORE.Ed25519Signer(seed),
        Ed25519PrivateKey.from_private_bytes(seed),
    )
    assert signer.sign(message) == expected.sign(message)
    assert signer.sign(bytearray(message)) == expected.sign(message)
    assert signer.lend(bytes) == seed


@needs_core
@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_keys_of_another_size(size: int) -> None:
    assert CORE.X25519Key().exchange(bytes(size)) is None
    for make in (CORE.X25519Key, CORE.Ed25519Signer):
        with pytest.raises(UsageError):
            make(bytes(size))
        with pytest.raises(UsageError):
            make("k" * 32)
    with pytest.raises(UsageError):
        CORE.X25519Key().exchange("k" * 32)
    with pytest.raises(UsageError):
        CORE.Ed25519Signer().sign(7)


@needs_core
def test_fresh_keys_differ() -> None:
    assert len({CORE.X25519Key().private_bytes_raw() for _ in range(100)}) == 100
    assert len({CORE.Ed25519Signer().lend(bytes) for _ in range(100)}) == 100


@needs_core
def test_what_is_lent_is_taken_back() -> None:
    signer = CORE.Ed25519Signer()
    lent = []
    signer.lend(lent.append)
    with pytest.raises(ValueError, match="released"):
        bytes(lent[0])
    with pytest.raises(TypeError):
        signer.lend(lambda seed: seed.__setitem__(0, 1))


@needs_core
@pytest.mark.parametrize("name", ["X25519Key", "Ed25519Signer"])
def test_private_keys_do_not_leak(name: str) -> None:
    make = getattr(CORE, name)
    key = make(bytes(range(32)))
    assert repr(key).startswith(f"<sage._core.{name} object at ")
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            leak(key)
    assert not gc.is_tracked(key)
    with pytest.raises(TypeError):
        type(name, (make,), {})


@needs_core
def test_threads_that_use_one_key() -> None:
    signer, key, peer = CORE.Ed25519Signer(), CORE.X25519Key(), CORE.X25519Key()
    public, results = peer.public_bytes_raw(), []

    def use() -> None:
        results.extend(
            (signer.sign(b"m"), bytes(key.exchange(public))) for _ in range(200)
        )

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 800
    assert set(results) == {(signer.sign(b"m"), bytes(key.exchange(public)))}


CHILD = """
import sys
from _thread import allocate_lock, start_new_thread
from sage import _core, _libsodium
from sage._accel import hkdf_expand_into
_libsodium.compiled()

def secret(name):
    raw = bytearray(32)
    hkdf_expand_into(bytes(range(7, 39)), name, raw)
    return raw

peer, kept = _core.X25519Key(bytes(range(32))).public_bytes_raw(), []
lent, agreed, never = [], allocate_lock(), allocate_lock()
agreed.acquire()
never.acquire()

def agree():
    shared = lent.pop().exchange(peer)
    shared[:] = bytes(32)
    agreed.release()
    never.acquire()  # nobody uses this thread's stack again

for number in range(4):
    raw = secret(b"agree %d" % number)
    key = _core.X25519Key(raw)
    raw[:] = bytes(32)
    lent.append(key)
    start_new_thread(agree, ())
    agreed.acquire()
    raw = secret(b"sign %d" % number)
    signer = _core.Ed25519Signer(raw)
    raw[:] = bytes(32)
    signer.sign(b"message")
    kept += [key, signer]
if sys.argv[1] == "drop":
    del key, signer, kept
print("ready", flush=True)
sys.stdin.read()
"""


def limbs_of(coordinate: bytes) -> bytes:
    """Return a coordinate as it is computed with: 51 bits in each 8 bytes."""
    number = int.from_bytes(coordinate, "little")
    limbs = (number >> at & 2**51 - 1 for at in range(0, 255, 51))
    return b"".join(limb.to_bytes(8, "little") for limb in limbs)


def secrets_of_child() -> Iterator[bytes]:
    """Yield what its keys were made of, and what was computed on the way."""
    master = bytes(range(7, 39))
    peer = X25519PrivateKey.from_private_bytes(bytes(range(32))).public_key()
    for number in range(4):
        private = _crypto.hkdf_expand(master, b"agree %d" % number, 32)
        shared = X25519PrivateKey.from_private_bytes(private).exchange(peer)
        yield from (private, shared, limbs_of(shared))
        seed = _crypto.hkdf_expand(master, b"sign %d" % number, 32)
        expanded = hashlib.sha512(seed).digest()
        nonce = hashlib.sha512(expanded[32:] + b"message").digest()
        reduced = int.from_bytes(nonce, "little") % L
        yield from (seed, expanded[:32], expanded[32:], nonce[:32])
        yield reduced.to_bytes(32, "little")


@needs_core
@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize(("act", "left"), [("drop", 0), ("keep", 8)])
def test_what_another_process_finds_of_keys_that_are_gone(act: str, left: int) -> None:
    memory = memory_of(CHILD, act)
    assert bytes(range(32)) in memory  # the scan sees what is there
    secrets = list(secrets_of_child())
    # The first and last bytes change when a scalar is prepared; these do not.
    assert sum(secret[8:16] in memory for secret in secrets) == left


@pytest.fixture(params=[pytest.param("libsodium", marks=needs_core), "OpenSSL alone"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let keys be loaded in either library, whatever is installed."""
    core = CORE if request.param == "libsodium" else None
    monkeypatch.setattr(_libsodium, "compiled", lambda: core)
    return str(request.param)


@pytest.mark.parametrize("size", [0, 8192, 8193, 16 * 1024, 16 * 1024 + 1])
def test_messages_on_both_sides_of_the_limits(library: str, size: int) -> None:
    seed, message = bytes(range(32)), bytes(size)
    private = _crypto.ed25519_load_private(seed)
    signature = private.sign(message)
    assert signature == Ed25519PrivateKey.from_private_bytes(seed).sign(message)
    key = _crypto.ed25519_load_public(_crypto.ed25519_public_bytes(private))
    _crypto.ed25519_verify(key, message, signature)
    with pytest.raises(AuthenticationError):
        _crypto.ed25519_verify(key, message + b"x", signature)


@pytest.mark.parametrize(("size", "who"), [(8192, "sodium"), (8193, "openssl")])
def test_who_signs(size: int, who: str) -> None:
    signers: Any = [
        SimpleNamespace(sign=lambda message, name=name: name)
        for name in ("openssl", "sodium")
    ]
    assert _crypto.Ed25519PrivateKey(*signers).sign(bytes(size)) == who


@pytest.mark.parametrize(("size", "who"), [(16_384, "sodium"), (16_385, "openssl")])
def test_who_verifies(size: int, who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(
        _libsodium, "verification", lambda: lambda *given: not asked.append("sodium")
    )
    public: Any = SimpleNamespace(
        public_bytes_raw=lambda: bytes(32),
        verify=lambda *given: asked.append("openssl"),
    )
    _crypto.ed25519_verify(public, bytes(size), b"r" * 32 + bytes(32))
    assert asked == [who]


@pytest.mark.parametrize("size", [0, 31, 33])
def test_private_keys_of_another_size(library: str, size: int) -> None:
    for load in (_crypto.ed25519_load_private, _crypto.x25519_load_private):
        with pytest.raises(UsageError, match="private key is 32 bytes"):
            load(bytes(size))


def test_keys_are_the_same_in_either(library: str) -> None:
    signing, agreeing = _crypto.ed25519_generate(), _crypto.x25519_generate()
    for key, load in (
        (signing, _crypto.ed25519_load_private),
        (agreeing, _crypto.x25519_load_private),
    ):
        again = load(_crypto.private_bytes(key))
        assert _crypto.private_bytes(again) == _crypto.private_bytes(key)
        assert _crypto.pkcs8_encode(again) == _crypto.pkcs8_encode(key)
        curve, loaded = _crypto.pkcs8_load(_crypto.pkcs8_encode(key), None)
        assert _crypto.private_bytes(loaded) == _crypto.private_bytes(key)
        assert curve in ("Ed25519", "X25519")
    assert (
        _crypto.x25519_public_bytes(agreeing)
        == agreeing.openssl().public_key().public_bytes_raw()
    )


def test_shared_secrets_are_in_memory_that_can_be_wiped(library: str) -> None:
    ours, theirs = _crypto.x25519_generate(), _crypto.x25519_generate()
    shared = _crypto.x25519_exchange(ours, _crypto.x25519_public_bytes(theirs))
    assert type(shared) is bytearray
    assert shared == _crypto.x25519_exchange(theirs, _crypto.x25519_public_bytes(ours))
    for public in (bytes(32), bytes(31), bytes(33), (1).to_bytes(32, "little")):
        with pytest.raises(ProtocolError) as refusal:
            _crypto.x25519_exchange(ours, public)
        assert refusal.value.code == "handshake.invalid-dh"


# --- known answers --------------------------------------------------------------------


class OpensslKey:
    """What the core has for X25519, by OpenSSL."""

    def __init__(self, private: bytes | None = None) -> None:
        make = X25519PrivateKey
        self.key = (
            make.generate() if private is None else make.from_private_bytes(private)
        )

    def public_bytes_raw(self) -> bytes:
        return self.key.public_key().public_bytes_raw()

    def private_bytes_raw(self) -> bytes:
        return self.key.private_bytes_raw()

    def exchange(self, public: bytes) -> bytearray | None:
        try:
            return bytearray(
                self.key.exchange(X25519PublicKey.from_public_bytes(public))
            )
        except ValueError:
            return None


class Stale(OpensslKey):
    def __init__(self, private: bytes | None = None) -> None:
        super().__init__(private or b"k" * 32)


class Accepts(OpensslKey):
    def exchange(self, public: bytes) -> bytearray | None:
        return super().exchange(public) or bytearray(32)


class AcceptsTheOrder8(OpensslKey):
    def exchange(self, public: bytes) -> bytearray | None:
        return super().exchange(public) or (bytearray(32) if any(public) else None)


class KeepsTheHighBit(OpensslKey):
    def exchange(self, public: bytes) -> bytearray | None:
        if public[31] & 128:
            public = (int.from_bytes(public, "little") % P).to_bytes(32, "little")
        return super().exchange(public)


class OtherPublic(OpensslKey):
    def public_bytes_raw(self) -> bytes:
        return bytes(31) + b"\x09"


class OtherPrivate(OpensslKey):
    def private_bytes_raw(self) -> bytes:
        raw = super().private_bytes_raw()  # clamped, which is the same to X25519
        return bytes([raw[0] & 248]) + raw[1:31] + bytes([raw[31] & 127 | 64])


class FreshPublic(OpensslKey):
    def __init__(self, private: bytes | None = None) -> None:
        super().__init__(private)
        self.public = X25519PrivateKey.generate() if private is None else self.key

    def public_bytes_raw(self) -> bytes:
        return self.public.public_key().public_bytes_raw()


class Absent(OpensslKey):
    def __init__(self, private: bytes | None = None) -> None:
        raise OSError("no library")


class OpensslSigner:
    def __init__(self, seed: bytes) -> None:
        self.sign = Ed25519PrivateKey.from_private_bytes(seed).sign


class SignsOthers(OpensslSigner):
    def __init__(self, seed: bytes) -> None:
        super().__init__(seed)
        self.sign = lambda message: Ed25519PrivateKey.generate().sign(message)


class NoSigner(OpensslSigner):
    def __init__(self, seed: bytes) -> None:
        raise OSError("no library")


def core_of(key: Any = OpensslKey, signer: Any = OpensslSigner) -> SimpleNamespace:
    return SimpleNamespace(X25519Key=key, Ed25519Signer=signer)


def test_cores_that_are_right() -> None:
    assert _libsodium.agrees(core_of())
    assert _libsodium.signs(core_of())


@pytest.mark.parametrize(
    "key",
    [
        *(Stale, Accepts, AcceptsTheOrder8, KeepsTheHighBit),
        *(OtherPublic, OtherPrivate, FreshPublic, Absent),
    ],
)
def test_cores_that_agree_otherwise(key: type[OpensslKey]) -> None:
    assert not _libsodium.agrees(core_of(key=key))


@pytest.mark.parametrize("signer", [SignsOthers, NoSigner])
def test_cores_that_sign_otherwise(signer: type[OpensslSigner]) -> None:
    assert not _libsodium.signs(core_of(signer=signer))


# --- whether it is taken --------------------------------------------------------------

REPORT = """
import sys
import sage
from sage.identity import SigningKey, verify
assert "nacl" not in sys.modules  # not before there is a key
key = SigningKey.generate("did:sage:web:agents.example:ada#sign-1")
signature = key.sign(b"m")
verify("ed25519", key.public_key, b"m", signature)
try:
    verify("ed25519", key.public_key, b"n", signature)
except sage.errors.AuthenticationError:
    pass
else:
    raise SystemExit("a forgery was accepted")
found = sage.backend()
print(found["curve25519"], found["ed25519"], "nacl" in sys.modules)
"""
ANY_TIME = REPORT.replace("assert", "...,")
IN_THE_CORE = "libsodium libsodium False"
IN_PYNACL = "cryptography libsodium True"
NOWHERE = "cryptography cryptography False"
needs_pynacl = pytest.mark.skipif(
    _libsodium.verification() is None,
    reason="PyNaCl is not installed, or not to be looked for",
)


def test_backend_says_who_works() -> None:
    found = backend()
    assert found["curve25519"] == ("cryptography" if CORE is None else "libsodium")
    if CORE is not None:
        assert found["ed25519"] == "libsodium"


@needs_core
def test_it_is_taken_where_it_is_installed() -> None:
    assert answer_and_warnings(REPORT) == (IN_THE_CORE, "")


@needs_pynacl
def test_pynacl_verifies_for_the_pure_twin() -> None:
    assert answer_and_warnings(REPORT, SAGE_NO_EXTENSIONS="1") == (IN_PYNACL, "")


def test_nobody_looks_for_it_where_that_is_forbidden() -> None:
    assert answer_and_warnings(REPORT, SAGE_ENGINE="cryptography") == (NOWHERE, "")


def test_nothing_is_amiss_without_it() -> None:
    absent = "import sys\nsys.modules['nacl'] = None\n"
    out, warnings = answer_and_warnings(absent + ANY_TIME)
    assert (out, warnings) == ("cryptography cryptography True", "")


@needs_core
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(
            "library.FUNCTIONS += ('crypto_of_tomorrow',)", id="not to be seen"
        ),
        pytest.param(
            "import ctypes\nctypes.CDLL = lambda file: exec('raise OSError(file)')",
            id="not to be opened",
        ),
        pytest.param("sys.modules['ctypes'] = None", id="no ctypes"),
        pytest.param("library.find_spec = lambda name: None", id="no such module"),
    ],
)
def test_pynacl_verifies_where_its_library_is_out_of_reach(fault: str) -> None:
    code = f"import sys\nimport sage._libsodium as library\n{fault}\n"
    assert answer_and_warnings(code + REPORT) == (IN_PYNACL, "")


def test_a_library_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nacl")
    library = SimpleNamespace(sodium_init=ctypes.CFUNCTYPE(ctypes.c_int)(lambda: -1))
    monkeypatch.setattr(ctypes, "CDLL", lambda file: library)
    with pytest.raises(LookupError, match="does not start"):
        _libsodium.find()


@needs_core
def test_one_that_errs_is_not_used_and_told() -> None:
    errs = """
import nacl.bindings
import sage._libsodium as library
found = library.find()
found["crypto_scalarmult_curve25519"] = found["crypto_scalarmult_curve25519_base"]
library.find = lambda: found
nacl.bindings.crypto_sign_open = lambda signed, public: signed[64:]
"""
    out, warnings = answer_and_warnings(errs + ANY_TIME)
    assert out == "cryptography cryptography True"
    for told in ("has other answers for Curve25519", "verifies Ed25519 by other rules"):
        assert warnings.count(f"RuntimeWarning: libsodium is not used: it {told}") == 1


@needs_core
@pytest.mark.parametrize("name", _libsodium.FUNCTIONS)
def test_each_function_is_asked(name: str) -> None:
    idle = f"""
import ctypes
import sage._libsodium as library
does_nothing = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 0)  # and says that all is well
found = library.find()
found[{name!r}] = ctypes.cast(does_nothing, ctypes.c_void_p).value
library.find = lambda: found
"""
    out, warnings = answer_and_warnings(idle + ANY_TIME)
    assert out == IN_PYNACL
    assert warnings.count("has other answers for Curve25519") == 1


@needs_core
def test_the_core_without_a_library() -> None:
    code = """
from sage import _core
for make in (_core.X25519Key, _core.Ed25519Signer, lambda: _core.ed25519_verify(
    bytes(32), b"", bytes(64)
)):
    try:
        make()
    except _core.UsageError as exc:
        print(exc)
"""
    out, _ = answer_and_warnings(code)
    assert out.splitlines() == ["no libsodium was loaded"] * 3
