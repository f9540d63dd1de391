"""Requests over HTTPS on loopback: both ends in one process, one loop.

One call is one request of 0.10.0 and its answer, or sixteen at once: four Ed25519
signatures and as many verifications (envelope and HTTP, both ways), two records, TLS
and HTTP on kept connections. Connecting and the handshake are not in it. The same over
a WebSocket stands beside it, with half of the signatures.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import tempfile
from pathlib import Path

import trustme

import sage
from sage.service import serving

ADA, GRACE = (f"did:sage:web:agents.example:{name}" for name in ("ada", "grace"))


async def _echo(message: sage.Message) -> bytes:
    return message.payload


class Request:
    """Round trips of one payload size over one channel."""

    params = (["https", "wss"], [64, 1024, 65536], [1, 16])
    param_names = ("carrier", "bytes", "at_once")
    warmup_time = 0.2
    timeout = 60

    def setup(self, carrier: str, size: int, at_once: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.payload = bytes(size)
        self.stop = asyncio.Event()
        ready = self.loop.create_future()
        self.running = self.loop.create_task(self._run(carrier, ready))
        self.channel = self.loop.run_until_complete(ready)

    def teardown(self, carrier: str, size: int, at_once: int) -> None:
        self.stop.set()
        self.loop.run_until_complete(self.running)
        self.loop.close()

    def time_round_trip(self, carrier: str, size: int, at_once: int) -> None:
        self.loop.run_until_complete(self._ask(at_once))

    async def _ask(self, at_once: int) -> None:
        asking = (self.channel.request(self.payload) for _ in range(at_once))
        for answer in await asyncio.gather(*asking):
            assert answer == self.payload

    async def _run(self, carrier: str, ready: asyncio.Future[object]) -> None:
        ada, grace = sage.Agent.generate(ADA), sage.Agent.generate(GRACE)
        resolver = sage.MemoryResolver([ada.record, grace.record])
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        url = f"{carrier}://localhost:{port}/sage"
        endpoints = frozenset({url} if carrier == "https" else ())
        service = sage.Service(
            agent=grace,
            resolver=resolver,
            handler=_echo,
            config=sage.ServiceConfig(https_endpoints=endpoints),
        )
        certificate, context = self._tls()
        async with (
            serving(service, certificate=certificate, port=port),
            sage.connect(
                url, agent=ada, peer=GRACE, resolver=resolver, tls=context
            ) as channel,
        ):
            ready.set_result(channel)
            await self.stop.wait()

    def _tls(self) -> tuple[Path, ssl.SSLContext]:
        authority = trustme.CA()
        leaf = authority.issue_cert("localhost").private_key_and_cert_chain_pem
        certificate = Path(tempfile.mkdtemp()) / "grace.pem"
        leaf.write_to_path(str(certificate))
        context = ssl.create_default_context()
        authority.configure_trust(context)
        return certificate, context
