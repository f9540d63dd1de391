"""OpenSSL's queue of errors, of which each thread has one for all of its connections.

Before it says how a call ended, OpenSSL looks at that queue. What an earlier call has
left there, on whichever connection, is then taken for the new call's error, and the
connection is lost that had nothing to do with it. Then the next one.

Python empties the queue behind every `ssl.SSLError`, but from 3.12 on not behind the
`BrokenPipeError` and the like into which it turns what the system said, and which
OpenSSL puts into the queue from 3.2 on (python/cpython#148594). Who leaves while
something is sent to him would so take everybody else's connection along.
"""

from __future__ import annotations

import functools
import ssl

__all__ = ["clear_error_queue"]


def clear_error_queue() -> None:
    """Forget every error of this thread's.

    No function of Python's does only this; a new TLS object begins with it. Takes some
    20 microseconds, and so is for after a failure.
    """
    _context().wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)


@functools.cache
def _context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
