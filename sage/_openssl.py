"""Where the functions of this process's OpenSSL lie, for the compiled core to call.

Nothing is linked, bundled or compiled against OpenSSL's headers: `ctypes` opens a
library that Python has loaded anyway and gives the addresses of the functions. Two
libraries have an OpenSSL behind them: the extension module of `cryptography`, which
distributions link against the system's (the wheels on PyPI hide theirs), and the
standard library's `_hashlib`.

The functions are those of EVP, OpenSSL's documented interface, as they are since 3.0
(provider dispatch, `OSSL_PARAM`). LibreSSL, BoringSSL and AWS-LC give a version below
3.0 when they are asked for it, so they are never taken.
"""

from __future__ import annotations

import _hashlib
import ctypes
from dataclasses import dataclass
from typing import Final

from ._crypto import extension_file

__all__ = ["FUNCTIONS", "Library", "find"]

FUNCTIONS: Final = (
    "ERR_clear_error",
    "EVP_CIPHER_CTX_free",
    "EVP_CIPHER_CTX_get_params",
    "EVP_CIPHER_CTX_new",
    "EVP_CIPHER_CTX_set_params",
    "EVP_CIPHER_fetch",
    "EVP_Cipher",
    "EVP_CipherFinal_ex",
    "EVP_CipherInit_ex2",
    "EVP_DigestFinal_ex",
    "EVP_DigestInit_ex2",
    "EVP_DigestUpdate",
    "EVP_MD_CTX_new",
    "EVP_MD_fetch",
)
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
    addresses = {function: _address(handle, function) for function in FUNCTIONS}
    return Library(name, version, addresses, handle)


def _version(handle: ctypes.CDLL) -> str:
    """Ask a library for its version: 0xMNN00PP0, major, minor and patch."""
    _address(handle, "OpenSSL_version_num")
    ask = handle.OpenSSL_version_num
    ask.argtypes, ask.restype = [], ctypes.c_ulong
    number = ask()
    return f"{number >> 28 & 0xF}.{number >> 20 & 0xFF}.{number >> 4 & 0xFF}"


def _address(handle: ctypes.CDLL, function: str) -> int:
    try:
        pointer = getattr(handle, function)
    except AttributeError:
        raise LookupError(f"{function} is not to be seen") from None
    address = ctypes.cast(pointer, ctypes.c_void_p).value
    if not address:
        raise LookupError(f"{function} has no address")
    return address
