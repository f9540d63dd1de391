"""Names that are imported when they are first used (PEP 562).

`import sage` stays quick, and works without the extras that some rooms need; a name
whose extra is missing says which one when it is used.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Final

from .errors import ConfigError

__all__ = ["EXTRAS", "extra_modules", "lazy_names"]

EXTRAS: Final[Mapping[str, tuple[str, ...]]] = {
    "ethereum": ("Crypto",),
    "websocket": ("websockets", "h11", "cachetools"),
    "http": ("http_sf", "aiohttp"),
    "http2": ("http_sf", "httpx2", "h2"),
    "service": ("http_sf", "uvicorn"),
    "redis": ("redis",),
    "fast": (
        "cachebox",
        "nacl",
        *(() if sys.platform == "win32" else ("uvloop",)),
    ),
    "metrics": ("prometheus_client",),
    "zstd": ("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd",),
    "cli": ("typer", "rich", "trustme"),
    "loadtest": ("hdrh",),
}
"""The modules that each extra of pyproject.toml brings by itself, and that are needed.

A module that several bring is named by the first: what one extra is for, not what else
has it, unless the name in question needs the other extra anyway.
"""

_INCLUDED: Final = {"service": "websocket", "cli": "service", "loadtest": "cli"}

# Where one of these is what cannot be imported, its own extra brings all that it needs.
_EXTRA_OF_HOME: Final = {
    "sage.service.hosting": "service",
    "sage.service.server": "service",
}


def extra_modules(extra: str) -> tuple[str, ...]:
    """Return the modules that an extra brings, with those of the one it includes."""
    included = _INCLUDED.get(extra)
    return (*(extra_modules(included) if included else ()), *EXTRAS[extra])


def lazy_names(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return a package's ``__getattr__`` and ``__dir__``.

    Args:
        package: the package's ``__name__``.
        homes: public name → the module that defines it, relative to the package.

    Raises (when a name is used):
        ConfigError: the extra that its room needs is not installed.
    """

    def get(name: str) -> object:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            return getattr(importlib.import_module(home, package), name)
        except ModuleNotFoundError as exc:
            missing = exc
        except ConfigError as exc:
            # A room below has named the extra that it needs alone.
            if not isinstance(exc.__cause__, ModuleNotFoundError):
                raise
            if package + home not in _EXTRA_OF_HOME:
                raise
            missing = exc.__cause__
        extra = _extra_of(missing.name, package + home)
        if extra is None:
            raise missing
        raise ConfigError(
            f"{package}.{name} needs {missing.name}: pip install 'sage-secure[{extra}]'"
        ) from missing

    return get, lambda: sorted(homes)


def _extra_of(module: str | None, home: str) -> str | None:
    """Return the extra to install where ``home`` cannot import a module."""
    own = _EXTRA_OF_HOME.get(home)
    if own is not None and module in extra_modules(own):
        return own
    return next((extra for extra in EXTRAS if module in EXTRAS[extra]), None)
