"""Names that are imported when they are first used (PEP 562).

`import sage` stays quick, and works without the extras that some rooms need; a name
whose extra is missing says which one when it is used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Final

from .errors import ConfigError

__all__ = ["lazy_names"]

_EXTRA_OF: Final = {
    "http_sf": "http",
    "websockets": "websocket",
    "h11": "websocket",
    "aiohttp": "http",
    "yarl": "http",
    "httpx2": "http2",
    "redis": "redis",
    "uvicorn": "service",
    "prometheus_client": "metrics",
    "typer": "cli",
    "rich": "cli",
}


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
            extra = _EXTRA_OF.get(exc.name or "")
            if extra is None:
                raise
            raise ConfigError(
                f"{package}.{name} needs {exc.name}: pip install 'sage-secure[{extra}]'"
            ) from exc

    return get, lambda: sorted(homes)
