"""What breaks, and what breaks things: nobody else may notice.

A service in a process of its own is mistreated by peers that die, stall, read
nothing, say too much or never finish what they began. Meanwhile an honest agent must
be served, the service's memory must stay within bounds, and every wait must end with a
typed error.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import struct
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.asyncio.client import connect as raw_connect
from websockets.exceptions import ConnectionClosed

import sage
from sage.errors import ConnectionLost, DeadlineExceeded, SageError, TransportError
from sage.identity import write_record_file
from sage.limits import ENVELOPE_MAX_BYTES
from sage.service import ClientConfig

from . import lone_service

GRACE = "did:sage:web:agents.example:grace"
MIB = 1024 * 1024

UPGRADE = (
    b"GET /sage HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@dataclass
class Lone:
    """A running service: where it listens, and what it costs."""

    process: asyncio.subprocess.Process
    port: int

    @property
    def url(self) -> str:
        return f"wss://localhost:{self.port}/sage"

    def resident_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/statm").read_text()
        return int(status.split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


@pytest.fixture
def lone(tmp_path, ada, grace, tls):
    for agent in (ada, grace):
        write_record_file(tmp_path / "records", agent.record)
    grace.save(
        tmp_path / "grace.sage", passphrase=lone_service.PASSPHRASE, scrypt_n=1024
    )

    @asynccontextmanager
    async def run(*, idle_timeout_s: float = 5.0) -> AsyncIterator[Lone]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, lone_service.__file__, tmp_path, tls.certificate),
            str(idle_timeout_s),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(30):
                port = int(await process.stdout.readline())
            yield Lone(process, port)
        finally:
            process.stdin.close()
            try:
                async with asyncio.timeout(10):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
                pytest.fail("the service did not stop")

    return run


class Honest:
    """An agent that goes on asking, and remembers how long the longest answer took."""

    def __init__(self, channel: sage.Channel) -> None:
        self._channel = channel
        self.asked, self.longest_s = 0, 0.0

    async def ask_until(self, done: asyncio.Event) -> None:
        while not done.is_set():
            began = time.monotonic()
            assert await self._channel.request(b"well?", timeout_s=5) == b"well?"
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            self.asked += 1
            await asyncio.sleep(0.02)


@asynccontextmanager
async def served_meanwhile(lone: Lone, connecting) -> AsyncIterator[Honest]:
    """An honest agent is served while the block runs, and afterwards."""
    done = asyncio.Event()
    async with connecting(lone.url) as channel:
        honest = Honest(channel)
        asking = asyncio.create_task(honest.ask_until(done))
        try:
            yield honest
        finally:
            done.set()
            await asking
    assert honest.asked >= 1
    assert honest.longest_s < 3
    async with connecting(lone.url) as channel:
        assert await channel.request(b"still?") == b"still?"


async def connect_tls(lone: Lone, tls) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection("localhost", lone.port, ssl=tls.client)
    return writer


async def expect_hang_up(reader: asyncio.StreamReader, *, within_s: float) -> None:
    async with asyncio.timeout(within_s):
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while await reader.read(65536):
                pass


def frame_head(length: int, *, opcode: int = 1) -> bytes:
    """The head of a masked frame whose mask is zero (RFC 6455, 5.2)."""
    if length > 65535:
        return bytes([0x80 | opcode, 0x80 | 127]) + struct.pack(">QI", length, 0)
    return bytes([0x80 | opcode, 0x80 | 126]) + struct.pack(">HI", length, 0)


# --- a network that can fail ------------------------------------------------------


class Proxy:
    """Forwards TCP until it is told to stall, or to cut."""

    def __init__(self) -> None:
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.answer_bytes_left: int | None = None

    def stall(self) -> None:
        """Forward nothing more, and let neither side know: a half-open socket."""
        self._flowing.clear()

    def cut(self) -> None:
        """Reset every connection."""
        for writer in self._writers:
            writer.transport.abort()

    @asynccontextmanager
    async def leading_to(self, port: int) -> AsyncIterator[str]:
        async def serve(reader, writer):
            there = await asyncio.open_connection("127.0.0.1", port)
            self._writers += [writer, there[1]]
            for source, sink, is_answer in (
                (reader, there[1], False),
                (there[0], writer, True),
            ):
                task = asyncio.create_task(self._pump(source, sink, is_answer))
                self._tasks.add(task)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            yield f"wss://localhost:{server.sockets[0].getsockname()[1]}/sage"
        finally:
            server.close()
            self.cut()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pump(self, source, sink, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await self._flowing.wait()
                if is_answer and self.answer_bytes_left is not None:
                    self.answer_bytes_left -= len(data)
                    if self.answer_bytes_left < 0:
                        self.cut()
                        return
                sink.write(data)
                await sink.drain()
            sink.close()


# --- peers that die or stall ------------------------------------------------------


async def test_peers_killed_in_mid_message(lone, connecting, tls):
    async with lone() as service, served_meanwhile(service, connecting):
        before = service.open_files()
        for size in (0, 3, 5_000, 60_000):
            writer = await connect_tls(service, tls)
            writer.write(UPGRADE + frame_head(64_000) + b"x" * size)
            await writer.drain()
            await asyncio.sleep(0.05)
            writer.transport.abort()
        async with asyncio.timeout(10):
            while service.open_files() > before:
                await asyncio.sleep(0.05)


async def test_a_service_killed_in_mid_answer(lone, connecting):
    async with lone() as service, connecting(service.url) as channel:
        waiting = asyncio.create_task(channel.request(b"send 8000000"))
        await asyncio.sleep(0.05)
        service.process.kill()
        with pytest.raises(ConnectionLost) as lost:
            async with asyncio.timeout(5):
                await waiting
        assert lost.value.may_have_run
        with pytest.raises(SageError):
            await channel.request(b"again")


async def test_an_answer_that_is_cut_off(lone, connecting):
    proxy = Proxy()
    async with (
        lone() as service,
        proxy.leading_to(service.port) as url,
        connecting(url) as channel,
    ):
        proxy.answer_bytes_left = 100_000
        with pytest.raises(ConnectionLost) as lost:
            async with asyncio.timeout(5):
                await channel.request(b"send 1000000")
        assert lost.value.may_have_run


@pytest.mark.slow
async def test_a_half_open_socket_ends_at_both_ends(lone, connecting):
    proxy = Proxy()
    async with lone() as service, served_meanwhile(service, connecting):
        before = service.open_files()
        async with proxy.leading_to(service.port) as url:
            config = ClientConfig(request_timeout_s=0.5, handshake_timeout_s=0.5)
            async with connecting(url, config=config) as channel:
                proxy.stall()
                with pytest.raises(DeadlineExceeded) as late:
                    await channel.request(b"x")
                assert late.value.may_have_run
                # The client's end is told nothing, and must not need to be: 5 s of
                # silence are the service's own limit.
                async with asyncio.timeout(10):
                    while service.open_files() > before:
                        await asyncio.sleep(0.1)


async def test_every_wait_of_a_client_has_an_end(lone, connecting):
    proxy = Proxy()
    config = ClientConfig(
        connect_timeout_s=0.4,
        handshake_timeout_s=0.4,
        request_timeout_s=0.4,
        stream_send_timeout_s=0.4,
    )
    async with lone() as service, proxy.leading_to(service.port) as url:
        channel = await connecting(url, config=config)
        async with contextlib.AsyncExitStack() as stack:
            stream = await stack.enter_async_context(channel.stream())
            proxy.stall()
            for waiting in (
                channel.request(b"x"),
                channel.handshake(),
                connecting(url, config=config)._open(),
                _send_for_ever(stream),
                stream.receive(),
            ):
                began = time.monotonic()
                with pytest.raises(TransportError):
                    async with asyncio.timeout(5):
                        await waiting
                assert time.monotonic() - began < 3
        began = time.monotonic()
        await channel.close()
        assert time.monotonic() - began < 2


async def _send_for_ever(stream: sage.service.Stream) -> None:
    while True:
        await stream.send(bytes(500_000))


# --- peers that are slow ----------------------------------------------------------


@pytest.mark.slow
async def test_a_reader_that_does_not_read(lone, connecting):
    """Its answers wait in the kernel and in one buffer; then it is not read either."""
    proxy = Proxy()
    async with lone() as service, served_meanwhile(service, connecting):
        before = service.resident_bytes()
        async with proxy.leading_to(service.port) as url:
            channel = await connecting(url)
            proxy.stall()
            asking = [
                asyncio.create_task(channel.request(b"send 1000000", timeout_s=3))
                for _ in range(64)
            ]
            # What was sent before the stall is little; let some more through.
            proxy._flowing.set()
            await asyncio.sleep(0.1)
            proxy.stall()
            results = await asyncio.gather(*asking, return_exceptions=True)
            grown = service.resident_bytes() - before
            await channel.close()
        assert all(isinstance(r, SageError | bytes) for r in results)
        assert any(isinstance(r, DeadlineExceeded | ConnectionLost) for r in results)
    assert grown < 256 * MIB


@pytest.mark.slow
async def test_tls_handshakes_that_never_end(lone, connecting):
    async with lone() as service, served_meanwhile(service, connecting):
        begun = [
            await asyncio.open_connection("127.0.0.1", service.port) for _ in range(100)
        ]
        for _, writer in begun:
            writer.write(b"\x16\x03\x01\x02")
        for reader, _ in begun:
            await expect_hang_up(reader, within_s=20)
        for _, writer in begun:
            writer.close()


@pytest.mark.slow
async def test_heads_and_messages_a_byte_at_a_time(lone, connecting, tls):
    async with lone() as service, served_meanwhile(service, connecting):

        async def drip(first: bytes, then: bytes) -> None:
            reader, writer = await asyncio.open_connection(
                "localhost", service.port, ssl=tls.client
            )
            writer.write(first)

            async def feed() -> None:
                with contextlib.suppress(ConnectionError):
                    for byte in then:
                        writer.write(bytes([byte]))
                        await writer.drain()
                        await asyncio.sleep(0.2)

            feeding = asyncio.create_task(feed())
            await expect_hang_up(reader, within_s=15)
            feeding.cancel()
            writer.close()

        await asyncio.gather(
            *(drip(b"GET /sage HTTP/1.1\r\n", b"a: bcdefgh" * 20) for _ in range(20)),
            *(drip(UPGRADE, frame_head(60_000) + b"x" * 200) for _ in range(20)),
        )


# --- peers that say too much ------------------------------------------------------


@pytest.mark.slow
async def test_a_message_a_byte_too_long_for_a_service(lone, connecting, tls):
    async with lone() as service, served_meanwhile(service, connecting):
        before = service.resident_bytes()
        for head in (frame_head(ENVELOPE_MAX_BYTES + 1), frame_head(2**62)):
            reader, writer = await asyncio.open_connection(
                "localhost", service.port, ssl=tls.client
            )
            writer.write(UPGRADE + head)
            await expect_hang_up(reader, within_s=5)
            writer.close()
        assert service.resident_bytes() - before < 8 * MIB


async def test_a_message_a_byte_too_long_for_a_client(connecting, ada, tls):
    async def chatter(scope, receive, send):
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await receive()
            await send({"type": "websocket.send", "text": "x" * 16_777_217})
            while (await receive())["type"] != "websocket.disconnect":
                pass

    async with sage.service.serving(chatter, certificate=tls.certificate) as port:
        with pytest.raises(ConnectionLost):
            async with asyncio.timeout(5):
                await connecting(f"wss://localhost:{port}/sage")


# --- peers that are many ----------------------------------------------------------


async def test_a_flood_of_handshakes(lone, connecting, ada):
    """Whoever floods pays a handshake for each that it costs us."""
    async with lone() as service, served_meanwhile(service, connecting) as honest:
        before = service.resident_bytes()

        async def flood() -> int:
            made = 0
            ends = asyncio.get_running_loop().time() + 3
            while asyncio.get_running_loop().time() < ends:
                async with connecting(service.url) as channel:
                    for _ in range(10):
                        await channel.handshake()
                        made += 1
            return made

        made = sum(await asyncio.gather(*(flood() for _ in range(8))))
        grown = service.resident_bytes() - before
    assert made > 100
    assert honest.asked > 10
    assert grown < 64 * MIB


async def test_a_flood_of_garbage(lone, connecting, tls):
    async with lone() as service, served_meanwhile(service, connecting):
        before = service.resident_bytes()

        async def flood() -> None:
            for _ in range(40):
                with contextlib.suppress(ConnectionClosed, OSError):
                    async with raw_connect(
                        service.url, ssl=tls.client, compression=None
                    ) as socket:
                        await socket.send('{"version":"0.10.0"' + "[" * 60_000)
                        await socket.recv()

        await asyncio.gather(*(flood() for _ in range(8)))
        assert service.resident_bytes() - before < 64 * MIB


async def test_more_connections_than_there_are_places(lone, connecting):
    async with (
        lone(idle_timeout_s=60.0) as service,
        served_meanwhile(service, connecting),
    ):
        held = [await connecting(service.url) for _ in range(299)]
        with pytest.raises(TransportError):  # the honest one has the last place
            await connecting(service.url)
        await asyncio.gather(*(channel.close() for channel in held))
        await asyncio.sleep(0.5)
