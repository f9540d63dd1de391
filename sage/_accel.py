"""The chooser between the two kernels: compiled where it is there, else pure.

The twins answer alike; only speed differs. The compiled one is left out only when
it is absent. One that is there and does not load is an error, because a silent
fallback would cost a service most of its speed without a word.

Environment, read once at import:

============================= =================================================
``SAGE_NO_EXTENSIONS=1``      take the pure twin
``SAGE_REQUIRE_EXTENSIONS=1`` refuse to start without the compiled one
``SAGE_ENGINE=cryptography``  the AEAD and HKDF of that package, the default
============================= =================================================
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from ._crypto import (
    CRYPTOGRAPHY_VERSION,
    ChaCha20Poly1305,
    hkdf_expand_into,
    openssl_version,
)
from .errors import ConfigError

__all__ = ["ReplayWindow", "SessionCore", "backend", "untrack"]


def backend() -> dict[str, str]:
    """Say which kernels and which engine are at work, and why.

    Returns:
        ``core`` (``cython`` or ``python``), ``engine`` (``cryptography``),
        ``openssl`` and ``cryptography`` (versions), ``reason`` (why this core).
    """
    return {
        "core": _CORE,
        "engine": "cryptography",
        "openssl": openssl_version(),
        "cryptography": CRYPTOGRAPHY_VERSION,
        "reason": _REASON,
    }


def _switch(name: str) -> bool:
    value = os.environ.get(name, "")
    if value not in ("", "0", "1"):
        raise ConfigError(f"{name} must be 0 or 1, not {value!r}")
    return value == "1"


def _check_environment() -> tuple[bool, bool]:
    pure, required = _switch("SAGE_NO_EXTENSIONS"), _switch("SAGE_REQUIRE_EXTENSIONS")
    if pure and required:
        raise ConfigError(
            "SAGE_NO_EXTENSIONS and SAGE_REQUIRE_EXTENSIONS exclude each other"
        )
    engine = os.environ.get("SAGE_ENGINE", "")
    if engine not in ("", "cryptography"):
        raise ConfigError(f"SAGE_ENGINE must be cryptography, not {engine!r}")
    return pure, required


def _check_engine() -> None:
    """Refuse an engine that errs, or that reads its key after it was made.

    The kernels hand over a view of their key block, release the view and may wipe
    the block. Known answers: RFC 5869 A.1 (the first 32 bytes), and the tag of RFC
    8439 for the empty message under a zero nonce and that key.
    """
    key = bytearray(32)
    prk = bytes.fromhex(
        "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"
    )
    hkdf_expand_into(prk, bytes(range(0xF0, 0xFA)), key)
    with memoryview(key) as view:
        aead = ChaCha20Poly1305(view)
    derived, key[:] = bytes(key), bytes(32)
    if (derived.hex(), aead.encrypt(bytes(12), b"", b"").hex()) != _KNOWN_ANSWERS:
        raise ConfigError("the cryptography package fails its known-answer test")


_KNOWN_ANSWERS: Final = (
    "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf",
    "86b6393ea8b93202d7ffadc2a3fbd96f",
)
_PURE, _REQUIRED = _check_environment()
_check_engine()

if TYPE_CHECKING:
    from ._core_py import ReplayWindow, SessionCore, untrack

    _CORE, _REASON = "python", ""
elif _PURE:
    from ._core_py import ReplayWindow, SessionCore, untrack

    _CORE, _REASON = "python", "SAGE_NO_EXTENSIONS=1"
else:
    try:  # "from . import _core" would hide why it does not load
        from ._core import ReplayWindow, SessionCore, untrack

        _CORE, _REASON = "cython", "the compiled core is installed"
    except ModuleNotFoundError as exc:
        if exc.name != f"{__package__}._core":
            raise
        if _REQUIRED:
            raise ConfigError(
                "SAGE_REQUIRE_EXTENSIONS=1, but the compiled core is not installed"
            ) from exc
        from ._core_py import ReplayWindow, SessionCore, untrack

        _CORE, _REASON = "python", "the compiled core is not installed"
