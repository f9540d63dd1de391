"""A service over HTTPS against an attacker who has everything but the keys.

Everything goes over a real socket. Whatever is refused gets a bare status and the one
generic text, moves nothing, and leaves the service well.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import uuid
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
from websockets.asyncio.client import connect as raw_connect

import sage
from sage.encoding import b64u_encode
from sage.envelope import (
    Response,
    authenticate_payload,
    decode_envelope,
    sign,
    verify_response,
)
from sage.errors import Code, ResolutionError, SageError
from sage.http import (
    V10,
    Policy,
    RequestMessage,
    ResponseMessage,
    sign_request,
)
from sage.http import (
    verify_response as verify_outer,
)
from sage.identity import revoke_key
from sage.limits import ENVELOPE_MAX_BYTES
from sage.service import Message, ServiceConfig, hosting, serving
from sage.service.initiation import initiate
from sage.service.operation import Operation
from sage.transport import HttpsPool, HttpsPoolConfig
from sage.transport.http_binding import wrap_request

from ..ports import free_port
from .conftest import CLOCK, GRACE, echo, header, sealed


class Wire:
    """A client of our own making: real keys, real sockets, no manners."""

    def __init__(self, url, agent, resolver, tls, service) -> None:
        self.url, self.agent, self.resolver, self.tls = url, agent, resolver, tls
        self.service = service
        self.port = int(url.split(":")[2].split("/")[0])
        self.pool = HttpsPool(HttpsPoolConfig(total_timeout_s=20), tls=tls.client)

    def wrap(self, request, agent=None) -> RequestMessage:
        return wrap_request(
            request, (agent or self.agent).signing_key, endpoint=self.url
        )

    async def post(self, sent: RequestMessage):
        return await self.pool.post(
            self.url, headers=sent.fields, content=sent.content or b""
        )

    async def ask(self, request) -> Response:
        """Post a request and verify both signatures of what comes back."""
        sent = self.wrap(request)
        received = await self.post(sent)
        assert received.status == 200, received
        outer = ResponseMessage(
            status=received.status,
            fields=tuple(received.headers),
            content=received.body,
        )
        record = await self.resolver.resolve(GRACE, now=CLOCK.now())
        key = record.record.select_signing_key(unix_time=CLOCK.unix_time())
        now = CLOCK.unix_time()
        verify_outer(outer, key, request=sent, policy=Policy.v10(), unix_time=now)
        response = decode_envelope(received.body)
        assert isinstance(response, Response)
        verify_response(response, request, key)
        return response

    async def handshake(self, agent=None):
        agent = agent or self.agent
        return await initiate(
            self.ask,
            agent=agent,
            peer=GRACE,
            operation=Operation(
                self.resolver, CLOCK, init_did=agent.did, resp_did=GRACE
            ),
            clock=CLOCK,
            ttl_s=60,
        )

    async def expect_answer(self, established, request) -> bytes:
        response = await self.ask(request)
        seq, plaintext = authenticate_payload(
            response, session=established.session, now=CLOCK.now()
        )
        established.session.accept(seq, now=CLOCK.now())
        return plaintext

    async def expect_refusal(self, sent: RequestMessage, status: int = 401) -> None:
        received = await self.post(sent)
        assert (received.status, received.body) == (status, b"refused")
        assert not any(name.lower() == "signature" for name, _ in received.headers)

    async def raw(self, data: bytes, *, limit_s: float = 5) -> bytes:
        """Send bytes on a connection of their own, and read until it ends."""
        reader, writer = await asyncio.open_connection(
            "localhost", self.port, ssl=self.tls.client
        )
        answer = b""
        try:
            async with asyncio.timeout(limit_s):
                writer.write(data)
                await writer.drain()
                while piece := await reader.read(65_536):
                    answer += piece
        except (OSError, ssl.SSLError):
            pass
        finally:
            writer.transport.abort()
        return answer

    async def is_well(self) -> bool:
        """Whether the service still serves an honest client."""
        established = await self.handshake()
        request = sealed(self.agent, established, b"well?")
        return await self.expect_answer(established, request) == b"echo:well?"


@pytest.fixture
def wired(ada, grace, resolver, tls):
    """Return a service over HTTPS, and the wire that leads to it."""

    @asynccontextmanager
    async def run(handler=echo, config=None, **options):
        port = free_port()
        url = f"https://localhost:{port}/sage"
        settings = {"https_endpoints": frozenset({url})} | (config or {})
        service = sage.Service(
            agent=grace,
            handler=handler,
            config=ServiceConfig(**settings),
            **{"resolver": resolver} | options,
        )
        async with serving(service, certificate=tls.certificate, port=port):
            wire = Wire(url, ada, resolver, tls, service)
            try:
                yield wire
            finally:
                await wire.pool.close()

    return run


def changed(sent: RequestMessage, **fields: str | None) -> RequestMessage:
    """Return a request with fields replaced, added or (``None``) left out."""
    names = {name.replace("_", "-"): value for name, value in fields.items()}
    kept = tuple(line for line in sent.fields if line[0].lower() not in names)
    more = tuple((name, value) for name, value in names.items() if value is not None)
    return replace(sent, fields=kept + more)


def signed_anew(sent: RequestMessage, key, request, **changes) -> RequestMessage:
    """Return a request with an outer signature of other parameters."""
    names = {"signature", "signature-input", "content-digest"}
    kept = tuple(line for line in sent.fields if line[0].lower() not in names)
    bare = replace(sent, fields=kept)
    parameters = {
        "created": request.created,
        "expires": request.expires,
        "nonce": request.nonce,
    }
    more = sign_request(bare, key, profile=V10, **parameters | changes)
    return bare.with_fields(*more)


async def test_the_wire_can_be_honest(wired):
    async with wired() as wire:
        assert await wire.is_well()


async def test_an_answer_says_everything_that_it_must(wired):
    async with wired() as wire:
        established = await wire.handshake()
        request = sealed(wire.agent, established, b"x")
        received = await wire.post(wire.wrap(request))
        fields = {name.lower(): value for name, value in received.headers}
        assert fields["content-type"] == "application/json"
        assert fields["x-sage-did"] == GRACE
        assert fields["x-sage-version"] == "0.10.0"
        assert json.loads(received.body)["success"] is True


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("authentication_failed", 401),
        ("policy_denied", 403),
        ("operation_failed", 500),
        ("unavailable", 503),
    ],
)
async def test_a_failure_is_signed_and_has_its_status(wired, reason, status):
    async def handler(message: Message) -> bytes:
        raise sage.RemoteFailure(reason)

    async with wired(handler) as wire:
        established = await wire.handshake()
        request = sealed(wire.agent, established, b"x")
        received = await wire.post(wire.wrap(request))
        assert received.status == status
        response = decode_envelope(received.body)
        verify_response(response, request, established.binding.resp_key)
        assert response.error == reason


# --- both signatures, of one key, of one message ----------------------------------


def _flip(text: str) -> str:
    """Return base64 of the same length that says something else."""
    at = text.index(":") + 5
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


BENT = {
    "a body altered": (
        lambda w, r, s: replace(
            s, content=s.content.replace(b'"once"', b'"oncE"') + b" "
        ),
        "digest.mismatch",
    ),
    "no outer signature": (
        lambda w, r, s: changed(s, signature=None, signature_input=None),
        "sig.missing",
    ),
    "no digest": (lambda w, r, s: changed(s, content_digest=None), "digest.missing"),
    "an outer signature altered": (
        lambda w, r, s: changed(s, signature=_flip(dict(s.fields)["Signature"])),
        "sig.bad",
    ),
    "a nonce of its own outside": (
        lambda w, r, s: signed_anew(
            s, w.agent.signing_key, r, nonce=b64u_encode(os.urandom(16))
        ),
        "sig.binding",
    ),
    "another beginning outside": (
        lambda w, r, s: signed_anew(s, w.agent.signing_key, r, created=r.created - 1),
        "sig.binding",
    ),
    "another end outside": (
        lambda w, r, s: signed_anew(s, w.agent.signing_key, r, expires=r.expires + 1),
        "sig.binding",
    ),
    "another version": (lambda w, r, s: changed(s, x_sage_version="0.9.0"), "version"),
    "no version": (lambda w, r, s: changed(s, x_sage_version=None), "version"),
    "no sender": (lambda w, r, s: changed(s, x_sage_did=None), "sig."),
    "another sender": (lambda w, r, s: changed(s, x_sage_did=GRACE), "sig."),
    "another message id": (
        lambda w, r, s: changed(s, x_sage_message_id=r.nonce),
        "sig.binding",
    ),
    "another context": (
        lambda w, r, s: changed(s, x_sage_context_id=r.id),
        "sig.binding",
    ),
    "a task that the body has not": (
        lambda w, r, s: changed(s, x_sage_task_id=r.id),
        "sig.binding",
    ),
    "metadata in the head": (
        lambda w, r, s: changed(s, x_sage_meta_purpose="x"),
        "sig.binding",
    ),
    "a field of nobody": (lambda w, r, s: changed(s, x_sage_more="x"), "sig.binding"),
    "a signature of another label": (
        lambda w, r, s: changed(
            s,
            signature=dict(s.fields)["Signature"].replace("sig1", "sig2"),
            signature_input=dict(s.fields)["Signature-Input"].replace("sig1", "sig2"),
        ),
        "sig.",
    ),
    "one signature more": (
        lambda w, r, s: changed(
            s,
            signature=dict(s.fields)["Signature"] + ", sig2=:AAAA:",
            signature_input=dict(s.fields)["Signature-Input"] + ", sig2=()",
        ),
        "sig.",
    ),
    "a component left out": (
        lambda w, r, s: changed(
            s,
            signature_input=dict(s.fields)["Signature-Input"].replace(
                ' "x-sage-version"', ""
            ),
        ),
        "sig.coverage",
    ),
    "a parameter left out": (
        lambda w, r, s: changed(
            s,
            signature_input=dict(s.fields)["Signature-Input"].replace(
                ';tag="sage-0.10.0"', ""
            ),
        ),
        "sig.",
    ),
    "another algorithm named": (
        lambda w, r, s: changed(
            s,
            signature_input=dict(s.fields)["Signature-Input"].replace(
                "ed25519", "ecdsa-p256-sha256"
            ),
        ),
        "sig.",
    ),
}


@pytest.mark.parametrize("name", BENT)
async def test_a_message_that_was_bent(wired, caplog, name):
    bend, code = BENT[name]
    async with wired() as wire:
        established = await wire.handshake()
        request = sealed(wire.agent, established, b"once")
        sent = wire.wrap(request)
        received = await wire.post(bend(wire, request, sent))
        # 400 where it is no such message any more, else 401; never more than that.
        assert received.status in (400, 401)
        assert received.body == b"refused"
        assert code in caplog.text
        # Nothing moved: the very same message is taken now, once.
        assert await wire.expect_answer(established, request) == b"echo:once"
        await wire.expect_refusal(sent)


async def test_an_envelope_signature_that_is_bad_under_a_good_one(wired, caplog):
    async with wired() as wire:
        established = await wire.handshake()
        request = sealed(wire.agent, established, b"once")
        forged = replace(request, signature=bytes(64))
        await wire.expect_refusal(wire.wrap(forged))
        assert "(sig." in caplog.text
        assert await wire.expect_answer(established, request) == b"echo:once"


async def test_another_key_outside_than_inside(wired, caplog, resolver):
    mallory = sage.Agent.generate("did:sage:web:agents.example:mallory")
    resolver.publish(mallory.record)
    async with wired() as wire:
        established = await wire.handshake()
        request = sealed(wire.agent, established, b"once")
        sent = wire.wrap(request)
        # Hers outside, with her name in the head and with Ada's.
        for did in (mallory.did, wire.agent.did):
            dressed = changed(sent, x_sage_did=did)
            try:
                bent = signed_anew(dressed, mallory.signing_key, request)
            except SageError:
                continue  # the profile does not even sign that
            await wire.expect_refusal(bent)
        assert "(sig.binding)" in caplog.text
        assert await wire.expect_answer(established, request) == b"echo:once"


async def test_a_session_of_another_peer(wired, caplog, resolver):
    mallory = sage.Agent.generate("did:sage:web:agents.example:mallory")
    resolver.publish(mallory.record)
    async with wired() as wire:
        established = await wire.handshake()
        stolen = header(
            mallory,
            encoding="session",
            context_id=established.binding.ctx,
            session_id=established.binding.session_id,
        )
        request = sign(stolen.with_payload(bytes(64)), mallory.signing_key)
        await wire.expect_refusal(wire.wrap(request, mallory))
        assert "(sig.binding)" in caplog.text
        assert await wire.expect_answer(
            established, sealed(wire.agent, established, b"x")
        )


async def test_a_message_for_somebody_else(wired, caplog):
    async with wired() as wire:
        request = sign(
            header(wire.agent, recipient="did:sage:web:agents.example:other"),
            wire.agent.signing_key,
        )
        await wire.expect_refusal(wire.wrap(request))
        assert "(sig.binding)" in caplog.text


async def test_a_message_for_another_endpoint(wired, caplog):
    async with wired() as wire:
        established = await wire.handshake()
        request = sealed(wire.agent, established, b"once")
        elsewhere = wire.url.replace("/sage", "/other")
        sent = wrap_request(request, wire.agent.signing_key, endpoint=elsewhere)
        await wire.expect_refusal(sent)
        # What a proxy claims changes nothing.
        sent = changed(sent, x_forwarded_host="localhost", forwarded="host=localhost")
        await wire.expect_refusal(sent)
        assert await wire.expect_answer(established, request) == b"echo:once"


async def test_an_old_message(wired, caplog):
    async with wired() as wire:
        now = CLOCK.unix_time()
        request = sign(
            header(wire.agent, created=now - 200, expires=now - 100),
            wire.agent.signing_key,
        )
        await wire.expect_refusal(wire.wrap(request))
        assert "(sig.stale)" in caplog.text


async def test_a_revoked_key_ends_the_session(wired, caplog, ada, resolver):
    async with wired() as wire:
        established = await wire.handshake()
        name = ada.signing_key.kid.partition("#")[2]
        unix_time = CLOCK.unix_time()
        resolver.publish(revoke_key(ada.record, name, unix_time=unix_time))
        await wire.expect_refusal(wire.wrap(sealed(ada, established, b"x")))
        assert wire.service._https.sessions == 0


# --- once, whatever carried it ----------------------------------------------------


async def test_a_request_is_accepted_once(wired, caplog):
    calls = []

    async def handler(message: Message) -> bytes:
        calls.append(message.payload)
        return b""

    async with wired(handler) as wire:
        established = await wire.handshake()
        sent = wire.wrap(sealed(wire.agent, established, b"once"))
        results = await asyncio.gather(*(wire.post(sent) for _ in range(8)))
        assert sorted(one.status for one in results) == [200] + [401] * 7
        assert calls == [b"once"]


async def test_a_websocket_message_does_not_pass_over_https(wired, caplog):
    async with wired() as wire:
        initiations = []
        async with raw_connect(
            wire.url.replace("https", "wss"), ssl=wire.tls.client, compression=None
        ) as websocket:

            async def ask(request):
                initiations.append(request)
                await websocket.send(request.encode(), text=True)
                return decode_envelope(await websocket.recv())

            established = await initiate(
                ask,
                agent=wire.agent,
                peer=GRACE,
                operation=Operation(
                    wire.resolver, CLOCK, init_did=wire.agent.did, resp_did=GRACE
                ),
                clock=CLOCK,
                ttl_s=60,
            )
            # Even with an outer signature by the right key.
            await wire.expect_refusal(wire.wrap(initiations[0]))
            assert "(sig.replay)" in caplog.text
            await wire.expect_refusal(
                wire.wrap(sealed(wire.agent, established, b"elsewhere"))
            )
            assert "(session.unknown)" in caplog.text
        assert await wire.is_well()


async def test_an_https_message_does_not_pass_over_a_websocket(wired, caplog):
    async with wired() as wire:
        initiations = []

        async def ask(request):
            initiations.append(request)
            return await wire.ask(request)

        await initiate(
            ask,
            agent=wire.agent,
            peer=GRACE,
            operation=Operation(
                wire.resolver, CLOCK, init_did=wire.agent.did, resp_did=GRACE
            ),
            clock=CLOCK,
            ttl_s=60,
        )
        async with raw_connect(
            wire.url.replace("https", "wss"), ssl=wire.tls.client, compression=None
        ) as websocket:
            await websocket.send(initiations[0].encode(), text=True)
            with pytest.raises(Exception, match="refused"):
                await websocket.recv()
        assert "(sig.replay)" in caplog.text


# --- framing ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"content_type": "application/json; charset=utf-8"},
        {"content_type": "text/plain"},
        {"content_type": "multipart/form-data; boundary=x"},
        {"content_type": None},
        {"content_encoding": "gzip"},
        {"content_encoding": "identity"},
        {"trailer": "X"},
    ],
)
async def test_a_body_that_is_not_plain_json(wired, fields):
    async with wired() as wire:
        established = await wire.handshake()
        request = sealed(wire.agent, established, b"once")
        sent = changed(wire.wrap(request), **fields)
        await wire.expect_refusal(sent, 400)
        assert await wire.expect_answer(established, request) == b"echo:once"


def _bytes(sent: RequestMessage, *more: bytes, body: bytes | None = None) -> bytes:
    lines = [f"{name}: {value}".encode() for name, value in sent.fields]
    host = sent.target_uri.split("/")[2].encode()
    content = sent.content if body is None else body
    if not any(line.lower().startswith(b"transfer-encoding") for line in more):
        lines.append(b"Content-Length: %d" % len(content or b""))
    head = [b"POST /sage HTTP/1.1", b"Host: " + host, *lines, *more]
    return b"\r\n".join(head) + b"\r\n\r\n" + (content or b"")


@pytest.mark.parametrize(
    "name",
    [
        *("Content-Type", "Content-Digest", "X-SAGE-DID", "X-SAGE-Version"),
        *("Signature", "Signature-Input"),
    ],
)
async def test_a_line_that_came_twice(wired, name):
    async with wired() as wire:
        established = await wire.handshake()
        request = sealed(wire.agent, established, b"once")
        sent = wire.wrap(request)
        value = next(v for n, v in sent.fields if n.lower() == name.lower())
        answer = await wire.raw(_bytes(sent, f"{name}: {value}".encode()))
        assert answer.split(b" ")[1] in (b"400", b"401")
        assert answer.endswith(b"refused")
        assert await wire.expect_answer(established, request) == b"echo:once"


async def test_pieces_are_put_together(wired):
    """Transfer framing is removed before anything is verified."""
    async with wired() as wire:
        established = await wire.handshake()
        sent = wire.wrap(sealed(wire.agent, established, b"once"))
        content = sent.content or b""
        halves = [content[:100], content[100:]]
        body = b"".join(b"%x\r\n%b\r\n" % (len(half), half) for half in halves)
        data = _bytes(
            sent,
            b"Transfer-Encoding: chunked",
            b"Connection: close",
            body=body + b"0\r\n\r\n",
        )
        assert (await wire.raw(data)).startswith(b"HTTP/1.1 200")


async def test_trailers_are_refused(wired):
    async with wired() as wire:
        established = await wire.handshake()
        request = sealed(wire.agent, established, b"once")
        sent = wire.wrap(request)
        content = sent.content or b""
        body = b"%x\r\n%b\r\n0\r\nX-More: y\r\n\r\n" % (len(content), content)
        answer = await wire.raw(_bytes(sent, b"Transfer-Encoding: chunked", body=body))
        assert answer.startswith(b"HTTP/1.1 400")
        assert await wire.expect_answer(established, request) == b"echo:once"


async def test_16_mib_and_one_byte(wired):
    async with wired() as wire:
        await wire.handshake()
        sent = wire.wrap(sign(header(wire.agent), wire.agent.signing_key))
        head = _bytes(sent, body=b"").replace(
            b"Content-Length: 0", b"Content-Length: %d" % (ENVELOPE_MAX_BYTES + 1)
        )
        # Refused before a byte of it is read.
        assert (await wire.raw(head)).startswith(b"HTTP/1.1 413")
        pieces = _bytes(sent, b"Transfer-Encoding: chunked", body=b"")
        chunk = b"%x\r\n%b\r\n" % (65_536, bytes(65_536))
        answer = await wire.raw(pieces + chunk * 257, limit_s=20)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 413")
        assert await wire.is_well()


async def test_a_stranger_says_no_more_than_a_stranger_needs(wired):
    async with wired() as wire:
        bare = sign(header(wire.agent), wire.agent.signing_key)
        sent = replace(wire.wrap(bare), content=b" " * 65_537)
        await wire.expect_refusal(sent, 413)
        established = await wire.handshake()
        request = sealed(wire.agent, established, bytes(1_000_000))
        assert len(await wire.expect_answer(established, request)) == 1_000_005


@pytest.mark.parametrize("body", [b"", b"hello", b"{}", b"[]", b'{"a":1,"a":2}'])
async def test_garbage_under_a_good_signature(wired, body):
    async with wired() as wire:
        request = sign(header(wire.agent), wire.agent.signing_key)
        sent = replace(wire.wrap(request), content=body)
        sent = signed_anew(sent, wire.agent.signing_key, request) if body else sent
        received = await wire.post(sent)
        assert received.status in (400, 401)
        assert received.body == b"refused"


async def test_a_response_is_no_request(wired):
    async with wired() as wire:
        request = sign(header(wire.agent), wire.agent.signing_key)
        mine = Response(
            id=str(uuid.uuid4()),
            did=wire.agent.did,
            recipient=GRACE,
            kid=wire.agent.signing_key.kid,
            created=request.created,
            expires=request.expires,
            nonce=b64u_encode(os.urandom(16)),
            message_id=request.id,
            request_hash=request.hash(),
            success=True,
        )
        content = sign(mine, wire.agent.signing_key).encode()
        sent = replace(wire.wrap(request), content=content)
        sent = signed_anew(sent, wire.agent.signing_key, mine)
        await wire.expect_refusal(sent)


async def test_a_head_over_32_kib(wired):
    async with wired() as wire:
        sent = wire.wrap(sign(header(wire.agent), wire.agent.signing_key))
        answer = await wire.raw(_bytes(sent, b"X-Long: " + b"x" * 40_000))
        assert answer == b"" or answer.split(b" ")[1] in (b"400", b"413")
        assert await wire.is_well()


async def test_other_methods_and_paths(wired):
    async with wired() as wire:
        host = b"\r\nHost: localhost:%d\r\nConnection: close\r\n\r\n" % wire.port
        for line in (b"GET /sage", b"PUT /sage", b"GET /other"):
            answer = await wire.raw(line + b" HTTP/1.1" + host)
            assert answer.startswith(b"HTTP/1.1 404")
        sent = wire.wrap(sign(header(wire.agent), wire.agent.signing_key))
        answer = await wire.raw(_bytes(sent).replace(b"/sage HTTP", b"/other HTTP"))
        assert answer.startswith(b"HTTP/1.1 404")
        answer = await wire.raw(_bytes(sent).replace(b"Host: l", b"Host: x.l"))
        assert answer.startswith(b"HTTP/1.1 404")


async def test_a_service_without_endpoints_has_no_https(wired):
    async with wired(config={"https_endpoints": frozenset()}) as wire:
        sent = wire.wrap(sign(header(wire.agent), wire.agent.signing_key))
        assert (await wire.post(sent)).status == 404


async def test_a_web_page_cannot_post(wired):
    async with wired() as wire:
        established = await wire.handshake()
        request = sealed(wire.agent, established, b"once")
        sent = changed(wire.wrap(request), origin="https://evil.example")
        await wire.expect_refusal(sent, 403)
        assert await wire.expect_answer(established, request) == b"echo:once"


def scope_of(sent, scheme, *headers):
    return {
        "type": "http",
        "scheme": scheme,
        "method": "POST",
        "path": "/sage",
        "raw_path": b"/sage",
        "query_string": b"",
        "headers": [
            (b"host", b"localhost:1"),
            *headers,
            *((n.lower().encode(), v.encode()) for n, v in sent.fields),
        ],
    }


async def test_without_tls_nothing_is_answered(grace, ada, resolver):
    endpoint = "https://localhost:1/sage"
    service = sage.Service(
        agent=grace,
        resolver=resolver,
        handler=echo,
        config=ServiceConfig(https_endpoints=frozenset({endpoint})),
    )
    request = sign(header(ada), ada.signing_key)
    sent = wrap_request(request, ada.signing_key, endpoint=endpoint)
    events = []

    async def receive():
        return {"type": "http.request", "body": sent.content, "more_body": False}

    async def send(event):
        events.append(event)

    await service(scope_of(sent, "http"), receive, send)
    assert events[0]["status"] == 403
    assert events[1]["body"] == b"refused"


# --- many, slow and long ----------------------------------------------------------


async def test_a_body_that_never_arrives(wired):
    async with wired(config={"first_message_timeout_s": 0.3}) as wire:
        sent = wire.wrap(sign(header(wire.agent), wire.agent.signing_key))
        data = _bytes(sent)
        loop = asyncio.get_running_loop()
        began = loop.time()
        # The rest never comes.
        stalled = asyncio.create_task(wire.raw(data[:-10], limit_s=15))
        assert await wire.is_well()
        await stalled
        assert loop.time() - began < 14


async def test_too_many_requests_at_once(wired):
    going_on, started = asyncio.Event(), asyncio.Event()

    async def handler(message: Message) -> bytes:
        started.set()
        await going_on.wait()
        return b"done"

    async with wired(handler, config={"max_https_requests": 1}) as wire:
        established = await wire.handshake()
        first = asyncio.create_task(
            wire.post(wire.wrap(sealed(wire.agent, established, b"1")))
        )
        await started.wait()
        second = wire.wrap(sealed(wire.agent, established, b"2"))
        await wire.expect_refusal(second, 503)
        going_on.set()
        assert (await first).status == 200
        assert (await wire.post(second)).status == 200


async def test_a_request_is_its_peers_and_no_strangers_while_it_is_worked_on(wired):
    going_on = asyncio.Event()

    async def handler(message: Message) -> bytes:
        await going_on.wait()
        return b"done"

    async with wired(handler) as wire:
        established = await wire.handshake()
        request = sealed(wire.agent, established, b"1")
        asking = asyncio.create_task(wire.post(wire.wrap(request)))
        room = wire.service._https._room
        await waited(lambda: room._requests_of[wire.agent.did] == 1)
        assert room._requests_of[None] == 0
        # It counts among those that are answered, and not as being read.
        assert held(wire) == 0
        going_on.set()
        assert (await asking).status == 200


async def test_a_strangers_body_has_the_time_of_a_first_message(grace, ada, resolver):
    """Whatever hosts the service: another server may set no limit of its own."""
    endpoint = "https://localhost:1/sage"
    config = ServiceConfig(
        https_endpoints=frozenset({endpoint}),
        first_message_timeout_s=0.05,
        handler_timeout_s=600.0,
    )
    service = sage.Service(agent=grace, resolver=resolver, handler=echo, config=config)
    request = sign(header(ada), ada.signing_key)
    sent = wrap_request(request, ada.signing_key, endpoint=endpoint)

    async def receive():
        await asyncio.Event().wait()

    async def send(event):
        pass

    length = (b"content-length", b"%d" % len(sent.content))
    async with asyncio.timeout(60):
        await service(scope_of(sent, "https", length), receive, send)
    assert not service._https._room._requests_of


async def test_a_body_that_is_late_is_refused(wired, caplog):
    """By us: an application that answers nothing is an error to its server."""
    async with wired(config={"first_message_timeout_s": 0.1}) as wire:
        data = _bytes(wire.wrap(sign(header(wire.agent), wire.agent.signing_key)))
        answer = await wire.raw(data[:-10])
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert answer.endswith(b"\r\n\r\nrefused")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_known_peer_has_time_for_a_long_body(wired, monkeypatch):
    """On a new connection as well: the server's limit for strangers is not theirs."""
    monkeypatch.setattr(hosting, "FIRST_MESSAGE_TIMEOUT_S", 0.4)
    async with wired() as wire:
        established = await wire.handshake()
        data = _bytes(wire.wrap(sealed(wire.agent, established, bytes(100_000))))
        async with sending(wire, data[:-10]) as (reader, writer):
            await asyncio.sleep(0.8)
            writer.write(data[-10:])
            async with asyncio.timeout(5):
                assert b" 200 " in await reader.readline()


def held(wire: Wire) -> int:
    """Count the bytes of bodies that are not answered yet."""
    return wire.service._https._room.bytes


async def waited(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def sending(wire: Wire, data: bytes):
    """Send bytes on a connection that is still open, and yield both of its ends."""
    reader, writer = await asyncio.open_connection(
        "localhost", wire.port, ssl=wire.tls.client
    )
    try:
        writer.write(data)
        await writer.drain()
        yield reader, writer
    finally:
        writer.transport.abort()


async def test_a_peer_holds_only_so_many_bytes(wired, monkeypatch):
    monkeypatch.setattr("sage.service.https_host.HTTPS_BODIES_MAX_BYTES", 1_200_000)
    async with wired() as wire:
        established = await wire.handshake()
        data = _bytes(wire.wrap(sealed(wire.agent, established, bytes(150_000))))
        # One lies there, all but its end, and holds what it has sent and no more.
        async with sending(wire, data[:-10]) as (reader, writer):
            await waited(lambda: held(wire) > 190_000)
            more = wire.wrap(sealed(wire.agent, established, bytes(150_000)))
            await wire.expect_refusal(more, 503)
            assert await wire.is_well()
            writer.write(data[-10:])
            assert b"200" in await reader.readuntil(b"\r\n")
        assert held(wire) == 0
        assert wire.service._host.budget.held == 0


HEAD = (
    "POST /sage HTTP/1.1\r\nhost: localhost:{port}\r\nx-sage-did: {did}\r\n"
    "content-type: application/json\r\n"
)


async def test_naming_a_known_agent_buys_nothing(wired):
    """A long body is read behind a head that a known key has signed, only."""
    async with wired() as wire:
        established = await wire.handshake()
        named = HEAD.format(port=wire.port, did=wire.agent.did)
        for length in (
            "content-length: 16000000\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\nffff\r\n" + "x" * 0xFFFF,
        ):
            answer = await wire.raw((named + length).encode())
            assert answer.startswith(b"HTTP/1.1 401")
        # Nor does the signature of a stranger, nor one that is another head's.
        long = wire.wrap(sealed(wire.agent, established, bytes(100_000)))
        stranger = sage.Agent.generate("did:sage:web:agents.example:stranger")
        its_own = replace(header(stranger), payload=b"x" * 100_000)
        await wire.expect_refusal(
            wire.wrap(sign(its_own, stranger.signing_key), stranger), 413
        )
        bent = changed(long, signature=_flip(dict(long.fields)["Signature"]))
        await wire.expect_refusal(bent, 413)
        await wire.expect_refusal(changed(long, content_type="text/plain"), 400)
        assert held(wire) == 0
        assert (await wire.post(long)).status == 200


async def test_strangers_who_take_their_time_leave_room_for_peers(wired):
    """Half of the places are theirs; then who is known has to show it by the head."""
    config = {"max_https_requests": 8, "first_message_timeout_s": 3.0}
    async with wired(config=config) as wire, AsyncExitStack() as slow:
        established = await wire.handshake()
        unfinished = HEAD.format(port=wire.port, did=wire.agent.did)
        unfinished += "content-length: 1000\r\n\r\n{"
        for _ in range(4):
            await slow.enter_async_context(sending(wire, unfinished.encode()))
        await waited(lambda: held(wire) == 4)
        # One more of them is refused, as is a handshake; a peer is not.
        answer = await wire.raw(unfinished.encode())
        assert answer.startswith(b"HTTP/1.1 401")
        other = sage.Agent.generate("did:sage:web:agents.example:other")
        theirs = wire.wrap(sign(header(other), other.signing_key), other)
        await wire.expect_refusal(theirs, 503)
        for text in (b"1", b"2"):
            request = sealed(wire.agent, established, text)
            assert await wire.expect_answer(established, request) == b"echo:" + text
    assert held(wire) == 0


async def test_one_signed_head_takes_no_more_than_half_of_the_places(wired):
    """It may be sent any number of times: what it is good for once is behind it."""
    async with (
        wired(config={"max_https_requests": 8}) as wire,
        AsyncExitStack() as slow,
    ):
        established = await wire.handshake()
        data = _bytes(wire.wrap(sealed(wire.agent, established, bytes(100_000))))
        begun = data[: data.index(b"\r\n\r\n") + 5]
        for _ in range(4):
            await slow.enter_async_context(sending(wire, begun))
        await waited(lambda: held(wire) == 4)
        assert (await wire.raw(begun)).startswith(b"HTTP/1.1 503")
        other = sage.Agent.generate("did:sage:web:agents.example:other")
        wire.resolver.publish(other.record)
        wire.agent = other
        assert await wire.is_well()


class SlowResolver:
    """Takes its time over whoever is called slow."""

    def __init__(self, resolver):
        self._resolver, self.go_on = resolver, asyncio.Event()

    async def resolve(self, did, *, now):
        if "slow" in did:
            await self.go_on.wait()
        return await self._resolver.resolve(did, now=now)


async def test_strangers_whose_records_take_their_time_leave_room(wired, resolver):
    """Until its signature is verified, a request is nobody's."""
    slow = SlowResolver(resolver)
    async with wired(config={"max_https_requests": 4}, resolver=slow) as wire:
        established = await wire.handshake()
        posts = []
        for number in range(2):
            stranger = sage.Agent.generate(f"did:sage:web:slow.example:x{number}")
            sent = wire.wrap(sign(header(stranger), stranger.signing_key), stranger)
            posts.append(asyncio.create_task(wire.post(sent)))
        await waited(lambda: wire.service._https._room._requests_of[None] == 2)
        request = sealed(wire.agent, established, b"x")
        assert await wire.expect_answer(established, request) == b"echo:x"
        slow.go_on.set()
        assert [(await post).status for post in posts] == [401, 401]
        assert wire.service._https._room._requests_of[None] == 0


async def test_a_record_that_is_not_to_be_had_ends_the_session(wired, resolver):
    """Of whoever signed for it, and of nobody else."""
    gone: list[str] = []

    class Failing:
        async def resolve(self, did, *, now):
            if did in gone:
                raise ResolutionError("down", code=Code.RECORD_UNREACHABLE)
            return await resolver.resolve(did, now=now)

    async with wired(resolver=Failing()) as wire:
        established = await wire.handshake()
        gone.append(wire.agent.did)
        good = wire.wrap(sealed(wire.agent, established, b"x"))
        bent = changed(good, signature=_flip(dict(good.fields)["Signature"]))
        await wire.expect_refusal(bent)
        assert wire.service._https.sessions == 1
        await wire.expect_refusal(good)
        assert wire.service._https.sessions == 0
        gone.clear()
        await wire.expect_refusal(wire.wrap(sealed(wire.agent, established, b"x")))
        assert await wire.is_well()


async def test_a_flood_of_handshakes_pushes_out_handshakes_only(wired):
    config = {"max_https_handshakes": 4, "max_https_sessions_per_peer": 100}
    async with wired(config=config) as wire:
        established = await wire.handshake()
        request = sealed(wire.agent, established, b"used")
        assert await wire.expect_answer(established, request) == b"echo:used"
        for _ in range(12):
            await wire.handshake()
        assert wire.service._https.sessions == 5
        request = sealed(wire.agent, established, b"still")
        assert await wire.expect_answer(established, request) == b"echo:still"


async def test_a_slow_handler_and_the_connection_below_it(wired, monkeypatch):
    """The server's patience for a request ends with the request, not in the answer;
    and a connection of a known peer may be idle for longer than a stranger's."""
    monkeypatch.setattr(hosting, "FIRST_MESSAGE_TIMEOUT_S", 0.4)
    opened = []
    connection_made = hosting._Http.connection_made

    def count(self, transport):
        opened.append(transport)
        connection_made(self, transport)

    monkeypatch.setattr(hosting._Http, "connection_made", count)

    async def handler(message: Message) -> bytes:
        await asyncio.sleep(0.8)
        return b"done"

    async with wired(handler) as wire:
        established = await wire.handshake()
        for _ in range(2):
            request = sealed(wire.agent, established, b"x")
            assert await wire.expect_answer(established, request) == b"done"
            await asyncio.sleep(0.8)
        assert len(opened) == 1
        # A stranger has no such time.
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await wire.raw(b"POST /sage HTTP/1.1\r\n") == b""
        assert loop.time() - began < 3


async def test_an_internal_error_says_nothing(wired, monkeypatch, caplog):
    async with wired() as wire:
        established = await wire.handshake()

        def broken(*_, **__):
            raise ValueError("ours alone")

        monkeypatch.setattr("sage.service.https_host.begin_request", broken)
        sent = wire.wrap(sealed(wire.agent, established, b"x"))
        await wire.expect_refusal(sent, 500)
        assert "ours alone" in caplog.text


async def test_stopping_wipes_the_sessions(wired):
    async with wired() as wire:
        await wire.handshake()
        assert wire.service._https.sessions == 1
        await wire.service.close()
        assert wire.service._https.sessions == 0


async def test_bodies_that_wait_for_their_turn_are_bounded(wired, monkeypatch):
    monkeypatch.setattr("sage.service.https_host.HTTPS_BODIES_MAX_BYTES", 48_000)
    go_on = asyncio.Event()

    async def slow(message: Message) -> bytes:
        await go_on.wait()
        return await echo(message)

    async with wired(slow, {"max_bytes_in_flight": 1}) as wire:
        established = await wire.handshake()
        requests = [sealed(wire.agent, established, b"x" * 3000) for _ in range(6)]
        posts = [asyncio.create_task(wire.post(wire.wrap(one))) for one in requests]
        await asyncio.wait(posts, timeout=2, return_when=asyncio.FIRST_COMPLETED)
        go_on.set()
        statuses = sorted([(await post).status for post in posts])
        assert statuses[0] == 200
        assert statuses[-1] == 503
        assert await wire.is_well()


async def test_bytes_of_strangers_leave_room_for_whom_we_know(wired, resolver):
    """However many come over HTTPS, and however long their records take."""
    slow, config = SlowResolver(resolver), {"max_bytes_in_flight": 16_000}
    async with wired(config=config, resolver=slow) as wire:
        established = await wire.handshake()
        stranger = sage.Agent.generate("did:sage:web:slow.example:x")
        async with AsyncExitStack() as stack:
            for _ in range(40):
                request = sign(header(stranger), stranger.signing_key)
                data = _bytes(wire.wrap(request, stranger))
                await stack.enter_async_context(sending(wire, data))
            await waited(lambda: wire.service._https._room._requests == 40)
            budget = wire.service._host.budget
            assert 0 < budget.held <= 4_000
            for _ in range(3):
                request = sealed(wire.agent, established, b"x")
                async with asyncio.timeout(3):
                    assert await wire.expect_answer(established, request) == b"echo:x"
            slow.go_on.set()
        await waited(lambda: not budget.held)


async def test_whom_we_know_takes_no_room_of_strangers(wired):
    """Not for longer than it takes to find out who it is."""
    go_on = asyncio.Event()

    async def slow(message: Message) -> bytes:
        await go_on.wait()
        return await echo(message)

    async with wired(slow, {"max_bytes_in_flight": 16_000}) as wire:
        established = await wire.handshake()
        request = sealed(wire.agent, established, bytes(2_000))
        post = asyncio.create_task(wire.post(wire.wrap(request)))
        host = wire.service._host
        await waited(lambda: host.budget.held and not host.budget_of_strangers.held)
        async with asyncio.timeout(3):
            await wire.handshake()
        go_on.set()
        assert (await post).status == 200
        assert not host.budget.held
