"""Ports for servers that a test starts later, or that nobody is to serve.

A port that the system handed out and got back may be handed out again before the
server is there. These are below the range that systems hand out from, each is given
once, and processes that test together draw from numbers of their own.
"""

from __future__ import annotations

import os
import random
import socket

_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_LEFT = [*range(20_000 + _WORKER, 32_000, _WORKERS)]
random.Random().shuffle(_LEFT)  # a second run on this machine has another order


def free_port() -> int:
    """Return a port of loopback on which nobody listens."""
    while True:
        port = _LEFT.pop()
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
