"""The chooser between the kernels, and between the engines under the compiled one.

The twins answer alike; only speed differs. The compiled one is left out only when
it is absent. One that is there and does not load is an error, because a silent
fallback would cost a service most of its speed without a word.

The compiled one calls OpenSSL's functions directly where this process has an OpenSSL
of version 3.0 or newer that can be called (engine ``libcrypto``), and the objects of
the `cryptography` package where it has none (engine ``cryptography``), as the pure twin
always does. An engine is used only after it has given known answers. The handshake's
HMAC and HKDF are the engine's, too.

Environment, read once at import:

============================= ===================================================
``SAGE_NO_EXTENSIONS=1``      take the pure twin
``SAGE_REQUIRE_EXTENSIONS=1`` refuse to start without the compiled one
``SAGE_ENGINE=libcrypto``     refuse to start without that engine
``SAGE_ENGINE=cryptography``  do not look for another engine, nor other libraries
============================= ===================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from warnings import warn

from . import _known_answers as known_answers
from . import _libsecp256k1, _libsodium
from ._crypto import (
    AESGCM,
    CRYPTOGRAPHY_VERSION,
    ChaCha20Poly1305,
    InvalidTag,
    hkdf_expand_into,
    hkdf_into,
    hmac_sha256_into,
    openssl_version,
)
from ._environment import ENGINE, PURE, REQUIRED
from ._known_answers import Engine
from .errors import ConfigError

__all__ = [
    "ReplayWindow",
    "SessionCore",
    "backend",
    "base64url_decode",
    "base64url_encode",
    "hkdf_expand_into",
    "hkdf_into",
    "hmac_sha256_into",
    "untrack",
]


def backend() -> dict[str, str]:
    """Say which kernels and which engine are at work, and why.

    Returns:
        ``core`` (``cython`` or ``python``), ``engine`` (``libcrypto`` or
        ``cryptography``), ``openssl`` (the version under the engine),
        ``cryptography`` (its version), ``curve25519`` (who agrees and signs:
        ``libsodium`` or ``cryptography``), ``ed25519`` (who verifies: the same),
        ``secp256k1`` (who verifies: ``libsecp256k1`` or ``cryptography``), ``reason``
        (why this core and this engine).
    """
    return {
        "core": _CORE,
        "engine": _ENGINE,
        "openssl": _OPENSSL,
        "cryptography": CRYPTOGRAPHY_VERSION,
        "curve25519": "libsodium" if _libsodium.compiled() else "cryptography",
        "ed25519": "libsodium" if _libsodium.verification() else "cryptography",
        "secp256k1": "libsecp256k1" if _libsecp256k1.recovery() else "cryptography",
        "reason": _REASON,
    }


def _use_libcrypto() -> tuple[str | None, str]:
    """Let the compiled core call OpenSSL, if there is one that answers right.

    Returns:
        OpenSSL's version, or ``None``; and why.
    """
    try:
        from ._openssl import find, find_algorithms
    # Built without _hashlib or ctypes; or ctypes, which opens a library when imported,
    # may not, or finds no memory that it may both write and execute.
    except Exception as exc:
        return None, f"no OpenSSL that can be called ({exc})"
    library, why = find()
    if library is None:
        return None, why
    from . import _core

    try:
        _core.load_libcrypto(
            library.addresses["ERR_clear_error"], find_algorithms(library)
        )
        known_answers.check(
            Engine(
                "libcrypto",
                lambda key: _core.LibcryptoAead(False, key),
                lambda key: _core.LibcryptoAead(True, key),
                _core.libcrypto_hmac_into,
                _core.libcrypto_expand_into,
                _core.libcrypto_hkdf_into,
                InvalidTag,
            )
        )
    except ConfigError as exc:
        why = f"{why} is not used: {exc}"
        if ENGINE != "libcrypto":  # else it is an error
            warn(why, RuntimeWarning, stacklevel=2)
        return None, why
    _core.use_libcrypto(True)
    return library.version, why


known_answers.check(
    Engine(
        "cryptography",
        ChaCha20Poly1305,
        AESGCM,
        hmac_sha256_into,
        hkdf_expand_into,
        hkdf_into,
        InvalidTag,
    )
)
_ENGINE, _OPENSSL = "cryptography", openssl_version()

if TYPE_CHECKING or PURE:
    from ._core_py import (
        ReplayWindow,
        SessionCore,
        base64url_decode,
        base64url_encode,
        untrack,
    )

    _CORE, _REASON = "python", "SAGE_NO_EXTENSIONS=1"
else:
    try:  # "from . import _core" would hide why it does not load
        from ._core import (
            ReplayWindow,
            SessionCore,
            base64url_decode,
            base64url_encode,
            untrack,
        )
    except ModuleNotFoundError as exc:
        if exc.name != f"{__package__}._core":
            raise
        for demand, made in (
            ("SAGE_REQUIRE_EXTENSIONS=1", REQUIRED),
            ("SAGE_ENGINE=libcrypto", ENGINE == "libcrypto"),
        ):
            if made:
                text = f"{demand}, but the compiled core is not installed"
                raise ConfigError(text) from exc
        from ._core_py import (
            ReplayWindow,
            SessionCore,
            base64url_decode,
            base64url_encode,
            untrack,
        )

        _CORE, _REASON = "python", "the compiled core is not installed"
    else:
        _CORE, _REASON = "cython", "the compiled core is installed"
        if ENGINE != "cryptography":
            _found, _why = _use_libcrypto()
            if _found is not None:
                from ._core import libcrypto_expand_into as hkdf_expand_into
                from ._core import libcrypto_hkdf_into as hkdf_into
                from ._core import libcrypto_hmac_into as hmac_sha256_into

                _ENGINE, _OPENSSL = "libcrypto", _found
            elif ENGINE == "libcrypto":
                raise ConfigError(f"SAGE_ENGINE=libcrypto, but {_why}")
            _REASON = f"{_REASON}; {_why}"
