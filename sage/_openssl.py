"""Where the functions of this process's OpenSSL lie, for the compiled core to call.

Nothing is linked, bundled or compiled against OpenSSL's headers: `ctypes` opens a
library that Python has loaded anyway and gives the addresses of the functions. Two
libraries have an OpenSSL behind them: the extension module of `cryptography`, which
distributions link against the system's (the wheels on PyPI hide theirs), and the
standard library's `_hashlib`.

What is called for each record and digest is the function of the provider that has the
algorithm, by the table that every provider gives, whose numbers are fixed since 3.0:
provider(7), provider-cipher(7), provider-digest(7). OpenSSL's EVP is asked once, which
provider that is. LibreSSL, BoringSSL and AWS-LC give a version below 3.0 when they are
asked for it, so they are never taken.
"""

from __future__ import annotations

import _hashlib
import ctypes
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final

from ._addresses import address_of
from ._crypto import extension_file
from .errors import ConfigError

__all__ = ["FUNCTIONS", "Library", "find", "find_algorithms"]

FUNCTIONS: Final = (
    "ERR_clear_error",
    "EVP_CIPHER_fetch",
    "EVP_CIPHER_get0_provider",
    "EVP_MD_fetch",
    "EVP_MD_get0_provider",
    "OSSL_PROVIDER_get0_provider_ctx",
    "OSSL_PROVIDER_query_operation",
)

# OSSL_OP_DIGEST and OSSL_OP_CIPHER, and of each the functions that we call, by their
# numbers (openssl/core_dispatch.h).
_DIGESTS: Final = 1
_DIGEST: Final = {"newctx": 1, "init": 2, "update": 3, "final": 4}
_CIPHERS: Final = 2
_CIPHER: Final = {
    "newctx": 1,
    "encrypt_init": 2,
    "decrypt_init": 3,
    "final": 5,
    "cipher": 6,
    "freectx": 7,
    "get_ctx_params": 10,
}
_OLDEST: Final = 3  # the first major version with provider dispatch


@dataclass(frozen=True, slots=True)
class Library:
    """An OpenSSL that can be called.

    Attributes:
        name: the module that it lies behind.
        version: as OpenSSL writes it, ``"3.0.19"``.
        addresses: of each of `FUNCTIONS`, by name.
        handle: keeps the library loaded for as long as the addresses are used.
    """

    name: str
    version: str
    addresses: dict[str, int]
    handle: ctypes.CDLL


def find() -> tuple[Library | None, str]:
    """Look for an OpenSSL of version 3.0 or newer.

    Returns:
        The library, or ``None``; and which it is, or why there is none.
    """
    why = []
    for name, file in (
        ("cryptography", extension_file()),
        ("_hashlib", getattr(_hashlib, "__file__", None)),
    ):
        try:
            library = _open(name, file)
        except Exception as exc:  # auditing hooks refuse with any they like
            why.append(f"{name}: {exc}")
        else:
            return library, f"OpenSSL {library.version} behind {name}"
    return None, f"no OpenSSL that can be called ({'; '.join(why)})"


def find_algorithms(library: Library) -> dict[str, dict[str, int]]:
    """Look for ChaCha20-Poly1305, AES-256-GCM and SHA-256.

    Returns:
        By the algorithm's name: the ``provider``'s context, and the addresses of its
        functions by their names in provider-cipher(7) and provider-digest(7). What was
        fetched for it is never freed, so that they stay good.

    Raises:
        ConfigError: this OpenSSL has not all of them, as under a FIPS policy.
    """
    try:
        return {
            "ChaCha20-Poly1305": _algorithm(library, "CIPHER", "ChaCha20-Poly1305"),
            "AES-256-GCM": _algorithm(library, "CIPHER", "AES-256-GCM"),
            "SHA256": _algorithm(library, "MD", "SHA256"),
        }
    except LookupError as exc:
        _called(library, "ERR_clear_error", None)()  # others look at our thread's queue
        raise ConfigError(f"this OpenSSL has no {exc}") from None


class _Function(ctypes.Structure):
    """OSSL_DISPATCH: one function; number 0 ends a table of them."""

    _fields_ = (("number", ctypes.c_int), ("address", ctypes.c_void_p))


class _Algorithm(ctypes.Structure):
    """OSSL_ALGORITHM: one algorithm; one without names ends a table of them."""

    _fields_ = (
        ("names", ctypes.c_char_p),
        ("properties", ctypes.c_char_p),
        ("functions", ctypes.POINTER(_Function)),
        ("description", ctypes.c_char_p),
    )


def _algorithm(library: Library, kind: str, name: str) -> dict[str, int]:
    """Return where one algorithm's functions are.

    Raises:
        LookupError: there is none, or without one of the functions.
    """
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    fetch = _called(library, f"EVP_{kind}_fetch", pointer, pointer, text, text)
    fetched = fetch(None, name.encode("ascii"), None)
    if not fetched:
        raise LookupError(name)
    provider = _called(library, f"EVP_{kind}_get0_provider", pointer, pointer)(fetched)
    query = _called(
        library,
        "OSSL_PROVIDER_query_operation",
        ctypes.POINTER(_Algorithm),
        *(pointer, number, ctypes.POINTER(number)),
    )
    operation, wanted = (_CIPHERS, _CIPHER) if kind == "CIPHER" else (_DIGESTS, _DIGEST)
    found = _functions(query(provider, operation, ctypes.byref(number())), name)
    if not found.keys() >= set(wanted.values()):
        raise LookupError(f"{name} with all of its functions")
    context = _called(library, "OSSL_PROVIDER_get0_provider_ctx", pointer, pointer)
    addresses = {function: found[number] for function, number in wanted.items()}
    return {"provider": context(provider) or 0, **addresses}


def _functions(table: Any, name: str) -> dict[int, int]:
    """Return an algorithm's functions by number; none where it is not in the table."""
    for algorithm in takewhile(lambda one: one.names, table or ()):
        if name.lower() in algorithm.names.decode("latin-1").lower().split(":"):
            functions = takewhile(lambda one: one.number, algorithm.functions)
            return {one.number: one.address for one in functions if one.address}
    return {}


def _called(library: Library, function: str, *kind: Any) -> Any:
    """Return one of `FUNCTIONS` to call: what it returns, and what it takes."""
    return ctypes.CFUNCTYPE(*kind)(library.addresses[function])


def _open(name: str, file: str | None) -> Library:
    """Open one library.

    Raises:
        LookupError: it gives no OpenSSL, or one that is too old.
        OSError: it cannot be opened.
    """
    # A `_hashlib` that is part of the interpreter has its OpenSSL there, too; for
    # another module, "no file" would mean whatever anybody has loaded.
    if file is None and name != "_hashlib":
        raise LookupError("has no file")
    handle = ctypes.CDLL(file)
    version = _version(handle)
    if int(version.partition(".")[0]) < _OLDEST:
        raise LookupError(f"version {version} is older than {_OLDEST}.0")
    addresses = {function: address_of(handle, function) for function in FUNCTIONS}
    return Library(name, version, addresses, handle)


def _version(handle: ctypes.CDLL) -> str:
    """Ask a library for its version: 0xMNN00PP0, major, minor and patch."""
    address_of(handle, "OpenSSL_version_num")
    ask = handle.OpenSSL_version_num
    ask.argtypes, ask.restype = [], ctypes.c_ulong
    number = ask()
    return f"{number >> 28 & 0xF}.{number >> 20 & 0xFF}.{number >> 4 & 0xFF}"
