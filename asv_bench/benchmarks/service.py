"""Requests over a WebSocket with TLS on loopback: both ends in one process, one loop.

One call asks for the answers to a burst of requests of 1 KiB, sixteen of them under way
at once. Everything that a request costs at both ends is in it; connecting and the
handshake are not, but for the renewal of the session after 900 requests. Two processes
on two cores do twice as much; see ``sage loadtest``.
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from pathlib import Path

import trustme

import sage
from sage.service import serving

ADA, GRACE = (f"did:sage:web:agents.example:{name}" for name in ("ada", "grace"))
REQUESTS, IN_FLIGHT = 160, 16


async def _echo(message: sage.Message) -> bytes:
    return message.payload


class Request:
    """A burst of requests with their answers."""

    number = 1
    warmup_time = 0.5
    timeout = 60

    def setup(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.stop = asyncio.Event()
        ready = self.loop.create_future()
        self.running = self.loop.create_task(self._run(ready))
        self.channel = self.loop.run_until_complete(ready)

    def teardown(self) -> None:
        self.loop.call_soon_threadsafe(self.stop.set)
        self.loop.run_until_complete(self.running)
        self.loop.close()

    def time_burst(self) -> None:
        self.loop.run_until_complete(self._burst())

    async def _burst(self) -> None:
        async def ask() -> None:
            for _ in range(REQUESTS // IN_FLIGHT):
                await self.channel.request(bytes(1024))

        await asyncio.gather(*(ask() for _ in range(IN_FLIGHT)))

    async def _run(self, ready: asyncio.Future) -> None:
        ada, grace = sage.Agent.generate(ADA), sage.Agent.generate(GRACE)
        resolver = sage.MemoryResolver([ada.record, grace.record])
        service = sage.Service(agent=grace, resolver=resolver, handler=_echo)
        authority = trustme.CA()
        leaf = authority.issue_cert("localhost").private_key_and_cert_chain_pem
        client = ssl.create_default_context()
        authority.configure_trust(client)
        with tempfile.TemporaryDirectory() as folder:
            certificate = Path(folder, "grace.pem")
            leaf.write_to_path(str(certificate))
            async with (
                serving(service, certificate=certificate) as port,
                sage.connect(
                    f"wss://localhost:{port}/sage",
                    agent=ada,
                    peer=GRACE,
                    resolver=resolver,
                    tls=client,
                ) as channel,
            ):
                ready.set_result(channel)
                await self.stop.wait()
