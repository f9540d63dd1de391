"""Requests on loopback with TLS: both ends in one process, one loop.

One call asks for the answers to a burst of requests, one after the other or sixteen at
once, over a WebSocket and over HTTPS. All that a request costs at both ends is in
it: over HTTPS four Ed25519 signatures and as many verifications, half of them over a
WebSocket. Connecting and the handshake are not, but for the renewal of a session after
900 requests. Two processes on two cores do twice as much; see ``sage loadtest``.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from .house import needs
from .loopback import Loopback, echo

version = "1"
REQUESTS = 48


class Request:
    """A burst of 48 requests with their answers."""

    params: ClassVar = [["wss", "https"], [1024], [1, 16]]
    param_names: ClassVar = ["carrier", "bytes", "at_once"]
    number = 1
    rounds = 1
    repeat = 4
    warmup_time = 0
    timeout = 60

    def setup(self, carrier: str, size: int, at_once: int) -> None:
        self.ends = Loopback(echo, carrier=carrier)
        self.payload = bytes(size)
        self.ends.run(self.ends.end.request(b""))  # the handshake is done

    def teardown(self, carrier: str, size: int, at_once: int) -> None:
        if hasattr(self, "ends"):
            self.ends.close()

    def time_burst_48(self, carrier: str, size: int, at_once: int) -> None:
        self.ends.run(self._burst(at_once))

    async def _burst(self, at_once: int) -> None:
        async def ask() -> None:
            for _ in range(REQUESTS // at_once):
                assert await self.ends.end.request(self.payload) == self.payload

        await asyncio.gather(*(ask() for _ in range(at_once)))


class Connect:
    """Connecting: TLS, WebSocket, resolution, the handshake, one request."""

    number = 1
    rounds = 1
    repeat = 4
    warmup_time = 0
    timeout = 60

    def setup(self) -> None:
        needs("sage.service", "serving")
        Loopback(echo).close()

    def time_serve_connect_and_ask(self) -> None:
        ends = Loopback(echo)
        ends.run(ends.end.request(b""))
        ends.close()
