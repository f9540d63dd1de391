"""TOOLS: what every room may use and that knows of no keys and no sessions.

A `BufferPool` lends buffers to work in and wipes what was used of them. A `Cache` keeps
so many entries for so long.
"""

from .buffers import BufferPool, BufferPoolStatistics, LentBuffer
from .cache import Cache

__all__ = ["BufferPool", "BufferPoolStatistics", "Cache", "LentBuffer"]
