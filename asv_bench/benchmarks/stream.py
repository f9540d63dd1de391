"""Records over a WebSocket with TLS on loopback: both ends in one process, one loop.

One call sends a burst in one direction and waits for the receiver's word that all of
it was opened. Sealing, opening, TLS and the WebSocket frames of both ends are in it;
connecting, the handshake and the opening of the stream are not. Two processes on two
cores would do better; this is what one core does.
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
BYTES = 16 * 1024 * 1024
RECORDS = 2000


async def _count(stream):
    """Answer each burst, whose first record says how many bytes follow."""
    async for head in stream:
        left = int.from_bytes(head, "big")
        while left > 0:
            left -= len(await stream.receive())
        await stream.send(b"all")


class Stream:
    """A burst of records of one size from the client to the service."""

    params = ([64, 1024, 16384, 65536], ["chacha20poly1305", "aes-256-gcm"])
    param_names = ("bytes", "aead")
    number = 1
    warmup_time = 0.2
    timeout = 60

    def setup(self, size: int, aead: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.data = bytes(size)
        self.records = min(RECORDS, BYTES // size)
        self.stop = asyncio.Event()
        ready = self.loop.create_future()
        self.running = self.loop.create_task(self._run(aead, ready))
        self.stream = self.loop.run_until_complete(ready)

    def teardown(self, size: int, aead: str) -> None:
        self.loop.call_soon_threadsafe(self.stop.set)
        self.loop.run_until_complete(self.running)
        self.loop.close()

    def time_burst(self, size: int, aead: str) -> None:
        self.loop.run_until_complete(self._burst())

    async def _burst(self) -> None:
        total = len(self.data) * self.records
        await self.stream.send(total.to_bytes(8, "big"))
        for _ in range(self.records):
            await self.stream.send(self.data)
        assert await self.stream.receive() == b"all"

    async def _run(self, aead: str, ready: asyncio.Future[object]) -> None:
        ada, grace = sage.Agent.generate(ADA), sage.Agent.generate(GRACE)
        resolver = sage.MemoryResolver([ada.record, grace.record])
        authority, trust = trustme.CA(), ssl.create_default_context()
        authority.configure_trust(trust)
        leaf = authority.issue_cert("localhost").private_key_and_cert_chain_pem
        service = sage.Service(
            agent=grace, resolver=resolver, handler=None, stream_handler=_count
        )
        with tempfile.TemporaryDirectory() as folder:
            certificate = Path(folder) / "server.pem"
            leaf.write_to_path(str(certificate))
            async with (
                serving(service, certificate=certificate) as port,
                sage.connect(
                    f"wss://localhost:{port}/sage",
                    agent=ada,
                    peer=GRACE,
                    resolver=resolver,
                    tls=trust,
                ) as channel,
                channel.stream(aead) as stream,
            ):
                ready.set_result(stream)
                await self.stop.wait()
