"""`VerifyMiddleware` on real sockets: what passes, and that nothing else does."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import fastapi
import httpx
import pytest
import uvicorn
import websockets
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import StreamingResponse

import sage
from sage.errors import Code, UsageError
from sage.http import (
    AiohttpSignature,
    HttpKey,
    Policy,
    RequestMessage,
    ResponseCheck,
    SignatureAuth,
    Signer,
    VerifyMiddleware,
    encode_digest,
    sign_request,
)
from sage.identity import PublicKey, SigningKey
from sage.service import hosting

from ..ports import free_port
from .conftest import Recorder, Site

ADA = "did:sage:web:agents.example:ada"
MALLORY = "did:sage:web:agents.example:mallory"


def without(request: RequestMessage, *names: str) -> RequestMessage:
    fields = tuple(pair for pair in request.fields if pair[0].lower() not in names)
    return dataclasses.replace(request, fields=fields)


def with_value(request: RequestMessage, name: str, value: str) -> RequestMessage:
    return without(request, name).with_fields((name, value))


def value_of(request: RequestMessage, wanted: str) -> str:
    return next(v for name, v in request.fields if name.lower() == wanted)


def chunked(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content)


# --- what passes ------------------------------------------------------------------


async def test_a_signed_request_reaches_the_application_with_its_sender(
    running, signs, to_wire
):
    async with running() as site:
        answer = await site.exchange(to_wire(signs(site)))
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b'\r\n\r\n{"n":1}')
        assert site.app.calls == [(ADA, "/echo", b'{"n":1}')]


async def test_a_request_without_content_needs_no_digest(running, signs, to_wire):
    async with running() as site:
        request = signs(site, b"", method="GET", path="/echo?a=1&b=%20")
        assert "content-digest" not in dict(request.fields)
        assert await site.status(to_wire(request)) == 200
        assert site.app.calls == [(ADA, "/echo", b"")]


async def test_content_in_chunks_passes(running, signs, to_wire):
    async with running() as site:
        request = without(signs(site), "content-length").with_fields(
            ("transfer-encoding", "chunked")
        )
        assert await site.status(to_wire(request, chunked(b'{"n":1}'))) == 200
        assert site.app.calls == [(ADA, "/echo", b'{"n":1}')]


async def test_content_that_comes_byte_by_byte_passes(running, signs, to_wire):
    async with running() as site:
        head, _, content = to_wire(signs(site)).partition(b"\r\n\r\n")
        reader, writer = await asyncio.open_connection(
            "localhost", site.port, ssl=site.tls
        )
        writer.write(head + b"\r\n\r\n")
        for byte in content:
            await asyncio.sleep(0.002)
            writer.write(bytes([byte]))
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await writer.wait_closed()
        assert site.app.calls == [(ADA, "/echo", b'{"n":1}')]


@pytest.mark.parametrize("algorithm", ["hmac-sha256", "rsa-pss-sha512", "ed25519"])
async def test_keys_without_a_did_are_looked_up_in_the_table(
    running, signs, to_wire, algorithm
):
    key = (
        HttpKey.from_secret("partner", b"s" * 32)
        if algorithm == "hmac-sha256"
        else HttpKey.generate("partner", algorithm)
    )
    keys = {"partner": key.verification_key()}
    async with running(keys=keys, resolver=None) as site:
        assert await site.status(to_wire(signs(site, key=key))) == 200
        assert site.app.calls == [("partner", "/echo", b'{"n":1}')]
        assert await site.status(to_wire(signs(site))) == 401  # Ada is not in it


async def test_public_paths_are_open_and_nothing_below_them(running, to_wire):
    async with running(public_paths={"/health"}) as site:
        for path, status in [("/health", 200), ("/health/", 401), ("/echo", 401)]:
            request = f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
            assert await site.status(request.encode()) == status
        assert site.app.calls == [("nobody", "/health", b"")]


async def test_a_prefix_that_a_proxy_takes_away_is_part_of_the_base(
    running, signs, to_wire
):
    async with running(base_url="https://API.example:443/v1/") as site:
        request = signs(site, target="https://api.example/v1/echo")
        assert value_of(request, "host") != "api.example"
        sent = to_wire(request).replace(b"POST /v1/echo ", b"POST /echo ")
        assert await site.status(sent) == 200


# --- attacks, each refused by default, the application never called -----------------

SMALL_ORDER = b"\x01" + bytes(31)


def altered_content(request: RequestMessage) -> RequestMessage:
    return dataclasses.replace(request, content=b'{"n":2}')


def altered_digest(request: RequestMessage) -> RequestMessage:
    request = altered_content(request)
    return with_value(request, "content-digest", encode_digest(b'{"n":2}'))


def altered_method(request: RequestMessage) -> RequestMessage:
    return dataclasses.replace(request, method="PUT")


def altered_path(request: RequestMessage) -> RequestMessage:
    return dataclasses.replace(request, target_uri=request.target_uri + "?admin=1")


def altered_parameter(request: RequestMessage) -> RequestMessage:
    value = value_of(request, "signature-input")
    return with_value(request, "signature-input", value.replace("nonce-", "nonse-"))


def dropped_component(request: RequestMessage) -> RequestMessage:
    value = value_of(request, "signature-input").replace(' "content-digest"', "")
    return with_value(request, "signature-input", value)


def renamed_label(request: RequestMessage) -> RequestMessage:
    for name in ("signature-input", "signature"):
        value = value_of(request, name).replace("sig1=", "other=")
        request = with_value(request, name, value)
    return request


def one_more_label(request: RequestMessage) -> RequestMessage:
    for name in ("signature-input", "signature"):
        value = value_of(request, name)
        request = with_value(request, name, value + ", " + value.replace("sig1", "b"))
    return request


def twice(name: str) -> Any:
    def repeat(request: RequestMessage) -> RequestMessage:
        return request.with_fields((name, value_of(request, name)))

    repeat.__name__ = f"twice_{name}"
    return repeat


def unsigned(request: RequestMessage) -> RequestMessage:
    return without(request, "signature", "signature-input")


def half_signed(request: RequestMessage) -> RequestMessage:
    return without(request, "signature-input")


def nonsense(request: RequestMessage) -> RequestMessage:
    return with_value(request, "signature-input", "sig1=(((")


ALTERATIONS = [
    altered_content,
    altered_digest,
    altered_method,
    altered_path,
    altered_parameter,
    dropped_component,
    renamed_label,
    one_more_label,
    twice("signature"),
    twice("signature-input"),
    twice("content-digest"),
    twice("content-type"),
    unsigned,
    half_signed,
    nonsense,
]


@pytest.mark.parametrize("alter", ALTERATIONS, ids=lambda alter: alter.__name__)
async def test_an_altered_request_is_refused(running, signs, to_wire, alter):
    async with running() as site:
        answer = await site.exchange(to_wire(alter(signs(site))))
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert answer.endswith(b"\r\n\r\nauthentication failed")
        assert site.app.calls == []
        assert len(site.guard) == 0


@pytest.mark.parametrize(
    "options",
    [
        {"components": ["@method", "@target-uri", "content-digest"]},
        {"components": ["@method", "@target-uri", "@authority", "content-type"]},
        {"label": "other"},
        {"nonce": None},
        {"expires": None},
        {"created": int(time.time()) - 400, "expires": int(time.time()) + 60},
        {"created": int(time.time()) + 3600, "expires": int(time.time()) + 3660},
        {"target": "https://other.example/echo"},
    ],
    ids=lambda options: ",".join(options),
)
async def test_a_request_that_is_signed_for_less_is_refused(
    running, signs, to_wire, options
):
    async with running() as site:
        assert await site.status(to_wire(signs(site, **options))) == 401
        assert site.app.calls == []


async def test_a_replayed_request_is_refused(running, signs, to_wire):
    async with running() as site:
        sent = to_wire(signs(site))
        statuses = await asyncio.gather(*(site.status(sent) for _ in range(5)))
        assert sorted(statuses) == [200, 401, 401, 401, 401]
        assert len(site.app.calls) == 1


async def test_an_altered_content_does_not_use_up_the_nonce(running, signs, to_wire):
    async with running() as site:
        request = signs(site)
        assert await site.status(to_wire(altered_content(request))) == 401
        assert await site.status(to_wire(request)) == 200


async def test_a_key_of_small_order_is_refused(running, signs, to_wire):
    """Under it, one signature fits every message that a lax verifier is shown."""
    keys = {"weak": PublicKey("weak", "ed25519", SMALL_ORDER)}

    class Forger:
        kid, algorithm = "weak", "ed25519"

        def sign(self, message: bytes) -> bytes:
            return SMALL_ORDER + bytes(32)

    async with running(keys=keys) as site:
        assert await site.status(to_wire(signs(site, key=Forger()))) == 401
        assert site.app.calls == []


async def test_an_impostor_is_refused(running, signs, to_wire):
    impostor = SigningKey.generate(f"{ADA}#sign-1")
    unknown = sage.Agent.generate(MALLORY).signing_key
    async with running() as site:
        for key in (impostor, unknown):
            assert await site.status(to_wire(signs(site, key=key))) == 401
        assert site.app.calls == []


async def test_names_in_the_head_do_not_count(running, signs, to_wire):
    """A request for another server, brought here with headers that say otherwise."""
    async with running() as site:
        request = signs(site, target="https://other.example/echo").with_fields(
            ("forwarded", "host=other.example;proto=https"),
            ("x-forwarded-host", "other.example"),
        )
        request = with_value(request, "host", "other.example")
        assert await site.status(to_wire(request)) == 401
        assert site.app.calls == []


async def test_an_absolute_target_is_refused(running, signs, to_wire):
    async with running() as site:
        sent = to_wire(signs(site))
        sent = sent.replace(b"POST /", b"POST " + site.url.encode() + b"/", 1)
        assert await site.status(sent) in (400, 401)
        assert site.app.calls == []


async def test_trailers_do_not_come_into_a_verified_head(signs, to_wire, resolver):
    heads: list[list[tuple[bytes, bytes]]] = []
    verified = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        heads.append(scope["headers"])
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    async def outside(scope: Any, receive: Any, send: Any) -> None:
        async def receiving() -> Any:
            verified.set()  # content is asked for once the head was verified
            return await receive()

        await verifying(scope, receiving, send)

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    guard = sage.MemoryReplayGuard(assume_no_history=True)
    verifying = VerifyMiddleware(app, base_url=url, guard=guard, resolver=resolver)
    config = uvicorn.Config(outside, port=port, http="httptools", lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    request = without(signs(Site(url, port, Recorder(), None, guard), b"{}"), "host")
    request = without(request, "content-length").with_fields(
        ("host", "127.0.0.1"), ("transfer-encoding", "chunked")
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(to_wire(request, b"2\r\n{}\r\n"))
    await verified.wait()
    writer.write(b"0\r\nX-SAGE-DID: did:sage:web:a.example:mallory\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 204")
    writer.close()
    server.should_exit = True
    await serving
    (head,) = heads
    assert dict(head)[b"signature"].decode() == value_of(request, "signature")
    assert b"x-sage-did" not in dict(head)


async def test_content_that_is_announced_too_long_is_refused_unread(
    running, signs, to_wire
):
    async with running(policy=Policy(max_content_bytes=10)) as site:
        request = signs(site, b'"' + b"x" * 9 + b'"')
        answer = await site.exchange(to_wire(request, b""))
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert await site.status(to_wire(signs(site, b'"12345678"'))) == 200
        assert [content for _, _, content in site.app.calls] == [b'"12345678"']


async def test_content_that_becomes_too_long_is_refused(running, signs, to_wire):
    async with running(policy=Policy(max_content_bytes=10)) as site:
        request = without(signs(site), "content-length").with_fields(
            ("transfer-encoding", "chunked")
        )
        assert await site.status(to_wire(request, chunked(b"x" * 11))) == 413
        assert site.app.calls == []


async def test_content_that_is_longer_than_signed_is_refused(running, signs, to_wire):
    async with running() as site:
        request = with_value(signs(site), "content-length", "8")
        assert await site.status(to_wire(request, b'{"n":1} ')) == 401
        assert site.app.calls == []


async def test_content_that_is_shorter_than_signed_is_refused(running, signs, to_wire):
    async with running() as site:
        request = with_value(signs(site), "content-length", "6")
        assert await site.status(to_wire(request, b'{"n":1')) == 401
        assert site.app.calls == []


async def test_content_without_a_digest_is_refused_before_it_is_read(
    running, signs, to_wire
):
    async with running() as site:
        request = signs(site, b"", method="POST").with_fields(("content-length", "9"))
        assert await site.status(to_wire(request, b"")) == 401
        assert site.app.calls == []


async def test_content_that_never_ends_is_not_awaited(running, signs, to_wire):
    async with running(content_timeout_s=0.2) as site:
        began = time.monotonic()
        assert await site.status(to_wire(signs(site), b'{"n"')) == 401
        assert time.monotonic() - began < 5
        assert site.app.calls == []


@pytest.mark.parametrize("stream_content", [False, True])
async def test_a_known_peer_has_time_for_its_content(
    running, signs, to_wire, monkeypatch, stream_content
):
    """More than a stranger; how much, the middleware says."""
    monkeypatch.setattr(hosting, "FIRST_MESSAGE_TIMEOUT_S", 0.3)
    async with running(stream_content=stream_content) as site:
        sent = to_wire(signs(site))
        reader, writer = await asyncio.open_connection(
            "localhost", site.port, ssl=site.tls
        )
        writer.write(sent[:-5])
        async with asyncio.timeout(10):
            for byte in sent[-5:]:
                await asyncio.sleep(0.15)
                writer.write(bytes([byte]))
            assert b" 200 " in await reader.readline()
        writer.close()
        assert len(site.app.calls) == 1


async def test_a_client_that_leaves_in_the_middle_calls_nothing(
    running, signs, to_wire
):
    async with running() as site:
        await site.exchange(to_wire(signs(site), b'{"n"'), then_close=True)
        assert await site.status(to_wire(signs(site))) == 200
        assert len(site.app.calls) == 1


async def test_a_stranger_is_refused_before_its_content_is_read(
    running, signs, to_wire
):
    async with running() as site:
        assert await site.status(to_wire(unsigned(signs(site)), b"")) == 401
        assert site.app.calls == []


FIELD = st.binary(max_size=40) | st.sampled_from(
    [
        b"sig1=()",
        b'sig1=("@method");created=1;expires=2;nonce="n";keyid="k"',
        b"sig1=:AA==:",
        b"sha-256=:AA==:",
        b"sig1",
        b"-1",
        b"99999999999999999999",
        b"chunked",
    ]
)
NAME = st.sampled_from(
    [
        b"signature",
        b"signature-input",
        b"content-digest",
        b"content-length",
        b"content-type",
        b"transfer-encoding",
        b"x-sage-did",
        b"host",
    ]
)


@given(
    headers=st.lists(st.tuples(NAME, FIELD), max_size=6),
    path=st.binary(max_size=12).map(lambda tail: b"/" + tail) | st.binary(max_size=4),
    query=st.binary(max_size=12),
    content=st.binary(max_size=12),
)
def test_whatever_a_stranger_sends_is_refused_in_one_of_four_ways(
    headers, path, query, content
):
    sent: list[Any] = []

    async def never(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("called")

    async def receive() -> Any:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    app = VerifyMiddleware(
        never,
        base_url="https://localhost",
        guard=sage.MemoryReplayGuard(assume_no_history=True),
        resolver=sage.MemoryResolver(),
    )
    scope = {
        "type": "http",
        "method": "POST",
        "path": path.decode("latin-1"),
        "raw_path": path,
        "query_string": query,
        "headers": headers,
    }
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] in (400, 401, 413)
    assert [message["type"] for message in sent] == [
        "http.response.start",
        "http.response.body",
    ]


# --- the rest of the door -------------------------------------------------------------


async def test_websockets_are_refused_unless_they_are_let_pass(running, tls):
    async with running() as site:
        url = site.url.replace("https", "wss") + "/echo"
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(url, ssl=tls.client)
        assert refused.value.response.status_code == 403

    async def hello(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await type(site.app)().live(receive, send)
            return
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "hello"})
        await send({"type": "websocket.close"})

    async with running(hello, pass_websockets=True) as open_site:
        url = open_site.url.replace("https", "wss")
        async with websockets.connect(url, ssl=tls.client) as socket:
            assert await socket.recv() == "hello"


async def test_a_guard_that_cannot_answer_means_unavailable(running, signs, to_wire):
    guard = sage.MemoryReplayGuard()  # in quarantine
    async with running(guard=guard) as site:
        assert await site.status(to_wire(signs(site))) == 503
        assert site.app.calls == []
    full = sage.MemoryReplayGuard(assume_no_history=True, max_entries=3)
    async with running(guard=full) as site:
        statuses = [await site.status(to_wire(signs(site))) for _ in range(4)]
        assert statuses == [200, 200, 200, 503]


async def test_reasons_are_logged_by_their_code_and_not_told(
    running, signs, to_wire, caplog
):
    caplog.set_level(logging.INFO, "sage.http")
    async with running() as site:
        await site.status(to_wire(altered_content(signs(site))))
        await site.status(to_wire(unsigned(signs(site))))
    logged = [r.getMessage() for r in caplog.records if r.name == "sage.http"]
    assert logged == [
        "refused a request with 401: digest.mismatch",
        "refused a request with 401: sig.missing",
    ]


async def test_without_nonces_only_by_name(running, signs, to_wire):
    policy = Policy(require_nonce=False)
    async with running(guard=None, policy=policy) as site:
        sent = to_wire(signs(site, nonce=None))
        assert [await site.status(sent) for _ in range(2)] == [200, 200]


async def test_an_empty_nonce_is_none(running, signs, to_wire):
    async with running(policy=Policy(require_nonce=False)) as site:
        for nonce, statuses in [("", [200, 200]), ("one", [200, 401])]:
            sent = to_wire(signs(site, nonce=nonce))
            assert [await site.status(sent) for _ in range(2)] == statuses


async def test_without_digests_only_by_name(running, signs, to_wire):
    policy = Policy(require_digest=False, max_content_bytes=10)
    components = ["@method", "@target-uri", "@authority"]
    async with running(policy=policy) as site:
        for content, status in [(b"anything", 200), (b"x" * 11, 413)]:
            request = signs(site, content, components=components)
            assert await site.status(to_wire(request)) == status


@pytest.mark.parametrize(
    "options",
    [
        {"guard": None},
        {"resolver": None},
        {"base_url": "agents.example"},
        {"policy": Policy(require_expires=False, max_age_s=None)},
        {"policy": Policy(max_age_s=None)},
        {"policy": Policy(max_age_s=301)},
        {"public_paths": "/health"},
        {"content_timeout_s": "5"},
        {"content_timeout_s": None},
        {"content_timeout_s": float("nan")},
    ],
    ids=lambda options: ",".join(options),
)
def test_settings_that_cannot_work_are_refused(options):
    settings = {
        "base_url": "https://agents.example",
        "guard": sage.MemoryReplayGuard(),
        "resolver": sage.MemoryResolver(),
        **options,
    }
    with pytest.raises(UsageError):
        VerifyMiddleware(lambda *_: None, **settings)


# --- content that the application reads before it is proven -------------------------


class Sink:
    """An application that keeps each part as it comes, and says when it had the end."""

    def __init__(self, *, answers_first: bool = False, hides: bool = False) -> None:
        self.parts: list[bytes] = []
        self.complete = False
        self._answers_first, self._hides = answers_first, hides

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        try:
            if self._answers_first:
                await self._answer(send, more=True)
            while not self.complete:
                message = await receive()
                self.parts.append(message["body"])
                self.complete = not message["more_body"]
        except sage.SageError:
            if not self._hides:
                raise
        await send({"type": "http.response.body", "body": b"!"}) if (
            self._answers_first
        ) else await self._answer(send, more=False)

    async def _answer(self, send: Any, *, more: bool) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"?", "more_body": more})


@pytest.mark.parametrize("hides", [False, True], ids=["raises", "hides"])
async def test_streamed_content_ends_only_where_it_was_proven(
    running, signs, to_wire, hides
):
    async with running(Sink(hides=hides), stream_content=True) as site:
        request = signs(site)
        assert await site.status(to_wire(altered_content(request))) == 401
        assert not site.app.complete
        assert await site.status(to_wire(request)) == 401  # its nonce is used up
        assert await site.status(to_wire(signs(site))) == 200
        assert site.app.complete
        assert b"".join(site.app.parts).endswith(b'{"n":1}')


async def test_an_answer_to_content_that_proves_false_is_cut(running, signs, to_wire):
    async with running(Sink(answers_first=True), stream_content=True) as site:
        answer = await site.exchange(to_wire(altered_content(signs(site))))
        # In chunks, and the last one, which would say that this is all, never comes.
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert not answer.endswith(b"0\r\n\r\n")
        assert not site.app.complete


async def test_streamed_content_has_a_time_limit_for_each_part(running, signs, to_wire):
    options = {"stream_content": True, "content_timeout_s": 0.2}
    async with running(Sink(), **options) as site:
        assert await site.status(to_wire(signs(site), b'{"n"')) == 401
        assert not site.app.complete


async def by_hand(
    app: Any, ada: sage.Agent, resolver: Any, content: bytes, **scope: Any
) -> list[Any]:
    """Serve a signed request whose content was altered or not; return the events."""
    request = RequestMessage(
        method="POST", target_uri="https://a.example/", content=b"content"
    )
    fields = Signer(key=ada.signing_key).sign_request(request)
    headers = [(name.lower().encode(), value.encode()) for name, value in fields]
    headers.append((b"content-length", b"7"))
    whole = {"type": "http", "method": "POST", "path": "/", "headers": headers, **scope}
    events: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content}

    async def send(event: dict[str, Any]) -> None:
        events.append(event)

    middleware = VerifyMiddleware(
        app,
        base_url="https://a.example",
        guard=sage.MemoryReplayGuard(assume_no_history=True),
        resolver=resolver,
        stream_content=True,
    )
    try:
        await middleware(whole, receive, send)
    except sage.SageError as exc:
        events.append(exc)
    return events


async def test_an_answer_is_not_begun_twice(ada, resolver):
    sink = Sink(answers_first=True, hides=True)
    start, part, failure = await by_hand(sink, ada, resolver, b"altered")
    assert (start["status"], part["body"]) == (200, b"?")
    assert failure.code is Code.DIGEST_MISMATCH


async def test_no_answer_goes_past_the_signature(ada, resolver):
    """What the server would send by itself has no digest."""
    seen = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope["extensions"])

    past = {"http.response.pathsend": {}, "http.response.zerocopysend": {}}
    kept = {"http.response.trailers": {}}
    await by_hand(app, ada, resolver, b"content", extensions={**past, **kept})
    assert seen == kept


# --- frameworks ---------------------------------------------------------------------


def shop() -> fastapi.FastAPI:
    app = fastapi.FastAPI()

    @app.post("/orders")
    async def order(request: fastapi.Request, item: dict[str, int]) -> dict[str, str]:
        return {"by": request.user.display_name, "items": str(item)}

    @app.post("/letters")
    async def letters(request: fastapi.Request) -> StreamingResponse:
        text = (await request.body()).decode()
        events = (f"data: {letter}\n\n" for letter in text)
        return StreamingResponse(events, media_type="text/event-stream")

    return app


async def with_httpx(library: Any, url: str, auth: Any, tls: Any) -> tuple[Any, ...]:
    async with library.AsyncClient(auth=auth, verify=tls) as client:
        ordered = await client.post(f"{url}/orders", json={"tea": 2})
        async with client.stream("POST", f"{url}/letters", content=b"hi") as answer:
            lines = [line async for line in answer.aiter_lines() if line]
    async with library.AsyncClient(verify=tls) as anybody:
        refused = await anybody.post(f"{url}/orders", json={"tea": 2})
    return ordered.json(), lines, refused.status_code


async def with_aiohttp(url: str, auth: Any, tls: Any) -> tuple[Any, ...]:
    connector = aiohttp.TCPConnector(ssl=tls)
    async with aiohttp.ClientSession(connector=connector) as client:
        signed: Any = {"middlewares": [auth]}
        async with client.post(f"{url}/orders", json={"tea": 2}, **signed) as answer:
            ordered = await answer.json()
        async with client.post(f"{url}/letters", data=b"hi", **signed) as answer:
            lines = [line.decode().strip() async for line in answer.content]
        async with client.post(f"{url}/orders", json={"tea": 2}) as answer:
            refused = answer.status
    return ordered, [line for line in lines if line], refused


@pytest.mark.parametrize("name", ["httpx", "httpx2", "aiohttp"])
async def test_every_client_in_front_of_fastapi(
    running, ada, grace, resolver, tls, name
):
    responses = ResponseCheck(
        resolver=resolver, peer=grace.did, unsigned_streams={"text/event-stream"}
    )
    async with running(shop(), sign_with=grace.signing_key) as site:
        if name == "aiohttp":
            signing = AiohttpSignature(ada.signing_key, responses=responses)
            seen = await with_aiohttp(site.url, signing, tls.client)
        else:
            library = importlib.import_module(name)
            auth = SignatureAuth(ada.signing_key, responses=responses)
            seen = await with_httpx(library, site.url, auth, tls.client)
    assert seen == (
        {"by": ADA, "items": "{'tea': 2}"},
        ["data: h", "data: i"],
        401,
    )


async def test_fastapi_reads_streamed_content(running, ada, tls):
    auth = SignatureAuth(ada.signing_key)
    async with (
        running(shop(), stream_content=True) as site,
        httpx.AsyncClient(auth=auth, verify=tls.client) as client,
    ):
        ordered = await client.post(f"{site.url}/orders", json={"tea": 2})
        assert ordered.json() == {"by": ADA, "items": "{'tea': 2}"}
        headers = {"Content-Digest": encode_digest(b"others")}

        async def parts() -> AsyncIterator[bytes]:
            yield b'{"tea": 2}'

        for path in ("orders", "letters"):
            false = await client.post(
                f"{site.url}/{path}", content=parts(), headers=headers
            )
            assert (false.status_code, false.text) == (401, "authentication failed")


# --- what breaks other readers ----------------------------------------------------


@pytest.mark.parametrize("digest", ["sha-256=:\xe9:", "no digest"])
async def test_a_digest_that_no_answer_can_cover(
    running, signs, to_wire, grace, digest
):
    async with running(sign_with=grace.signing_key) as site:
        request = signs(site, b"", method="GET").with_fields(("content-digest", digest))
        assert await site.status(to_wire(request)) == 401
    assert site.app.calls == []


@pytest.mark.parametrize("component", [None, '"x-sage-did";bs'])
async def test_somebody_elses_did_beside_the_signature(
    running, signs, to_wire, ada, component
):
    async with running() as site:
        bare = without(signs(site, b"", method="GET"), "signature", "signature-input")
        named = bare.with_fields(("x-sage-did", MALLORY))
        covered = ["@method", "@target-uri", "@authority"]
        covered += [] if component is None else [component]
        now = int(time.time())
        settings = {"created": now, "expires": now + 60, "nonce": "once"}
        added = sign_request(named, ada.signing_key, components=covered, **settings)
        assert await site.status(to_wire(named.with_fields(*added))) == 401
    assert site.app.calls == []
