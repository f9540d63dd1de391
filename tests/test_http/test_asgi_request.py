"""The head and the content of a request, as an ASGI server hands them over."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.errors import (
    AuthenticationError,
    Code,
    DecodeError,
    PeerError,
    StaleError,
    UsageError,
)
from sage.http.asgi_request import (
    ClientLeft,
    ContentReader,
    base_url_of,
    once,
    request_of,
    require_room,
)
from sage.http.content_check import AnyContent, NoContent
from sage.http.digest import ContentDigester, encode_digest, parse_digest
from sage.http.message import RequestMessage


def scope(**changes: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "POST",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"",
        "headers": [(b"host", b"elsewhere.example")],
        **changes,
    }


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("https://agents.example", "https://agents.example"),
        ("https://Agents.Example:443/", "https://agents.example"),
        ("https://agents.example:8443/v1/", "https://agents.example:8443/v1"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        ("http://[::1]", "http://[::1]"),
    ],
)
def test_a_base_url_has_one_spelling(given, normal):
    assert base_url_of(given) == normal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "agents.example",
        "ftp://agents.example",
        "https://",
        "https:///path",
        "https://user@agents.example",
        "https://agents.example?query",
        "https://agents.example#fragment",
        "https://agents.example:port",
        "https://agents.example:99999",
        "https://ägents.example",
        "https://agents.example/ä",
        "https://agents.example/a b",
        "https://agents.example/\0",
        "https://a b",
        None,
        443,
        "https://::1",
        "https://agents.example:",
        "https://[::1",
        "https://[agents.example]",
    ],
)
def test_what_is_no_base_url_is_refused(text):
    with pytest.raises(UsageError):
        base_url_of(text)


def test_the_target_is_ours_and_as_it_was_sent():
    request = request_of(scope(query_string=b"x=%2F"), "https://agents.example/v1")
    assert request.target_uri == "https://agents.example/v1/a%20b?x=%2F"
    assert request.fields == (("host", "elsewhere.example"),)
    assert request.content == b""


@pytest.mark.parametrize(
    "path", ["/v1/message:send", "/users/@me", "/a+b,c;d=e~!$&'()*"]
)
def test_what_a_path_has_as_it_is_needs_no_raw_path(path):
    kept, told = (
        request_of(scope(raw_path=raw, path=path), "https://agents.example")
        for raw in (path.encode(), None)
    )
    assert kept.target_uri == told.target_uri


def test_a_server_without_raw_paths_is_served():
    request = request_of(scope(raw_path=None), "https://agents.example")
    assert request.target_uri == "https://agents.example/a%20b"


@pytest.mark.parametrize("path", [b"", b"*", b"https://x/", b"a", b"/\xe4"])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(DecodeError) as refused:
        request_of(scope(raw_path=path), "https://agents.example")
    assert refused.value.code is Code.FRAME_MALFORMED


def test_a_path_that_a_server_did_not_keep_is_refused():
    with pytest.raises(DecodeError) as refused:
        request_of(scope(raw_path=None, path="/\udcff"), "https://agents.example")
    assert refused.value.code is Code.FRAME_MALFORMED


@pytest.mark.parametrize(
    "header", [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")]
)
def test_announced_content_is_not_read_yet(header):
    assert request_of(scope(headers=[header]), "https://a.example").content is None


@pytest.mark.parametrize("version", ["2", "3"])
def test_content_without_a_length_is_announced_by_its_digest(version):
    def content(*headers: tuple[bytes, bytes], version: str = version) -> bytes | None:
        given = scope(headers=list(headers), http_version=version)
        return request_of(given, "https://a.example").content

    digest = (b"content-digest", encode_digest(b"1").encode())
    assert content(digest) is None
    assert content() == b""
    assert content(digest, (b"content-length", b"0")) == b""
    assert content(digest, (b"content-length", b"1")) is None
    assert content(digest, version="1.1") == b""  # there, a length or none


def test_announced_lengths_have_a_limit():
    request = request_of(
        scope(headers=[(b"content-length", b"9")]), "https://a.example"
    )
    require_room(request, 9)
    with pytest.raises(DecodeError) as refused:
        require_room(request, 8)
    assert refused.value.code is Code.SIZE_EXCEEDED


@pytest.mark.parametrize("zeros", [0, 5000])  # some servers let any number through
def test_a_length_of_any_number_of_digits(zeros: int) -> None:
    def announcing(digits: str) -> RequestMessage:
        length = b"0" * zeros + digits.encode()
        return request_of(
            scope(headers=[(b"content-length", length)]), "https://a.example"
        )

    require_room(announcing("10"), 10)
    require_room(announcing("0"), 10)
    for digits in ("11", "9" * 5000):
        with pytest.raises(DecodeError) as refused:
            require_room(announcing(digits), 10)
        assert refused.value.code is Code.SIZE_EXCEEDED


class Wire:
    """A server's ``receive`` with some parts, and a client that left behind them."""

    def __init__(self, parts: list[bytes], *, complete: bool = True) -> None:
        last = len(parts) - 1 if complete else None
        self.events = [
            {"type": "http.request", "body": part, "more_body": index != last}
            for index, part in enumerate(parts)
        ]

    async def __call__(self) -> dict[str, Any]:
        return self.events.pop(0) if self.events else {"type": "http.disconnect"}


def digester(content: bytes) -> ContentDigester:
    return ContentDigester(parse_digest(encode_digest(content)))


def reader(wire: Any, check: Any, timeout_s: float = 5) -> ContentReader:
    return ContentReader(wire, check, timeout_s=timeout_s)


async def deliver(reading: ContentReader) -> bytes:
    """Read as an application does; return what came, the end included."""
    content = b""
    while True:
        message = await reading()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        content += message["body"]
        if not message["more_body"]:
            return content


@given(parts=st.lists(st.binary(max_size=8), min_size=1, max_size=6))
def test_however_content_is_cut_it_is_the_same(parts):
    whole = b"".join(parts)
    read = reader(Wire(parts), digester(whole)).read_all()
    assert asyncio.run(read) == whole
    assert asyncio.run(deliver(reader(Wire(parts), digester(whole)))) == whole


@given(
    parts=st.lists(st.binary(max_size=8), min_size=1, max_size=6),
    signed=st.binary(max_size=16),
    complete=st.booleans(),
)
def test_false_content_never_comes_to_an_end(parts, signed, complete):
    if complete and b"".join(parts) == signed:
        return
    for make in (ContentReader.read_all, deliver):
        reading = reader(Wire(parts, complete=complete), digester(signed))
        with pytest.raises((PeerError, ClientLeft)):
            asyncio.run(make(reading))


async def test_once_refused_content_stays_refused():
    reading = reader(Wire([b"a", b"b", b"c"]), NoContent())
    for _ in range(2):
        with pytest.raises(PeerError) as refused:
            await reading()
        assert refused.value is reading.failure
        assert refused.value.code is Code.DIGEST_MISSING
    # Nor does it pass for a client that left, or that might yet say more.
    reading = reader(Wire([b"false"]), digester(b"true"))
    for _ in range(2):
        with pytest.raises(AuthenticationError) as refused:
            await reading()
        assert refused.value is reading.failure


async def test_every_wait_has_an_end():
    async def silent() -> dict[str, Any]:
        await asyncio.sleep(60)
        return {}

    for make in (ContentReader.read_all, ContentReader.__call__):
        with pytest.raises(StaleError):
            await make(reader(silent, AnyContent(9), timeout_s=0.01))


async def test_behind_the_end_comes_what_the_server_says():
    reading = reader(Wire([b"a"]), AnyContent(9))
    assert (await reading())["body"] == b"a"
    assert await reading() == {"type": "http.disconnect"}


async def test_content_already_read_is_given_once():
    receive = once(b"content", Wire([]))
    assert await receive() == {
        "type": "http.request",
        "body": b"content",
        "more_body": False,
    }
    assert await receive() == {"type": "http.disconnect"}
