"""Log lines: one each, with code and correlation id, and never a secret."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sage
from sage import _core_py
from sage.cli.running import LineFormatter
from sage.envelope import sign
from sage.errors import Code, ConnectionLost
from sage.service import JsonLogFormatter, correlation_id
from sage.service.logs import Event, correlate, fields, new_connection_id
from sage.session import Session
from sage.session.profile import V0_10, stream_profile
from sage.transport import WebSocket

from .conftest import ADA, header, sealed

KNOWN = {
    *("time", "level", "logger", "message"),
    *("event", "code", "correlation_id", "exception"),
}


def a_record(message: object, *args: object, **extra: object) -> logging.LogRecord:
    logger = logging.getLogger("sage.test")
    return logger.makeRecord(
        "sage.test", logging.WARNING, "f", 1, message, args, None, extra=extra
    )


# --- one line ------------------------------------------------------------------


@given(st.text(), st.text(), st.text(), st.binary())
def test_a_record_is_one_line_of_json_whatever_it_says(
    message: str, word: str, code: str, data: bytes
) -> None:
    record = a_record("%s", message, event=word, code=code, payload=data)
    line = JsonLogFormatter().format(record)
    assert line.isascii()
    assert line.isprintable()
    said = json.loads(line)
    assert said["message"] == message
    assert (said["event"], said["code"]) == (word, code)
    assert said.keys() <= KNOWN


@given(st.text())
def test_a_line_for_people_is_one_line_too(message: str) -> None:
    line = LineFormatter().format(a_record("%s", message))
    assert len(line.splitlines()) == 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]", line)


def test_a_traceback_cannot_forge_a_line() -> None:
    try:
        raise ValueError("x\n2026-01-01 WARNING sage.service: forged\x1b[2J")
    except ValueError as exc:
        record = a_record("it failed")
        record.exc_info = (ValueError, exc, exc.__traceback__)
    first, *rest = LineFormatter().format(record).splitlines()
    assert first.endswith("it failed")
    assert rest
    assert all(line.startswith("    ") and "\x1b" not in line for line in rest)
    said = json.loads(JsonLogFormatter().format(record))
    assert "forged" in said["exception"]


def test_the_time_is_utc() -> None:
    record = a_record("x")
    record.created = 0.5
    said = json.loads(JsonLogFormatter().format(record))
    assert said["time"] == "1970-01-01T00:00:00.500+00:00"
    assert "event" not in said


# --- what belongs together -------------------------------------------------------


async def test_each_task_has_an_id_of_its_own() -> None:
    async def work(name: str) -> str | None:
        correlate(name)
        await asyncio.sleep(0.01)
        return correlation_id()

    assert await asyncio.gather(work("a"), work("b")) == ["a", "b"]
    assert correlation_id() is None
    assert fields(Event.REFUSED, "sig.bad") == {
        "event": "refused",
        "code": "sig.bad",
        "correlation_id": None,
    }


def test_a_connections_id_is_chance() -> None:
    ids = {new_connection_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"[0-9a-f]{16}", one) for one in ids)


@contextmanager
def logged(level: int = logging.DEBUG) -> Iterator[list[io.StringIO]]:
    """Log everything of everybody, as text and as JSON."""
    outputs = []
    root, handlers = logging.getLogger(), []
    before = root.level
    for formatter in (JsonLogFormatter(), LineFormatter(), logging.Formatter()):
        output = io.StringIO()
        handler = logging.StreamHandler(output)
        handler.setFormatter(formatter)
        outputs.append(output)
        handlers.append(handler)
        root.addHandler(handler)
    root.setLevel(level)
    try:
        yield outputs
    finally:
        root.setLevel(before)
        for handler in handlers:
            root.removeHandler(handler)


def lines(output: io.StringIO, event: str) -> list[dict[str, str]]:
    said = [json.loads(line) for line in output.getvalue().splitlines()]
    return [line for line in said if line.get("event") == event]


async def send_and_be_refused(url: str, tls, text: bytes) -> None:
    socket = await WebSocket.open(url, tls=tls.client)
    try:
        await socket.send(text)
        with pytest.raises(ConnectionLost):
            await socket.receive_any()
    finally:
        await socket.close()


async def test_a_stranger_does_not_choose_the_id(running, tls) -> None:
    impostor = sage.Agent.generate(ADA)
    forged = sign(header(impostor, payload=b"x"), impostor.signing_key)
    with logged() as (output, *_):
        async with running() as url:
            await send_and_be_refused(url, tls, forged.encode())
            await send_and_be_refused(url, tls, b"{")
    first, second = lines(output, "refused")
    assert (first["code"], second["code"]) == ("sig.bad", "json.malformed")
    assert re.fullmatch(r"[0-9a-f]{16}", first["correlation_id"])
    assert re.fullmatch(r"[0-9a-f]{16}", second["correlation_id"])
    assert first["correlation_id"] != second["correlation_id"]
    # The libraries below log the frames; we do not.
    ours = [line for line in output.getvalue().splitlines() if '"sage.' in line]
    assert not any(forged.id in line for line in ours)


async def test_what_was_verified_goes_by_its_own_id(running, connecting) -> None:
    ids = []

    async def handler(message: sage.Message) -> bytes:
        ids.append(message.id)
        logging.getLogger("mine").info("at work")
        raise ValueError("a defect of the handler")

    with logged() as (output, *_):
        async with running(handler) as url, connecting(url) as channel:
            with pytest.raises(sage.RemoteFailure):
                await channel.request(b"x")
    (failed,) = lines(output, "handler_failed")
    assert [failed["correlation_id"]] == ids
    assert "a defect of the handler" in failed["exception"]
    (own,) = [
        line
        for line in map(json.loads, output.getvalue().splitlines())
        if line["logger"] == "mine"
    ]
    assert [own["correlation_id"]] == ids


async def test_a_replay_goes_by_the_id_that_came_again(shake_hands, host, ada) -> None:
    established, _, acceptance = await shake_hands()
    request = sealed(ada, established)

    async def answer() -> str | None:
        with pytest.raises(sage.errors.ReplayError):
            await acceptance.answer(request)
        return correlation_id()

    await acceptance.answer(request)
    assert await asyncio.create_task(answer()) == request.id


# --- secrets -----------------------------------------------------------------------


def spellings(secret: bytes) -> set[str]:
    """Return how bytes may look in a text, whatever stands before and after them."""
    found = {
        secret.decode("latin-1"),
        repr(secret)[2:-1],
        json.dumps(secret.decode("latin-1"))[1:-1],
        secret.hex(),
        secret.hex().upper(),
        secret.hex(" "),
        secret.hex(":"),
        ", ".join(map(str, secret)),
    }
    for shift in range(3):
        # Within a longer text; the characters at the edges depend on neighbours.
        text = base64.b64encode(bytes(shift) + secret).decode().rstrip("=")
        inner = text[-(-8 * shift // 6) : -1]
        found |= {inner, inner.replace("+", "-").replace("/", "_")}
    return found


def leaks(secrets: list[bytes], text: str) -> list[str]:
    return [word for secret in secrets for word in spellings(secret) if word in text]


@pytest.mark.parametrize(
    "write",
    [
        repr,
        bytes.hex,
        list,
        lambda b: base64.b64encode(b).decode(),
        lambda b: base64.urlsafe_b64encode(b"ab" + b + b"c").decode(),
        lambda b: base64.b64encode(b"a" + b + b"cd").decode(),
        lambda b: json.dumps(b.decode("latin-1")),
        lambda b: b.decode("latin-1"),
    ],
)
def test_a_leak_would_be_found(write) -> None:
    secret = bytes(range(120, 152))
    assert leaks([secret], f"…{write(secret)}…")
    assert not leaks([secret], f"…{write(bytes(32))}…")


def key_blocks(profile, seed: bytes, th: bytes, role, raw_id=None) -> list[bytes]:
    """Return every key that a session starts with."""
    core = _core_py.SessionCore(profile, seed, th, role, session_id=raw_id)
    block = bytes(core._block)
    keys = [block[at : at + 32] for at in range(0, len(block), 32)]
    return [key for key in keys if any(key) and key != th]


@pytest.fixture
def secrets_seen(monkeypatch) -> list[bytes]:
    """Collect the seeds and keys of every session that this process makes."""
    seen: list[bytes] = []
    make, derive = Session.v0_10.__func__, Session.derive_stream
    known: dict[str, tuple[bytes, bytes, sage.Role]] = {}

    def v0_10(cls, seed, th, role, **options):
        copy = bytes(seed), bytes(th), role
        session = make(cls, seed, th, role, **options)
        seen.extend(key_blocks(V0_10, *copy))
        known[session.id] = copy
        return session

    def derive_stream(self, stream_id, aead="chacha20poly1305", **options):
        profile = stream_profile(aead)
        seen.extend(key_blocks(profile, *known[self.id], bytes(stream_id)))
        return derive(self, stream_id, aead, **options)

    monkeypatch.setattr(Session, "v0_10", classmethod(v0_10))
    monkeypatch.setattr(Session, "derive_stream", derive_stream)
    return seen


async def be_refused_in_a_stream(connecting) -> None:
    async with connecting as channel, channel.stream() as stream:
        await channel.send_records([os.urandom(100)])
        await stream.receive()


async def everything(running, connecting, tls, ada, payloads) -> None:
    """Shake hands, ask, fail, stream, be refused, and end."""
    asked, answered, streamed = payloads

    async def handler(message: sage.Message) -> bytes:
        if message.metadata:
            raise sage.RemoteFailure("operation_failed")
        return answered

    async def mirror(stream: sage.service.Stream) -> None:
        async for data in stream:
            await stream.send(data)

    async with running(handler, stream_handler=mirror) as url:
        async with connecting(url) as channel:
            assert await channel.request(asked) == answered
            with pytest.raises(sage.RemoteFailure):
                await channel.request(asked, metadata={"fail": "yes"})
            for aead in ("chacha20poly1305", "aes-256-gcm"):
                async with channel.stream(aead) as stream:
                    await stream.send(streamed)
                    assert await stream.receive() == streamed
            await channel.handshake()
            with pytest.raises(TimeoutError):
                await channel.request(asked, timeout_s=0.0001)
        with pytest.raises(ConnectionLost):
            await be_refused_in_a_stream(connecting(url))
        await send_and_be_refused(url, tls, b'{"payload":' + asked + b"}")
        impostor = sage.Agent.generate(ADA)
        forged = sign(header(impostor, payload=asked), impostor.signing_key)
        await send_and_be_refused(url, tls, forged.encode()[:-1] + b',"x":1}')

    async def broken(message: sage.Message) -> bytes:
        raise ValueError("a defect")

    async with running(broken) as url, connecting(url) as channel:
        with pytest.raises(sage.RemoteFailure):
            await channel.request(asked)


async def test_no_secret_is_ever_logged(
    running, connecting, tls, ada, grace, tmp_path, secrets_seen, capfd
) -> None:
    asyncio.get_running_loop().set_debug(True)
    payloads = [os.urandom(8).hex().encode() + os.urandom(24) for _ in range(3)]
    # What JSON can hold, so that a parser could repeat it.
    payloads[0] = b'"' + os.urandom(24).hex().encode() + b'"'
    passphrase = os.urandom(12).hex()
    with logged() as outputs:
        path = tmp_path / "ada.sage"
        ada.save(path, passphrase=passphrase, scrypt_n=2**4)
        sage.Agent.load(path, passphrase=passphrase)
        with pytest.raises(sage.errors.ConfigError):
            sage.Agent.load(path, passphrase=passphrase + "wrong")
        await everything(running, connecting, tls, ada, payloads)
    said = capfd.readouterr()
    texts = [output.getvalue() for output in outputs] + [said.out, said.err]
    assert len(secrets_seen) >= 2 * (5 + 2) * 3
    private = [
        key.private_bytes()
        for agent in (ada, grace)
        for key in (agent.signing_key, agent.kem_key)
    ]
    for text in texts:
        assert not leaks([*private, *secrets_seen, passphrase.encode()], text)
        assert not leaks(payloads[1:], text)
    # The libraries below log what is on the wire, and so what a stranger said in the
    # clear; we do not repeat even that.
    said_by_us = [line for line in texts[0].splitlines() if '"logger": "sage' in line]
    assert not leaks([payloads[0].strip(b'"')], "\n".join(said_by_us))
    assert "handshake with" in texts[0]
    assert '"code": "' in texts[0]
    codes = {line.get("code") for line in lines(outputs[0], "refused")}
    assert codes == {Code.ENVELOPE_MALFORMED, Code.SESSION_AEAD}
