"""Two agents, an application behind `VerifyMiddleware`, and a socket to it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

import sage
from sage.http import HttpPeer, RequestMessage, VerifyMiddleware, sign_request
from sage.service import serving

ADA = "did:sage:web:agents.example:ada"
GRACE = "did:sage:web:agents.example:grace"


@pytest.fixture
def ada() -> sage.Agent:
    return sage.Agent.generate(ADA)


@pytest.fixture
def grace() -> sage.Agent:
    return sage.Agent.generate(GRACE)


@pytest.fixture
def resolver(ada: sage.Agent, grace: sage.Agent) -> sage.MemoryResolver:
    return sage.MemoryResolver([ada.record, grace.record])


@dataclass
class Recorder:
    """An application that writes down who asked it for what, and answers.

    What it answers is by path: ``/events`` is a stream of three events, ``/parts``
    the content in parts without a length, ``/empty`` nothing, everything else the
    content that came.
    """

    calls: list[tuple[str, str, bytes]] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.live(receive, send)
            return
        peer = scope.get("sage.peer")
        assert peer is None or type(peer) is HttpPeer
        content = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            content += message["body"]
            if not message["more_body"]:
                break
        name = "nobody" if peer is None else scope["user"].display_name
        self.calls.append((name, scope["path"], content))
        await self.answer(scope["path"], content, send)

    async def answer(self, path: str, content: bytes, send: Any) -> None:
        answers = {
            "/events": [b"data: %d\n\n" % n for n in range(3)],
            "/parts": [content[:2], content[2:]],
            "/empty": [b""],
        }
        parts = answers.get(path, [content])
        kind = b"text/event-stream" if path == "/events" else b"application/json"
        headers = [(b"content-type", kind)]
        if path not in ("/events", "/parts"):
            headers.append((b"content-length", str(len(parts[0])).encode()))
        status = 202 if path == "/empty" else 200
        await send(
            {"type": "http.response.start", "status": status, "headers": headers}
        )
        for index, part in enumerate(parts):
            more = index + 1 < len(parts)
            await send({"type": "http.response.body", "body": part, "more_body": more})

    async def live(self, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        assert message["type"] == "lifespan.shutdown"
        await send({"type": "lifespan.shutdown.complete"})


@dataclass
class Site:
    """A running server."""

    url: str
    port: int
    app: Recorder
    tls: ssl.SSLContext
    guard: sage.MemoryReplayGuard

    async def exchange(self, sent: bytes, *, then_close: bool = False) -> bytes:
        """Send bytes over a connection of their own; return all that comes back."""
        reader, writer = await asyncio.open_connection(
            "localhost", self.port, ssl=self.tls
        )
        try:
            writer.write(sent)
            if then_close:
                writer.close()
                return b""
            return await asyncio.wait_for(reader.read(), 10)
        finally:
            writer.close()
            await writer.wait_closed()

    async def status(self, sent: bytes) -> int:
        """Send bytes; return the status of the answer."""
        answer = await self.exchange(sent)
        return int(answer.split(b" ", 2)[1])


Running = Callable[..., AbstractAsyncContextManager[Site]]


@pytest.fixture
def running(resolver: sage.MemoryResolver, tls) -> Running:
    """Return a context manager that serves an application behind the middleware."""

    @asynccontextmanager
    async def run(
        app: Any = None, *, make: Any = None, outside: Any = None, **options: Any
    ) -> AsyncIterator[Site]:
        port = free_port()
        url = f"https://localhost:{port}"
        inner = app or (Recorder() if make is None else make(url))
        guard = sage.MemoryReplayGuard(assume_no_history=True)
        settings = {"base_url": url, "guard": guard, "resolver": resolver, **options}
        verifying: Any = VerifyMiddleware(inner, **settings)
        served = verifying if outside is None else outside(verifying)
        async with serving(served, certificate=tls.certificate, port=port):
            yield Site(url, port, inner, tls.client, guard)

    return run


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def signed(ada: sage.Agent) -> Callable[..., RequestMessage]:
    """Return a function that makes signed requests, of Ada unless told otherwise."""
    counter = iter(range(10**6))

    def sign(
        site: Site,
        content: bytes = b'{"n":1}',
        *,
        path: str = "/echo",
        method: str = "POST",
        key: Any = None,
        created: int | None = None,
        target: str | None = None,
        **options: Any,
    ) -> RequestMessage:
        described = (
            ("content-type", "application/json"),
            ("content-length", str(len(content))),
        )
        request = RequestMessage(
            method=method,
            target_uri=target or site.url + path,
            fields=(
                ("host", f"localhost:{site.port}"),
                ("connection", "close"),
                *(described if content else ()),
            ),
            content=content,
        )
        now = int(time.time()) if created is None else created
        settings = {
            "created": now,
            "expires": now + 60,
            "nonce": f"nonce-{next(counter)}",
            **options,
        }
        key = ada.signing_key if key is None else key
        return request.with_fields(*sign_request(request, key, **settings))

    return sign


def wire(request: RequestMessage, content: bytes | None = None) -> bytes:
    """Return the bytes of a request in HTTP/1.1."""
    path = "/" + request.target_uri.split("/", 3)[3]
    lines = [f"{request.method} {path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request.fields]
    head = "\r\n".join(lines) + "\r\n\r\n"
    body = request.content if content is None else content
    assert body is not None
    return head.encode("latin-1") + body


@pytest.fixture
def to_wire() -> Callable[..., bytes]:
    return wire
