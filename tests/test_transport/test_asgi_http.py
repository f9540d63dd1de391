"""A request as an ASGI server hands it over, in every shape it may come in."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.errors import (
    Code,
    ConnectionLost,
    DeadlineExceeded,
    DecodeError,
    Overloaded,
)
from sage.http.asgi_request import KNOWN_PEER
from sage.transport.asgi_http import AsgiHttpRequest


def asked(*events, headers=(), scope=(), send=None) -> AsgiHttpRequest:
    left = list(events)

    async def receive():
        if not left:
            await asyncio.sleep(30)
        return left.pop(0)

    async def sink(event):
        pass

    members = {
        "type": "http",
        "scheme": "https",
        "method": "POST",
        "path": "/sage",
        "raw_path": b"/sage",
        "query_string": b"",
        "headers": [(b"host", b"A.example:8443"), *headers],
    }
    return AsgiHttpRequest(members | dict(scope), receive, send or sink)


def piece(body: bytes, more: bool = False) -> dict:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_whole_request():
    request = asked(piece(b"{}"), headers=[(b"Content-Type", b"application/json")])
    request.check_framing()
    message = await request.read(max_bytes=2, timeout_s=1)
    assert message.method == "POST"
    assert message.target_uri == "https://a.example:8443/sage"
    assert message.content == b"{}"
    assert ("content-type", "application/json") in message.fields


def test_the_target_is_what_the_client_wrote():
    request = asked(scope={"raw_path": b"/s%61ge", "query_string": b"a=%2f"})
    assert request.target_uri == "https://a.example:8443/s%61ge?a=%2f"


def test_a_path_that_the_server_did_not_keep():
    request = asked(scope={"raw_path": None, "path": "/s"})
    assert request.target_uri == "https://a.example:8443/s"
    request = asked(scope={"raw_path": None, "path": "/\udc80"})
    for look in (lambda: request.target_uri, lambda: request.head):
        with pytest.raises(DecodeError) as refused:
            look()
        assert refused.value.code is Code.FRAME_MALFORMED


@given(st.lists(st.binary(max_size=20), max_size=10))
def test_pieces_are_put_together_up_to_the_limit(pieces):
    whole = b"".join(pieces)
    events = [piece(one, True) for one in pieces] + [piece(b"")]

    async def read(limit):
        return await asked(*events).read(max_bytes=limit, timeout_s=1)

    assert asyncio.run(read(len(whole))).content == whole
    if whole:
        with pytest.raises(DecodeError) as refused:
            asyncio.run(read(len(whole) - 1))
        assert refused.value.code is Code.SIZE_EXCEEDED


async def test_an_announced_length_is_refused_unread():
    request = asked(headers=[(b"content-length", b"3")])
    with pytest.raises(DecodeError) as refused:
        await request.read(max_bytes=2, timeout_s=1)
    assert refused.value.code is Code.SIZE_EXCEEDED


async def test_an_announced_length_up_to_the_limit_is_read():
    request = asked(piece(b"{}"), headers=[(b"content-length", b"2")])
    assert (await request.read(max_bytes=2, timeout_s=30)).content == b"{}"


async def test_who_counts_is_told_of_every_piece_and_may_end_the_reading():
    sizes = []
    request = asked(piece(b"abc", True), piece(b"", True), piece(b"d"))
    await request.read(max_bytes=9, timeout_s=30, take=sizes.append)
    assert sizes == [3, 0, 1]

    def refuse(size: int) -> None:
        raise Overloaded("no room")

    with pytest.raises(Overloaded):
        await asked(piece(b"abc", True)).read(max_bytes=9, timeout_s=30, take=refuse)


@pytest.mark.parametrize("length", [b"", b"-1", b"1_0", b"x", b"9" * 20, b"\xb2"])
def test_no_length(length):
    with pytest.raises(DecodeError) as refused:
        _ = asked(headers=[(b"content-length", length)]).content_length
    assert refused.value.code is Code.FRAME_MALFORMED


async def test_a_body_that_does_not_come():
    with pytest.raises(DeadlineExceeded):
        await asked(piece(b"{", True)).read(max_bytes=9, timeout_s=0.05)
    gone = asked(piece(b"{", True), {"type": "http.disconnect"})
    with pytest.raises(ConnectionLost):
        await gone.read(max_bytes=9, timeout_s=1)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"content-type", b"application/json;charset=utf-8")],
        [(b"content-type", b"Application/JSON")],
        [(b"content-type", b"application/json")] * 2,
        [(b"content-type", b"application/json"), (b"content-encoding", b"br")],
        [(b"content-type", b"application/json"), (b"Trailer", b"x")],
    ],
)
def test_what_is_not_plain_json(headers):
    with pytest.raises(DecodeError) as refused:
        asked(headers=headers).check_framing()
    assert refused.value.code is Code.FRAME_MALFORMED


def test_the_server_is_told_that_the_peer_is_known():
    told = []
    known = {KNOWN_PEER: {"tell": lambda: told.append(1)}}
    asked(piece(b""), scope={"extensions": known}).trust()
    assert told == [1]
    asked().trust()  # a server without the extension


async def test_an_answer_is_sent_whole():
    events = []

    async def send(event):
        events.append(event)

    await asked(send=send).respond(503, (("X-One", "1"),), b"body")
    assert events[0]["status"] == 503
    assert (b"x-one", b"1") in events[0]["headers"]
    assert (b"content-length", b"4") in events[0]["headers"]
    assert (b"cache-control", b"no-store") in events[0]["headers"]
    assert events[1]["body"] == b"body"


async def test_a_client_that_left():
    async def send(event):
        raise OSError

    with pytest.raises(ConnectionLost):
        await asked(send=send).respond(200, (), b"")


def test_tls():
    assert asked().is_encrypted
    assert not asked(scope={"scheme": "http"}).is_encrypted
