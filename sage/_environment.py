"""The switches of the environment, read once: which kernels, which engine.

`_accel` says what each is for. Nobody else reads them, so that all of a process is of
one mind.
"""

from __future__ import annotations

import os
from typing import Final

from .errors import ConfigError

__all__ = ["ENGINE", "PURE", "REQUIRED"]


def _switch(name: str) -> bool:
    value = os.environ.get(name, "")
    if value not in ("", "0", "1"):
        raise ConfigError(f"{name} must be 0 or 1, not {value!r}")
    return value == "1"


def _read() -> tuple[bool, bool, str]:
    pure, required = _switch("SAGE_NO_EXTENSIONS"), _switch("SAGE_REQUIRE_EXTENSIONS")
    if pure and required:
        raise ConfigError(
            "SAGE_NO_EXTENSIONS and SAGE_REQUIRE_EXTENSIONS exclude each other"
        )
    engine = os.environ.get("SAGE_ENGINE", "")
    if engine not in ("", "cryptography", "libcrypto"):
        raise ConfigError(
            f"SAGE_ENGINE must be libcrypto or cryptography, not {engine!r}"
        )
    if pure and engine == "libcrypto":
        raise ConfigError(
            "SAGE_NO_EXTENSIONS and SAGE_ENGINE=libcrypto exclude each other"
        )
    return pure, required, engine


_pure, _required, _engine = _read()

PURE: Final = _pure
"""``SAGE_NO_EXTENSIONS=1``: take the pure twin."""

REQUIRED: Final = _required
"""``SAGE_REQUIRE_EXTENSIONS=1``: refuse to start without the compiled core."""

ENGINE: Final = _engine
"""``SAGE_ENGINE``: ``libcrypto``, ``cryptography``, or empty."""
