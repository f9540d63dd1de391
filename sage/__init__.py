"""sage: identity, key agreement and sealed messages for software agents."""

from __future__ import annotations

__all__ = ["__version__"]
__version__ = "0.1.0"
