"""Signed envelopes in memory: what a request and its answer cost without a socket.

``Envelope`` takes one act at a time, with a record of 1 KiB as the payload. ``Request``
is all of it: a channel and a connection over two queues instead of a WebSocket, sixteen
requests in flight, both ends in one thread. Of its time, two signatures and two
verifications are the primitive's.
"""

from __future__ import annotations

import asyncio
import time
import uuid

import sage
from sage.encoding import b64u_encode
from sage.envelope import MemoryReplayGuard, decode_envelope, sign, verify_request
from sage.envelope import Request as SageRequest
from sage.service import ClientConfig, Clock, Message, ServiceConfig
from sage.service.channel import Channel
from sage.service.connection import Connection
from sage.service.host import Host

ADA, GRACE = (f"did:sage:web:agents.example:{name}" for name in ("ada", "grace"))
REQUESTS, IN_FLIGHT = 160, 16


def _header(agent: sage.Agent) -> SageRequest:
    now = int(time.time())
    return SageRequest(
        id=str(uuid.uuid4()),
        did=agent.did,
        recipient=GRACE,
        kid=agent.signing_key.kid,
        created=now,
        expires=now + 60,
        nonce=b64u_encode(bytes(16)),
        encoding="session",
        context_id=str(uuid.uuid4()),
        session_id=b64u_encode(bytes(16)),
        role=sage.Role.INITIATOR,
    )


class Envelope:
    """Each act on one request."""

    def setup(self) -> None:
        self.ada = sage.Agent.generate(ADA)
        self.key = self.ada.record.select_signing_key(int(time.time()))
        self.record = bytes(1052)
        self.signed = sign(
            _header(self.ada).with_payload(self.record), self.ada.signing_key
        )
        self.text = self.signed.encode().decode()

    def time_build_and_sign(self) -> None:
        header = _header(self.ada)
        header.caller_aad()
        sign(header.with_payload(self.record), self.ada.signing_key).encode()

    def time_decode(self) -> None:
        decode_envelope(self.text)

    def time_decode_and_verify(self) -> None:
        verify_request(decode_envelope(self.text), self.key)


class _End:
    """What a WebSocket does for a channel or a connection, over two queues."""

    def __init__(self, inbox: asyncio.Queue, outbox: asyncio.Queue) -> None:
        self._inbox, self._outbox = inbox, outbox

    async def send(self, message: bytes) -> None:
        self._outbox.put_nowait(message.decode())

    async def receive(self) -> str:
        return await self._inbox.get()

    receive_any = receive

    async def close(self, code: int = 1000, reason: str = "") -> None:
        pass

    def lift_limit(self) -> None:
        pass


async def _echo(message: Message) -> bytes:
    return message.payload


class Request:
    """A burst of requests of 1 KiB with their answers."""

    number = 1
    warmup_time = 0.5
    timeout = 60

    def setup(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.channel, self.serving = self.loop.run_until_complete(self._open())

    def teardown(self) -> None:
        self.serving.cancel()
        self.loop.run_until_complete(self.channel.close())
        self.loop.run_until_complete(asyncio.wait([self.serving]))
        self.loop.close()

    def time_burst(self) -> None:
        self.loop.run_until_complete(self._burst())

    async def _open(self) -> tuple[Channel, asyncio.Task]:
        ada, grace = sage.Agent.generate(ADA), sage.Agent.generate(GRACE)
        resolver = sage.MemoryResolver([ada.record, grace.record])
        host = Host(
            agent=grace,
            resolver=resolver,
            handler=_echo,
            guard=MemoryReplayGuard(assume_no_history=True),
            config=ServiceConfig(),
            clock=Clock(),
        )
        there, back = asyncio.Queue(), asyncio.Queue()
        serving = asyncio.create_task(Connection(_End(there, back), host).run())
        channel = Channel(
            _End(back, there),
            agent=ada,
            peer=GRACE,
            resolver=resolver,
            config=ClientConfig(),
            clock=Clock(),
        )
        await channel.handshake()
        return channel, serving

    async def _burst(self) -> None:
        async def ask() -> None:
            for _ in range(REQUESTS // IN_FLIGHT):
                await self.channel.request(bytes(1024))

        await asyncio.gather(*(ask() for _ in range(IN_FLIGHT)))
