"""An OpenSSL whose functions can be made to fail, for interpreters that tests start.

Everything works but what a test exchanges: a function of Python's takes the place of
one of OpenSSL's, which it may call.
"""

from __future__ import annotations

import pytest

from sage import _openssl
from sage._accel import backend

LIBRARY, WHY = _openssl.find()

needs_libcrypto = pytest.mark.skipif(
    backend()["core"] != "cython" or LIBRARY is None,
    reason="there is no engine libcrypto to make fail",
)

PRELUDE = """
import ctypes
import sage._openssl as openssl

library, why = openssl.find()
P, I, N, T = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t, ctypes.c_char_p
LOOKED_UP = {
    "ERR_clear_error": (None,),
    "EVP_CIPHER_fetch": (P, P, T, P),
    "EVP_CIPHER_get0_provider": (P, P),
    "EVP_MD_fetch": (P, P, T, P),
    "EVP_MD_get0_provider": (P, P),
    "OSSL_PROVIDER_get0_provider_ctx": (P, P),
    "OSSL_PROVIDER_query_operation": (P, P, I, P),
}
CIPHERS = {
    "newctx": (P, P),
    "freectx": (None, P),
    "encrypt_init": (I, P, P, N, P, N, P),
    "decrypt_init": (I, P, P, N, P, N, P),
    "cipher": (I, P, P, P, N, P, N),
    "final": (I, P, P, P, N),
    "get_ctx_params": (I, P, P),
}
DIGESTS = {
    "newctx": (P, P),
    "init": (I, P, P),
    "update": (I, P, P, N),
    "final": (I, P, P, P, N),
}
assert sorted(LOOKED_UP) == sorted(openssl.FUNCTIONS)
assert sorted(CIPHERS) == sorted(openssl._CIPHER)
assert sorted(DIGESTS) == sorted(openssl._DIGEST)
kept, later = [], []

def put(addresses, name, kind, answer):
    kind = ctypes.CFUNCTYPE(*kind)
    real = kind(addresses[name])
    double = kind(lambda *given: answer(real, *given))
    kept.append((real, double))
    addresses[name] = ctypes.cast(double, P).value

def exchange(name, answer):
    # Of the library, or of a provider: `cipher.final`, say, or `digest.final`.
    part, _, function = name.partition(".")
    if not function:
        put(library.addresses, name, LOOKED_UP[name], answer)
    else:
        assert function in {"cipher": CIPHERS, "digest": DIGESTS}[part]
        later.append((part, function, answer))

def find_algorithms(library, find=openssl.find_algorithms):
    algorithms = find(library)
    for part, function, answer in later:
        for name, addresses in algorithms.items():
            if (name == "SHA256") == (part == "digest"):
                kinds = DIGESTS if part == "digest" else CIPHERS
                put(addresses, function, kinds[function], answer)
    return algorithms

openssl.find = lambda: (library, why)
openssl.find_algorithms = find_algorithms
"""
