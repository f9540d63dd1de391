"""An OpenSSL whose functions can be made to fail, for interpreters that tests start.

Everything works but what a test exchanges: a function of Python's takes the place of
one of OpenSSL's, which it may call.
"""

from __future__ import annotations

import os
import subprocess
import sys

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
P, I, N = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
KINDS = {
    "ERR_clear_error": (None,),
    "EVP_CIPHER_CTX_free": (None, P),
    "EVP_CIPHER_CTX_get_params": (I, P, P),
    "EVP_CIPHER_CTX_new": (P,),
    "EVP_CIPHER_CTX_set_params": (I, P, P),
    "EVP_CIPHER_fetch": (P, P, ctypes.c_char_p, P),
    "EVP_Cipher": (I, P, P, P, ctypes.c_uint),
    "EVP_CipherFinal_ex": (I, P, P, P),
    "EVP_CipherInit_ex2": (I, P, P, P, P, I, P),
    "EVP_DigestFinal_ex": (I, P, P, P),
    "EVP_DigestInit_ex2": (I, P, P, P),
    "EVP_DigestUpdate": (I, P, P, N),
    "EVP_MD_CTX_new": (P,),
    "EVP_MD_fetch": (P, P, ctypes.c_char_p, P),
}
assert sorted(KINDS) == sorted(openssl.FUNCTIONS)
kept = []

def exchange(name, answer):
    kind = ctypes.CFUNCTYPE(*KINDS[name])
    real = kind(library.addresses[name])
    double = kind(lambda *given: answer(real, *given))
    kept.append((real, double))
    library.addresses[name] = ctypes.cast(double, P).value

openssl.find = lambda: (library, why)
"""


def run(
    code: str, *options: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter with these of our variables and no others."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SAGE_")}
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def failure(code: str, *options: str, **environment: str) -> str:
    """Return the last line that a failing interpreter says."""
    done = run(code, *options, **environment)
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    return done.stderr.strip().splitlines()[-1]


def answer(code: str, *options: str, **environment: str) -> str:
    """Return what an interpreter prints that has nothing to complain of."""
    done = run(code, *options, **environment)
    assert done.returncode == 0, (done.returncode, done.stderr)
    assert done.stderr == ""
    return done.stdout.strip()
