"""What an application answers is signed, as a whole where it can be kept."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest

from sage.http import ResponseMessage
from sage.http.asgi_response import SigningSend

TYPE = (b"content-type", b"application/json")


class Peer:
    """The server behind, and the key: they write down what they get."""

    def __init__(self, *, method: str = "GET", max_bytes: int = 10) -> None:
        self.sent: list[Any] = []
        self.signed: list[ResponseMessage] = []
        self.send = SigningSend(
            self._receive, self._sign, method=method, max_bytes=max_bytes
        )

    async def _receive(self, message: Any) -> None:
        self.sent.append(message)

    def _sign(self, response: ResponseMessage) -> tuple[tuple[str, str], ...]:
        self.signed.append(response)
        return (("Signature", "sig1=:AA==:"),)

    async def answer(
        self, headers: list[Any], *parts: bytes, status: int = 200
    ) -> None:
        await self.send(
            {"type": "http.response.start", "status": status, "headers": headers}
        )
        for index, part in enumerate(parts):
            more = index + 1 < len(parts)
            await self.send(
                {"type": "http.response.body", "body": part, "more_body": more}
            )

    @property
    def head(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])


def start(headers: list[Any], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers}


def length(size: int) -> tuple[bytes, bytes]:
    return (b"Content-Length", str(size).encode())


async def test_a_response_of_known_length_is_signed_as_a_whole():
    peer = Peer()
    await peer.answer([TYPE, length(4)], b"ab", b"", b"cd")
    assert [response.content for response in peer.signed] == [b"abcd"]
    assert peer.head[b"signature"] == b"sig1=:AA==:"
    assert [message["type"] for message in peer.sent] == [
        "http.response.start",
        *["http.response.body"] * 3,
    ]


async def test_nothing_is_sent_before_the_whole_is_signed():
    peer = Peer()
    await peer.send(
        {"type": "http.response.start", "status": 200, "headers": [length(2)]}
    )
    await peer.send({"type": "http.response.body", "body": b"a", "more_body": True})
    assert peer.sent == []


async def test_a_response_in_one_part_is_whole_and_gets_a_length():
    peer = Peer()
    await peer.answer([TYPE], b"abc")
    assert peer.signed[0].content == b"abc"
    assert peer.head[b"content-length"] == b"3"


async def test_a_status_may_be_an_enum():
    peer = Peer()
    await peer.answer([TYPE], b"", status=HTTPStatus.ACCEPTED)
    assert type(peer.signed[0].status) is int


@pytest.mark.parametrize("status", [204, 304])
async def test_what_may_have_no_length_gets_none(status):
    peer = Peer()
    await peer.answer([], b"", status=status)
    assert b"content-length" not in peer.head


@pytest.mark.parametrize(
    ("headers", "parts"),
    [
        ([TYPE], [b"a", b"b"]),
        ([TYPE, length(11)], [b"x" * 11]),
        ([TYPE, length(4)], [b"x" * 11, b""]),
        ([(b"Content-Type", b"text/event-stream; charset=utf-8")], [b"a"]),
    ],
    ids=["no length", "too long", "longer than it said", "events"],
)
async def test_every_other_response_is_a_stream(headers, parts):
    peer = Peer()
    await peer.answer(headers, *parts)
    assert [response.content for response in peer.signed] == [None]
    assert b"".join(m["body"] for m in peer.sent[1:]) == b"".join(parts)


async def test_the_head_of_events_goes_out_before_the_first():
    peer = Peer()
    headers = [(b"content-type", b"text/event-stream")]
    await peer.send(start(headers))
    assert len(peer.sent) == 1


async def test_the_answer_to_head_has_no_content():
    peer = Peer(method="HEAD")
    await peer.answer([TYPE, length(3)], b"abc")
    assert peer.signed[0].content is None


async def test_a_file_that_the_server_sends_is_a_stream():
    peer = Peer()
    await peer.send(
        {"type": "http.response.start", "status": 200, "headers": [length(2)]}
    )
    await peer.send({"type": "http.response.pathsend", "path": "/tmp/file"})
    assert peer.signed[0].content is None
    assert [m["type"] for m in peer.sent] == [
        "http.response.start",
        "http.response.pathsend",
    ]


async def test_signatures_and_digests_of_the_application_are_replaced():
    peer = Peer()
    old = [(b"Signature", b"x"), (b"Signature-Input", b"x"), (b"Content-Digest", b"x")]
    await peer.answer([TYPE, *old], b"abc")
    assert peer.signed[0].fields == (
        ("content-type", "application/json"),
        ("content-length", "3"),
    )


async def test_the_digest_of_a_stream_is_the_applications():
    peer = Peer()
    await peer.answer([(b"content-digest", b"known"), length(99)], b"abc")
    assert ("content-digest", "known") in peer.signed[0].fields


async def test_what_comes_before_a_head_passes():
    peer = Peer()
    hint = {"type": "http.response.early_hint", "links": []}
    await peer.send(hint)
    assert peer.sent == [hint]
