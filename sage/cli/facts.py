"""What runs here, and why: the facts behind ``sage info``. Needs no extra."""

from __future__ import annotations

import importlib.util
import json
import platform
import sys

from .._accel import backend
from .._lazy import EXTRAS, extra_modules

__all__ = ["as_json", "as_text", "collect"]


def collect() -> dict[str, str | list[str]]:
    """Return the facts: versions, which core and why, which extras."""
    core = backend()
    return {
        "sage": _version(),
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "platform": f"{sys.platform} {platform.machine()}",
        "core": core["core"],
        "reason": core["reason"],
        "engine": core["engine"],
        "openssl": core["openssl"],
        "cryptography": core["cryptography"],
        "curve25519": core["curve25519"],
        "ed25519": core["ed25519"],
        "secp256k1": core["secp256k1"],
        "extras": [extra for extra in EXTRAS if _installed(extra)],
        "missing_extras": [extra for extra in EXTRAS if not _installed(extra)],
    }


def as_json() -> str:
    """Return the facts as one JSON object."""
    return json.dumps(collect(), indent=2)


def as_text() -> str:
    """Return the facts as aligned lines."""
    facts = collect()
    core = f"{facts['core']} ({facts.pop('reason')})"
    lines = {
        name.replace("_", " "): ", ".join(value) if isinstance(value, list) else value
        for name, value in facts.items()
    }
    lines["core"] = core
    width = max(map(len, lines))
    return "\n".join(
        f"{name:<{width}}  {value or 'none'}" for name, value in lines.items()
    )


def _version() -> str:
    # The package's own word, not that of installed metadata, which may be another's.
    return str(sys.modules[__name__.partition(".")[0]].__version__)


def _installed(extra: str) -> bool:
    try:
        return all(
            importlib.util.find_spec(name) is not None for name in extra_modules(extra)
        )
    except ModuleNotFoundError:  # not even the package around it
        return False
