"""What runs here, and why: the facts behind ``sage info``. Needs no extra."""

from __future__ import annotations

import importlib.util
import json
import platform
import sys
from typing import Final

from .._accel import backend

__all__ = ["as_json", "as_text", "collect"]

# The modules that tell whether an extra of pyproject.toml is there.
_EXTRAS: Final = {
    "ethereum": ("Crypto",),
    "websocket": ("websockets", "h11"),
    "service": ("websockets", "h11", "uvicorn"),
    "metrics": ("prometheus_client",),
    "zstd": ("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd",),
    "cli": ("websockets", "h11", "uvicorn", "typer", "rich", "trustme"),
}


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
        "extras": [name for name, needed in _EXTRAS.items() if _installed(needed)],
        "missing_extras": [
            name for name, needed in _EXTRAS.items() if not _installed(needed)
        ],
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


def _installed(modules: tuple[str, ...]) -> bool:
    try:
        return all(importlib.util.find_spec(name) is not None for name in modules)
    except ModuleNotFoundError:  # not even the package around it
        return False
