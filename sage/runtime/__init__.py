"""TOOLS: what every room may use and that knows of no keys and no sessions.

A `BufferPool` lends buffers to work in and wipes what was used of them.
"""

from .buffers import BufferPool, BufferPoolStatistics, LentBuffer

__all__ = ["BufferPool", "BufferPoolStatistics", "LentBuffer"]
