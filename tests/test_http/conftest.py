"""What the tests of signed HTTP share: vectors as messages, keys, one request.

And, below, two agents, an application behind `VerifyMiddleware`, a socket to it.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import sage
from sage.errors import PeerError
from sage.http import (
    HttpKey,
    HttpPeer,
    HttpPublicKey,
    RequestMessage,
    ResponseMessage,
    VerifyMiddleware,
    sign_request,
)
from sage.identity import PublicKey, SigningKey
from sage.service import serving

from ..ports import free_port

VECTORS = Path(__file__).parents[1] / "vectors"
NOW = 1_790_000_000


def outcome(call: Callable[[], Any]) -> Any:
    """Return what a call returns, or the code of the documented error it ends with."""
    try:
        return call()
    except PeerError as exc:
        return exc.code


def load(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


def rfc_case(case_id: str) -> dict[str, Any]:
    """Return one case of RFC 9421, appendix B, its message and key made real."""
    document = load("rfc9421/appendix-b.json")
    (case,) = (case for case in document["cases"] if case["id"] == case_id)
    return {
        **case,
        "view": rfc_message(case),
        "key": rfc_key(case, document["keys"][case["keyid"]]),
    }


RFC_CASES = [case["id"] for case in load("rfc9421/appendix-b.json")["cases"]]


def rfc_message(case: dict[str, Any]) -> RequestMessage | ResponseMessage:
    message = case["message"]
    first, second, *_ = message["start_line"].split(" ")
    fields = [(name, value) for name, value in message["headers"]]
    if case["id"] == "B.2.4":
        # The base was published with the digest of another content.
        line = case["signature_base"].split("\n")[2].partition(": ")[2]
        fields = [(n, line if n == "Content-Digest" else v) for n, v in fields]
    fields += [("Signature-Input", case["signature_input"])]
    fields += [("Signature", case["signature"])]
    content = message["body"].encode()
    if first.startswith("HTTP/"):
        return ResponseMessage(
            status=int(second), fields=tuple(fields), content=content
        )
    host = dict(message["headers"])["Host"]
    return RequestMessage(
        method=first,
        target_uri=f"https://{host}{second}",
        fields=tuple(fields),
        content=content,
    )


def rfc_key(case: dict[str, Any], entry: dict[str, Any]) -> HttpPublicKey:
    if case["algorithm"] == "hmac-sha256":
        secret = b64decode(entry["secret_b64"])
        return HttpKey.from_secret(case["keyid"], secret).verification_key()
    return HttpPublicKey.from_pem(
        case["keyid"], case["algorithm"], entry["public_pem"].encode()
    )


def wire_fields(
    part: dict[str, Any], signed: bool = True
) -> tuple[tuple[str, str], ...]:
    """Return the header lines of a 0.10.0 vector."""
    fields = (
        ("Content-Type", part["content_type"]),
        ("Content-Digest", part["content_digest"]),
        ("X-SAGE-DID", part["x_sage_did"]),
        ("X-SAGE-Version", part["x_sage_version"]),
    )
    if not signed:
        return fields
    return (
        *fields,
        ("Signature-Input", part["signature_input"]),
        ("Signature", part["signature_field"]),
    )


def spki_key(entry: dict[str, Any]) -> PublicKey:
    """Return the public key of a 0.10.0 vector's record."""
    size = 32 if entry["alg"] == "ed25519" else 65
    der = b64decode(entry["public_spki_der_b64"])
    return PublicKey(entry["kid"], entry["alg"], der[-size:])


@pytest.fixture(scope="session")
def key() -> SigningKey:
    return SigningKey.from_private_bytes(
        "did:sage:web:agents.example:ada#sign-1", "ed25519", bytes(range(32))
    )


@pytest.fixture(scope="session")
def public_key(key: SigningKey) -> PublicKey:
    return PublicKey(key.kid, key.algorithm, key.public_key)


@pytest.fixture(scope="session")
def request_message() -> RequestMessage:
    return RequestMessage(
        method="POST",
        target_uri="https://grace.example/inbox?page=1",
        fields=(("Host", "grace.example"), ("Content-Type", "application/json")),
        content=b'{"hello": "world"}',
    )


@pytest.fixture(scope="session")
def signed(key: SigningKey, request_message: RequestMessage) -> RequestMessage:
    added = sign_request(
        request_message, key, created=NOW, expires=NOW + 60, nonce="one-use"
    )
    return request_message.with_fields(*added)


def without(message: RequestMessage, *names: str) -> RequestMessage:
    """Return a request without some of its fields."""
    kept = (line for line in message.fields if line[0].lower() not in names)
    return changed(message, fields=tuple(kept))


def changed(message: Any, **what: Any) -> Any:
    """Return a message with something else in it."""
    names = type(message).__dataclass_fields__
    return type(message)(**{n: getattr(message, n) for n in names} | what)


def with_field(message: Any, name: str, value: str) -> Any:
    """Return a message with one field's value put in the place of the old one."""
    lines = tuple(
        (n, value if n.lower() == name.lower() else v) for n, v in message.fields
    )
    return changed(message, fields=lines)


def field_of(message: Any, name: str) -> str:
    (value,) = (v for n, v in message.fields if n.lower() == name.lower())
    return value


# --- the drop-ins -----------------------------------------------------------------

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
    tls: ssl.SSLContext | None
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


@pytest.fixture
def signs(ada: sage.Agent) -> Callable[..., RequestMessage]:
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
