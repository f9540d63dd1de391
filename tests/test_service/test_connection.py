"""A service against an attacker who has everything but the keys, and then some."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import uuid
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect as raw_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

import sage
from sage.encoding import b64u_encode
from sage.envelope import (
    Request,
    Response,
    authenticate_payload,
    decode_envelope,
    seal_request,
    sign,
    verify_response,
)
from sage.identity import revoke_key
from sage.limits import ENVELOPE_MAX_BYTES
from sage.service import Clock, ServiceConfig, connection, hosting_websocket
from sage.service.accepted import ConnectionSessions
from sage.service.initiation import initiate
from sage.service.operation import Operation
from sage.types import Role

GRACE = "did:sage:web:agents.example:grace"
CLOCK = Clock()


class Wire:
    """A client of our own making: real keys, real socket, no manners."""

    def __init__(self, socket, agent, resolver):
        self.socket, self.agent, self.resolver = socket, agent, resolver
        self.sent: list[bytes] = []

    async def send(self, data: bytes) -> None:
        self.sent.append(data)
        await self.socket.send(data, text=True)

    async def ask(self, request: Request) -> Response:
        await self.send(request.encode())
        return decode_envelope(await self.socket.recv())

    async def handshake(self):
        operation = Operation(
            self.resolver, CLOCK, init_did=self.agent.did, resp_did=GRACE
        )
        return await initiate(
            self.ask,
            agent=self.agent,
            peer=GRACE,
            operation=operation,
            clock=CLOCK,
            ttl_s=60,
        )

    def header(self, established=None, **changes) -> Request:
        now = CLOCK.unix_time()
        members = {
            "id": str(uuid.uuid4()),
            "did": self.agent.did,
            "recipient": GRACE,
            "kid": self.agent.signing_key.kid,
            "created": now,
            "expires": now + 60,
            "nonce": b64u_encode(os.urandom(16)),
            "encoding": "plain",
            "context_id": str(uuid.uuid4()),
            "role": Role.INITIATOR,
        }
        if established is not None:
            members |= {
                "encoding": "session",
                "context_id": established.binding.ctx,
                "session_id": established.binding.session_id,
            }
        return Request(**members | changes)

    def sealed(self, established, plaintext=b"x", **changes) -> Request:
        return seal_request(
            self.header(established, **changes),
            plaintext,
            session=established.session,
            key=self.agent.signing_key,
            now=CLOCK.now(),
        )

    async def expect_answer(self, established, request: Request) -> bytes:
        response = await self.ask(request)
        verify_response(response, request, established.binding.resp_key)
        seq, plaintext = authenticate_payload(
            response, session=established.session, now=CLOCK.now()
        )
        established.session.accept(seq, now=CLOCK.now())
        return plaintext

    async def expect_refusal(self, *codes: int) -> None:
        """The connection ends at once, and says nothing but the generic text."""
        with pytest.raises(ConnectionClosed) as closed:
            async with asyncio.timeout(2):
                await self.socket.recv()
        frame = closed.value.rcvd
        assert frame is not None
        assert frame.code in (codes or (1008, 1007))
        assert frame.reason == "refused"


@pytest.fixture
def wire(ada, resolver, tls):
    @asynccontextmanager
    async def open_wire(url, agent=ada):
        async with raw_connect(
            url, ssl=tls.client, compression=None, max_size=None
        ) as socket:
            yield Wire(socket, agent, resolver)

    return open_wire


async def send_much(message) -> bytes:
    return bytes(8_000_000) if message.payload == b"much" else message.payload


@pytest.mark.parametrize("reads", [False, True])
async def test_an_answer_is_kept_for_who_reads_it(
    wire, running, reads, monkeypatch, caplog
):
    caplog.set_level("INFO")
    monkeypatch.setattr(connection, "REQUEST_TIMEOUT_S", 0.3)
    async with running(send_much) as url, wire(url) as slow:
        established = await slow.handshake()
        transport = slow.socket.transport
        # Of a long one the kernel would tell only now and then that it has room.
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        await slow.send(slow.sealed(established, b"much").encode())
        transport.pause_reading()
        for _ in range(15):  # the end comes within a second of being given up
            await asyncio.sleep(0.1)
            if reads:  # some of it
                transport.resume_reading()
                await asyncio.sleep(0.001)
                transport.pause_reading()
        given_up = "the connection was given up: the peer took" in caplog.text
        assert given_up is not reads
        transport.resume_reading()
        if reads:
            request = slow.sealed(established)
            await slow.socket.recv()
            assert await slow.expect_answer(established, request) == b"x"
        else:
            with pytest.raises(ConnectionClosed):
                await slow.socket.recv()


async def is_well(wire, url) -> bool:
    """Whether the service still serves an honest client."""
    async with wire(url) as honest:
        established = await honest.handshake()
        request = honest.sealed(established, b"well?")
        return await honest.expect_answer(established, request) == b"echo:well?"


async def test_the_wire_can_be_honest(running, wire):
    async with running() as url:
        assert await is_well(wire, url)


def garbage():
    deep = b"[" * 100_000
    plain = {"version": "0.10.0"}
    return [
        (b"", "json.malformed"),
        (b"hello", "json.malformed"),
        (b"{}", "envelope.malformed"),
        (b"[]", "envelope.malformed"),
        (deep[:60_000], "json.malformed"),
        (b'{"a":1,"a":2}', "json.malformed"),
        (json.dumps(plain).encode(), "envelope.malformed"),
        (json.dumps({"version": "0.9.0"}).encode(), "version.unsupported"),
    ]


@pytest.mark.parametrize(("data", "code"), garbage())
async def test_garbage_gets_one_generic_text(running, wire, caplog, data, code):
    async with running() as url:
        async with wire(url) as intruder:
            await intruder.send(data)
            await intruder.expect_refusal()
        assert f"({code})" in caplog.text
        assert await is_well(wire, url)


async def test_a_long_message_before_a_handshake(running, wire):
    async with running() as url:
        async with wire(url) as intruder:
            await intruder.send(b" " * 65_537)
            with pytest.raises(ConnectionClosed) as closed:
                await intruder.socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1009
        assert await is_well(wire, url)


async def test_the_same_behind_a_server_that_takes_it(
    running, wire, caplog, monkeypatch
):
    monkeypatch.setattr(
        hosting_websocket, "UNAUTHENTICATED_MAX_BYTES", ENVELOPE_MAX_BYTES
    )
    async with running() as url, wire(url) as intruder:
        await intruder.send(b" " * 65_537)
        await intruder.expect_refusal()
    assert "(size.exceeded)" in caplog.text


async def test_a_long_message_after_a_handshake(running, wire):
    async with running() as url, wire(url) as ada:
        established = await ada.handshake()
        request = ada.sealed(established, b"x" * 1_000_000)
        answer = await ada.expect_answer(established, request)
        assert len(answer) == 1_000_005


async def test_a_binary_message(running, wire, caplog):
    async with running() as url, wire(url) as intruder:
        await intruder.socket.send(b"\x00\x01")
        await intruder.expect_refusal()
    assert "(frame.malformed)" in caplog.text


async def test_a_message_over_16_mib(running, wire):
    async with running() as url:
        async with wire(url) as intruder:
            await intruder.handshake()
            with contextlib.suppress(ConnectionClosed):
                await intruder.send(b" " * (16 * 1024 * 1024 + 1))
            with pytest.raises(ConnectionClosed) as closed:
                await intruder.socket.recv()
            assert closed.value.rcvd is None or closed.value.rcvd.code == 1009
        assert await is_well(wire, url)


async def refused(running, wire, caplog, code, act):
    """Run an attack on an established session; expect one code in the log."""
    async with running() as url:
        async with wire(url) as intruder:
            established = await intruder.handshake()
            first = intruder.sealed(established, b"first")
            assert await intruder.expect_answer(established, first) == b"echo:first"
            await act(intruder, established, first)
            await intruder.expect_refusal()
        assert f"({code})" in caplog.text
        assert await is_well(wire, url)


async def test_a_replayed_request(running, wire, caplog):
    async def act(intruder, established, first):
        await intruder.send(first.encode())

    await refused(running, wire, caplog, "session.replay", act)


async def test_a_fresh_record_under_a_used_id(running, wire, caplog):
    async def act(intruder, established, first):
        again = intruder.sealed(established, b"second", id=first.id)
        await intruder.send(again.encode())

    await refused(running, wire, caplog, "sig.replay", act)


async def test_a_fresh_record_under_a_used_nonce(running, wire, caplog):
    async def act(intruder, established, first):
        again = intruder.sealed(established, b"second", nonce=first.nonce)
        await intruder.send(again.encode())

    await refused(running, wire, caplog, "sig.replay", act)


async def test_a_changed_request(running, wire, caplog):
    async def act(intruder, established, first):
        request = intruder.sealed(established)
        body = json.loads(request.encode()) | {"metadata": {"added": "later"}}
        await intruder.send(json.dumps(body).encode())

    await refused(running, wire, caplog, "sig.bad", act)


async def test_a_flipped_record_even_if_signed_again(running, wire, caplog):
    async def act(intruder, established, first):
        request = intruder.sealed(established, b"payload")
        record = bytearray(request.payload)
        record[25] ^= 1
        header = replace(request, payload=bytes(record), signature=None)
        forged = sign(header, intruder.agent.signing_key)
        await intruder.send(forged.encode())

    await refused(running, wire, caplog, "session.aead", act)


async def test_a_record_under_another_envelope(running, wire, caplog):
    async def act(intruder, established, first):
        request = intruder.sealed(established, b"payload")
        other = replace(request, id=str(uuid.uuid4()), signature=None)
        await intruder.send(sign(other, intruder.agent.signing_key).encode())

    await refused(running, wire, caplog, "session.aead", act)


async def test_an_unknown_session(running, wire, caplog):
    async def act(intruder, established, first):
        request = replace(
            intruder.header(established, session_id=b64u_encode(os.urandom(16))),
            payload=bytes(36),
        )
        await intruder.send(sign(request, intruder.agent.signing_key).encode())

    await refused(running, wire, caplog, "session.unknown", act)


async def test_another_context(running, wire, caplog):
    async def act(intruder, established, first):
        request = intruder.sealed(established, context_id=str(uuid.uuid4()))
        await intruder.send(request.encode())

    await refused(running, wire, caplog, "sig.binding", act)


async def test_the_wrong_role(running, wire, caplog):
    async def act(intruder, established, first):
        request = intruder.sealed(established, role=Role.RESPONDER)
        await intruder.send(request.encode())

    await refused(running, wire, caplog, "sig.binding", act)


async def test_another_recipient(running, wire, caplog, ada):
    async def act(intruder, established, first):
        await intruder.send(
            intruder.sealed(
                established, recipient="did:sage:web:agents.example:eve"
            ).encode()
        )

    await refused(running, wire, caplog, "sig.binding", act)


@pytest.mark.parametrize("offset", [-91, 31])
async def test_a_request_outside_its_time(running, wire, caplog, offset):
    async def act(intruder, established, first):
        created = CLOCK.unix_time() + offset
        # One second more than allowed, and one more for a clock that ticks.
        expires = created + 60 if offset < 0 else created + 61
        request = intruder.sealed(
            established, created=created + (1 if offset > 0 else 0), expires=expires
        )
        await intruder.send(request.encode())

    await refused(running, wire, caplog, "sig.stale", act)


async def test_a_response_at_a_service(running, wire, caplog):
    async def act(intruder, established, first):
        response = Response.answer(
            first,
            id=str(uuid.uuid4()),
            kid="did:sage:web:agents.example:grace#sign-1",
            created=CLOCK.unix_time(),
            expires=CLOCK.unix_time() + 60,
            nonce=b64u_encode(os.urandom(16)),
            data=bytes(36),
        )
        body = json.loads(first.encode())
        data = response.to_json() | {"signature": body["signature"]}
        await intruder.send(json.dumps(data).encode())

    await refused(running, wire, caplog, "sig.binding", act)


async def test_a_record_that_is_too_short(running, wire, caplog):
    async def act(intruder, established, first):
        request = intruder.header(established).with_payload(bytes(35))
        await intruder.send(sign(request, intruder.agent.signing_key).encode())

    await refused(running, wire, caplog, "session.malformed", act)


async def test_a_sequence_number_beyond_the_last(running, wire, caplog):
    async def act(intruder, established, first):
        record = (1000).to_bytes(8, "big") + bytes(4) + (1000).to_bytes(8, "big")
        request = intruder.header(established).with_payload(record + bytes(16))
        await intruder.send(sign(request, intruder.agent.signing_key).encode())

    await refused(running, wire, caplog, "session.window", act)


async def test_a_revoked_sender(running, wire, caplog, ada, resolver):
    async def act(intruder, established, first):
        resolver.publish(revoke_key(ada.record, "sign-1", unix_time=1))
        await intruder.send(intruder.sealed(established).encode())

    async with running() as url, wire(url) as intruder:
        established = await intruder.handshake()
        await act(intruder, established, None)
        await intruder.expect_refusal()
    assert "record.inactive" in caplog.text or "key.revoked" in caplog.text


async def test_a_session_does_not_outlive_its_connection(running, wire, caplog):
    async with running() as url:
        async with wire(url) as first:
            established = await first.handshake()
            request = first.sealed(established)
        async with wire(url) as second:
            await second.handshake()
            await second.send(request.encode())
            await second.expect_refusal()
    assert "(session.unknown)" in caplog.text


async def test_a_replayed_initiation(running, wire, caplog):
    async with running() as url:
        async with wire(url) as first:
            await first.handshake()
            initiation = first.sent[0]
        async with wire(url) as second:
            await second.send(initiation)
            await second.expect_refusal()
    assert "(sig.replay)" in caplog.text


async def test_a_plain_request_that_is_no_handshake(running, wire, caplog):
    async with running() as url, wire(url) as intruder:
        request = intruder.header().with_payload(b'{"run":"this"}')
        await intruder.send(sign(request, intruder.agent.signing_key).encode())
        await intruder.expect_refusal()
    assert "(handshake." in caplog.text


@pytest.mark.parametrize(
    "changes",
    [{"role": None}, {"role": Role.RESPONDER}, {"task_id": str(uuid.uuid4())}],
)
async def test_an_initiation_in_a_wrong_envelope(running, wire, caplog, changes):
    async with running() as url, wire(url) as intruder:
        await intruder.send(
            sign(intruder.header(**changes), intruder.agent.signing_key).encode()
        )
        await intruder.expect_refusal()
    assert "(handshake.binding)" in caplog.text


async def test_the_handler_never_ran_for_any_of_it(running, wire):
    calls = []

    async def handler(message):
        calls.append(message.payload)
        return b""

    async with running(handler) as url, wire(url) as intruder:
        established = await intruder.handshake()
        request = intruder.sealed(established, b"once")
        await intruder.expect_answer(established, request)
        await intruder.send(request.encode())
        await intruder.expect_refusal()
    assert calls == [b"once"]


async def test_a_silent_connection_ends(running, wire):
    config = ServiceConfig(first_message_timeout_s=0.1)
    async with running(config=config) as url, wire(url) as intruder:
        await intruder.expect_refusal(1008)


async def test_an_idle_session_ends(running, wire):
    config = ServiceConfig(idle_timeout_s=0.2)
    async with running(config=config) as url, wire(url) as intruder:
        await intruder.handshake()
        await intruder.expect_refusal(1008)


async def test_one_place_is_enough_for_many_requests(running, wire):
    async with (
        asyncio.timeout(60),
        running(config=ServiceConfig(max_in_flight=1)) as url,
        wire(url) as client,
    ):
        established = await client.handshake()
        for _ in range(3):
            request = client.sealed(established, b"x")
            assert await client.expect_answer(established, request) == b"echo:x"


async def test_no_more_requests_are_worked_on_than_there_are_places(running, wire):
    began, going_on = [], asyncio.Event()

    async def handler(message):
        began.append(message)
        await going_on.wait()
        return b""

    config = ServiceConfig(max_in_flight=2)
    async with running(handler, config=config) as url, wire(url) as client:
        established = await client.handshake()
        for _ in range(4):
            await client.send(client.sealed(established).encode())
        async with asyncio.timeout(60):
            while len(began) < 2:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            assert len(began) == 2
            going_on.set()
            for _ in range(4):
                await client.socket.recv()
    assert len(began) == 4


async def test_what_a_connection_began_ends_with_it(running, wire, monkeypatch):
    """Nobody is there for the answer, and nobody may use its keys any more."""
    kept, began, cancelled = [], asyncio.Event(), asyncio.Event()

    class Watched(ConnectionSessions):
        def keep(self, accepted):
            kept.append(accepted)
            super().keep(accepted)

    async def handler(message):
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    monkeypatch.setattr("sage.service.connection.ConnectionSessions", Watched)
    config = ServiceConfig(handler_timeout_s=600.0)
    async with running(handler, config=config) as url:
        async with wire(url) as client:
            established = await client.handshake()
            await client.send(client.sealed(established).encode())
            await began.wait()
            assert not kept[0].session.closed
        async with asyncio.timeout(60):
            await cancelled.wait()
            while not kept[0].session.closed:
                await asyncio.sleep(0.01)


async def test_too_many_connections(running, wire):
    config = ServiceConfig(max_connections=1)
    async with running(config=config) as url, wire(url):
        with pytest.raises(InvalidStatus) as refusal:
            async with wire(url):
                pass
        assert refusal.value.response.status_code == 403


async def test_too_many_sessions_on_one_connection(running, wire, caplog):
    config = ServiceConfig(max_sessions=2)
    async with running(config=config) as url, wire(url) as intruder:
        sessions = [await intruder.handshake() for _ in range(3)]
        for established in sessions[1:]:
            request = intruder.sealed(established)
            assert await intruder.expect_answer(established, request) == b"echo:x"
        await intruder.send(intruder.sealed(sessions[0]).encode())
        await intruder.expect_refusal()
    assert "(session.unknown)" in caplog.text


async def test_messages_wait_for_room_and_none_is_lost(running, wire):
    """Over all connections, so many bytes are worked on at once and no more."""
    at_once, most = 0, 0

    async def handler(message):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.05)
        at_once -= 1
        return message.payload

    async def ask(url, size):
        async with wire(url) as client:
            established = await client.handshake()
            for _ in range(3):
                request = client.sealed(established, bytes(size))
                assert await client.expect_answer(established, request) == bytes(size)

    config = ServiceConfig(max_bytes_in_flight=10_000)
    async with running(handler, config=config) as url:
        await asyncio.gather(*(ask(url, 4_000) for _ in range(4)))
        assert most == 1  # two of them in base64 are more than there is room for
        await asyncio.gather(*(ask(url, 10) for _ in range(4)))
        assert most > 1


async def test_strangers_leave_room_for_whom_we_know(
    running, connecting, grace, resolver
):
    """Who they are is looked up for as long as their registries like."""
    looking = asyncio.Event()

    class Slow:
        async def resolve(self, did, *, now):
            if did.endswith("mallory"):
                looking.set()
                await asyncio.Event().wait()
            return await resolver.resolve(did, now=now)

    mallory = sage.Agent.generate("did:sage:web:agents.example:mallory")
    known = sage.MemoryResolver([mallory.record, grace.record])
    theirs = {"agent": mallory, "resolver": known}
    config = ServiceConfig(max_bytes_in_flight=16_000)
    async with (
        running(resolver=Slow(), config=config) as url,
        connecting(url) as channel,
        asyncio.TaskGroup() as group,
    ):
        strangers = [
            group.create_task(_shake_hands_in_vain(connecting(url, **theirs)))
            for _ in range(40)
        ]
        await looking.wait()
        await asyncio.sleep(0.5)
        for _ in range(3):
            assert await channel.request(b"x", timeout_s=2) == b"echo:x"
        for stranger in strangers:
            stranger.cancel()


async def _shake_hands_in_vain(connecting):
    async with connecting as channel:
        await channel.request(b"x")


async def test_a_web_page_cannot_connect(running, tls):
    async with running() as url:
        with pytest.raises(InvalidStatus):
            async with raw_connect(url, ssl=tls.client, origin="https://evil.example"):
                pass
    config = ServiceConfig(allowed_origins=frozenset({"https://ok.example"}))
    async with running(config=config) as url:
        page = raw_connect(url, ssl=tls.client, origin="https://ok.example")
        await (await page).close()


async def test_compression_is_not_negotiated(running, tls):
    async with running() as url, raw_connect(url, ssl=tls.client) as socket:
        assert not socket.protocol.extensions


async def test_a_flood_of_initiations_keeps_the_service_responsive(running, wire):
    async with running() as url:

        async def flood():
            async with wire(url) as intruder:
                for _ in range(20):
                    await intruder.handshake()

        await asyncio.gather(*(flood() for _ in range(5)), is_well(wire, url))


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_any_bytes_end_in_a_refusal(data):
    """Whole text messages of any content, through the ASGI interface."""
    asyncio.run(_feed(data))


async def _feed(data: bytes) -> None:
    grace = sage.Agent.generate(GRACE)
    service = sage.Service(
        agent=grace, resolver=sage.MemoryResolver([grace.record]), handler=_never
    )
    incoming = [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": data.decode("utf-8", "replace")},
    ]
    closed = asyncio.Event()
    sent = []

    async def receive():
        if incoming:
            return incoming.pop(0)
        await closed.wait()
        return {"type": "websocket.disconnect", "code": 1008}

    async def send(message):
        sent.append(message)
        if message["type"] == "websocket.close":
            closed.set()

    scope = {"type": "websocket", "scheme": "wss", "path": "/sage", "headers": []}
    async with asyncio.timeout(2):
        await service(scope, receive, send)
    assert [m["type"] for m in sent] == ["websocket.accept", "websocket.close"]
    assert sent[1]["reason"] == "refused"


async def _never(message):
    raise AssertionError("the handler must not run")
