"""The other end of a TLS connection of ours, down to its records.

``ssl`` sends what an honest peer sends. What it cannot send is sealed here, with the
secrets that it writes into a key log.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import socket
import ssl
from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sage.transport.tls import TlsTransport

ALERT, HANDSHAKE, DATA = 21, 22, 23


class Noting(asyncio.Protocol):
    """Notes what it is told."""

    def __init__(self, echo: bool = False) -> None:
        self.echo, self.transport = echo, None
        self.got, self.paused = bytearray(), []
        self.opened, self.lost = asyncio.Event(), asyncio.Event()
        self.error: Exception | None = None

    def connection_made(self, transport):
        self.transport = transport
        self.opened.set()

    def data_received(self, data):
        self.got += data
        if self.echo:
            self.transport.write(data)

    def pause_writing(self):
        self.paused.append(True)

    def resume_writing(self):
        self.paused.append(False)

    def connection_lost(self, exc):
        self.error = exc
        self.lost.set()


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        one = socket.create_connection(listening.getsockname())
        return one, listening.accept()[0]


def log_keys(context: ssl.SSLContext, folder: Path) -> Path:
    """Let a context write the secrets of its connections into a new file."""
    path = folder / f"keys-{len(list(folder.iterdir()))}"
    context.keylog_filename = str(path)
    return path


class ByHand:
    """The other end of a transport of ours, which reads and writes when it is told.

    Args:
        context: its own.
        protocol: of the transport.
        ours: the transport's context.
        name: what the transport has to prove as a server; it is a client without.
        pair: the transport's socket, and this end's.
    """

    def __init__(self, context, protocol, ours, *, name=None, pair=None):
        ours_sock, self.sock = pair or socket.socketpair()
        for sock in (ours_sock, self.sock):
            sock.setblocking(False)
        self.ours = TlsTransport(
            ours_sock,
            protocol,
            ours,
            timeout_s=5,
            server_hostname=None if name else "localhost",
        )
        self.loop, self.protocol = asyncio.get_running_loop(), protocol
        self.into, self.out, self.junk = ssl.MemoryBIO(), ssl.MemoryBIO(), 0
        self.tls = context.wrap_bio(
            self.into, self.out, server_side=name is None, server_hostname=name
        )
        # The first that the server's end says is its hello.
        self.hears_server, self.hello = name is not None, b""

    async def shake_hands(self):
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
                break
            await self.send()
            data = await self.loop.sock_recv(self.sock, 65_536)
            if self.hears_server:
                self.hello = self.hello or data
            self.into.write(data)
        await self.send()
        await self.protocol.opened.wait()
        await self.drain()  # tickets

    async def send(self):
        data = self.out.read()
        if not self.hears_server:
            self.hello = self.hello or data
        await self.loop.sock_sendall(self.sock, data)

    def leave_no_room(self):
        """Fill the socket of ours with what is none of TLS' business."""
        raw = self.ours.get_extra_info("socket")
        for size in (65_536, 1):
            with contextlib.suppress(BlockingIOError):
                while True:
                    self.junk += socket.socket.send(raw, bytes(size))

    async def drain(self) -> bytes:
        """Read what is there, and what comes while we do."""
        got, quiet = b"", 0
        while quiet < 5:
            quiet += 1
            await asyncio.sleep(0.01)
            with contextlib.suppress(BlockingIOError):
                while data := self.sock.recv(65_536):
                    drop = min(self.junk, len(data))
                    self.junk -= drop
                    self.into.write(data[drop:])
                    quiet = 0
            with contextlib.suppress(ssl.SSLWantReadError):
                while data := self.tls.read(65_536):
                    got += data
        return got


class Keys13:
    """Seals records of TLS 1.3, TLS_AES_256_GCM_SHA384 (RFC 8446, sections 5.2, 7).

    Args:
        key_log: what ``ssl`` wrote; of one connection.
        end: ``CLIENT`` or ``SERVER``, whose records they are.
        seq: how many it has sealed since the handshake.
    """

    def __init__(self, key_log: str, end: str = "CLIENT", seq: int = 0) -> None:
        (line,) = (x for x in key_log.splitlines() if x.startswith(f"{end}_TRAFFIC"))
        self._use(bytes.fromhex(line.split()[2]), seq)

    def _use(self, secret: bytes, seq: int = 0) -> None:
        self._secret, self._seq = secret, seq
        self._aead = AESGCM(self._expand(b"key", 32))
        self._iv = int.from_bytes(self._expand(b"iv", 12), "big")

    def _expand(self, label: bytes, size: int) -> bytes:
        label = b"tls13 " + label
        info = size.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0"
        return hmac.digest(self._secret, info + b"\1", "sha384")[:size]

    def seal(self, kind: int, content: bytes, padding: int = 0) -> bytes:
        inner = content + bytes([kind]) + bytes(padding)
        header = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2, "big")
        nonce = (self._iv ^ self._seq).to_bytes(12, "big")
        self._seq += 1
        return header + self._aead.encrypt(nonce, inner, header)

    def new_keys(self, ask: bool = False) -> bytes:
        """Return a KeyUpdate, which may ask for one (RFC 8446, section 4.6.3)."""
        record = self.seal(HANDSHAKE, b"\x18\0\0\x01" + bytes([ask]))
        self._use(self._expand(b"traffic upd", 48))
        return record


class Keys12:
    """Seals records of TLS 1.2, ECDHE-…-AES256-GCM-SHA384 (RFC 5246, 5288).

    Args:
        key_log: what ``ssl`` wrote; of one connection.
        end: ``CLIENT`` or ``SERVER``, whose records they are.
        hello: the server's, as a record.
    """

    def __init__(self, key_log: str, end: str, hello: bytes) -> None:
        (line,) = (x for x in key_log.splitlines() if x.startswith("CLIENT_RANDOM"))
        _, client_random, secret = line.split()
        seed = b"key expansion" + hello[11:43] + bytes.fromhex(client_random)
        block = self._prf(bytes.fromhex(secret), seed, 72)
        at = ("CLIENT", "SERVER").index(end)
        self._aead = AESGCM(block[32 * at : 32 * at + 32])
        self._salt, self._seq = block[64 + 4 * at : 68 + 4 * at], 1

    @staticmethod
    def _prf(secret: bytes, seed: bytes, size: int) -> bytes:
        found, a = b"", seed
        while len(found) < size:
            a = hmac.digest(secret, a, "sha384")
            found += hmac.digest(secret, a + seed, "sha384")
        return found[:size]

    def seal(self, kind: int, content: bytes) -> bytes:
        seq = self._seq.to_bytes(8, "big")
        self._seq += 1
        head = bytes([kind]) + b"\x03\x03"
        aad = seq + head + len(content).to_bytes(2, "big")
        body = seq + self._aead.encrypt(self._salt + seq, content, aad)
        return head + len(body).to_bytes(2, "big") + body


def message(kind: int, body: bytes) -> bytes:
    """Return a message of a handshake."""
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def ticket(size: int) -> bytes:
    """Return a NewSessionTicket (RFC 8446, section 4.6.1)."""
    head = b"\0\0\x1c\x20" + b"\0\0\0\x01" + b"\x08" + os.urandom(8)
    return message(4, head + size.to_bytes(2, "big") + os.urandom(size) + b"\0\0")


def in_single_bytes(seal, content: Iterable[int]) -> bytes:
    """Return what ``seal`` makes of each byte by itself."""
    return b"".join(seal(bytes([byte])) for byte in content)
