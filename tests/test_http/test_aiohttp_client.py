"""`AiohttpSignature` in aiohttp's client, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gzip
import io
import pickle
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from yarl import URL

import sage
from sage.errors import (
    AuthenticationError,
    Code,
    DecodeError,
    PeerError,
    ProtocolError,
    UsageError,
)
from sage.http import AiohttpSignature, Policy, ResponseCheck, encode_digest

ADA = "did:sage:web:agents.example:ada"


@pytest.fixture
def signing(ada: sage.Agent) -> AiohttpSignature:
    return AiohttpSignature(ada.signing_key)


@pytest.fixture
def strict(ada, grace, resolver) -> AiohttpSignature:
    """Ada's, which believes only what Grace signed."""
    responses = ResponseCheck(
        resolver=resolver, peer=grace.did, unsigned_streams={"text/event-stream"}
    )
    return AiohttpSignature(ada.signing_key, responses=responses)


def session(signing: AiohttpSignature, tls: Any, **options: Any) -> Any:
    connector = aiohttp.TCPConnector(ssl=tls.client)
    return aiohttp.ClientSession(connector=connector, middlewares=[signing], **options)


async def parts() -> AsyncIterator[bytes]:
    yield b"0123"
    yield b"4567"


def form() -> aiohttp.FormData:
    data = aiohttp.FormData()
    data.add_field("file", io.BytesIO(b"content"), filename="a.txt")
    return data


@pytest.mark.parametrize(
    ("make", "content"),
    [
        (lambda: {"json": {"a": 1}}, b'{"a": 1}'),
        (lambda: {"data": b"bytes"}, b"bytes"),
        (lambda: {"data": "täxt"}, "täxt".encode()),
        (lambda: {"data": io.BytesIO(b"file")}, b"file"),
        (lambda: {"data": parts()}, b"01234567"),
        (lambda: {"data": {"a": "b c"}}, b"a=b+c"),
        (lambda: {}, b""),
    ],
)
async def test_every_kind_of_content_is_signed(running, signing, tls, make, content):
    async with running() as site, session(signing, tls) as client:
        async with client.post(f"{site.url}/echo", **make()) as answer:
            assert (answer.status, await answer.read()) == (200, content)
        assert site.app.calls == [(ADA, "/echo", content)]


async def test_a_form_is_signed_as_it_is_sent(running, signing, tls):
    async with running() as site, session(signing, tls) as client:
        async with client.post(f"{site.url}/echo", data=form()) as answer:
            assert answer.status == 200
        ((_, _, content),) = site.app.calls
        assert b'filename="a.txt"' in content


async def test_a_long_file_is_sent_again_where_a_redirect_leads(
    running, signing, tls, tmp_path
):
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)

    async def twice(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        size = 0
        while (message := await receive())["more_body"]:
            size += len(message["body"])
        assert size + len(message["body"]) == 3_000_000
        status = 307 if scope["path"] == "/first" else 204
        headers = [(b"location", b"/second")]
        await send(
            {"type": "http.response.start", "status": status, "headers": headers}
        )
        await send({"type": "http.response.body", "body": b""})

    async with running(twice) as site, session(signing, tls) as client:
        with (tmp_path / "file").open("rb") as file:
            async with client.post(f"{site.url}/first", data=file) as answer:
                assert answer.status == 204


async def test_queries_are_signed_as_they_are_sent(running, signing, tls):
    async with running() as site, session(signing, tls) as client:
        for params in ({"q": "ä b", "p": "/?&"}, {"q": ""}, None):
            async with client.get(f"{site.url}/echo", params=params) as answer:
                assert answer.status == 200


async def test_fields_are_signed_as_they_are_sent(running, ada, tls):
    components = ("@method", "@target-uri", "@authority", '"x-name";bs')
    signing = AiohttpSignature(ada.signing_key, components=components)
    async with running() as site, session(signing, tls) as client:
        for name in ("plain", "é", "日本"):
            answer = await client.get(f"{site.url}/echo", headers={"X-Name": name})
            assert answer.status == 200


async def test_a_redirect_takes_the_digest_away_with_the_content(running, signing, tls):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        status = 303 if scope["method"] == "POST" else 200
        headers = [(b"location", b"/there")]
        start = {"type": "http.response.start", "status": status, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": b""})

    headers = {"Content-Digest": encode_digest(b"text")}
    async with running(app) as site, session(signing, tls) as client:
        answer = await client.post(f"{site.url}/x", data=b"text", headers=headers)
        assert (answer.status, answer.method) == (200, "GET")


async def test_a_redirect_is_signed_anew(running, signing, tls):
    paths: list[str] = []

    async def elsewhere(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        paths.append(scope["path"])
        status = 307 if scope["path"] == "/first" else 204
        headers = [(b"location", b"/second")]
        await send(
            {"type": "http.response.start", "status": status, "headers": headers}
        )
        await send({"type": "http.response.body", "body": b""})

    async with (
        running(elsewhere) as site,
        session(signing, tls) as client,
        client.post(f"{site.url}/first", data=b"1") as answer,
    ):
        assert answer.status == 204
    assert paths == ["/first", "/second"]


def leading(place: str, status: int = 307) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        while (await receive()).get("more_body"):
            pass
        headers = [(b"location", place.encode())]
        await send(
            {"type": "http.response.start", "status": status, "headers": headers}
        )
        await send({"type": "http.response.body", "body": b""})

    return app


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("name", ["{other}/echo?pay=mallory", "//localhost:{port}/a"])
async def test_nothing_is_signed_for_where_somebody_else_leads(
    running, signing, tls, name, status
):
    async with running() as other, session(signing, tls) as client:
        place = name.format(other=other.url, port=other.port)
        async with running(leading(place, status)) as site:
            with pytest.raises(ProtocolError, match="another origin") as refused:
                await client.post(f"{site.url}/first", data=b"1")
            assert refused.value.code is Code.SIG_BINDING
            assert refused.value.may_have_run
        assert other.app.calls == []


@pytest.mark.parametrize("place", ["http://", "https://[", "http://localhost:1/"])
async def test_a_redirect_to_nowhere_leads_nowhere(running, signing, tls, place):
    async with running(leading(place)) as site, session(signing, tls) as client:
        with pytest.raises(ProtocolError):
            await client.get(f"{site.url}/first")


@pytest.mark.parametrize(
    ("place", "same"),
    [
        ("/y", True),
        ("https://a.example:443/y", True),
        ("https://A.Example/y", True),
        ("HTTPS://a.example/y", True),
        ("https://named.example/y", True),
        ("https://named.example:443/y", True),
        ("https://a.example:80/y", False),
        ("http://a.example/y", False),
        ("http://a.example:443/y", False),
        ("https://a.example.:443/y", False),
        ("https://a.example@b.example/y", False),
        ("https://named.example:8443/y", False),
    ],
)
def test_an_origin_is_the_same_however_it_is_written(ada, place, same):
    named = {"https://NAMED.example:443"}
    signing = AiohttpSignature(ada.signing_key, redirect_origins=named)
    response = SimpleNamespace(status=307, headers={"Location": place})
    for url in ("https://a.example/x", "https://a.example:443/x"):
        refusal = contextlib.nullcontext() if same else pytest.raises(ProtocolError)
        with refusal:
            signing._require_origin(URL(url), response)


async def test_a_redirect_may_lead_to_an_origin_that_was_named(running, ada, tls):
    async with running() as other:
        signing = AiohttpSignature(ada.signing_key, redirect_origins={other.url})
        async with (
            running(leading(f"{other.url}/echo")) as site,
            session(signing, tls) as client,
            client.post(f"{site.url}/first", data=b"1") as answer,
        ):
            assert answer.status == 200
        assert other.app.calls == [(ADA, "/echo", b"1")]


@pytest.mark.parametrize("origin", ["b.example", "/path", "https://", 1])
def test_what_is_no_origin_is_refused(ada, origin):
    with pytest.raises(UsageError):
        AiohttpSignature(ada.signing_key, redirect_origins=[origin])


async def test_content_is_read_up_to_a_limit(running, ada, tls):
    signing = AiohttpSignature(ada.signing_key, max_content_bytes=7)
    async with running() as site, session(signing, tls) as client:
        for data in (parts(), b"01234567"):
            with pytest.raises(UsageError, match="max_content_bytes"):
                await client.post(f"{site.url}/echo", data=data)
        headers = {"Content-Digest": encode_digest(b"01234567")}
        async with client.post(
            f"{site.url}/echo", data=parts(), headers=headers
        ) as answer:
            assert await answer.read() == b"01234567"
        assert len(site.app.calls) == 1


async def test_what_aiohttp_compresses_cannot_be_signed(running, signing, tls):
    async with running() as site, session(signing, tls) as client:
        with pytest.raises(UsageError, match="compress"):
            await client.post(f"{site.url}/echo", data=b"x" * 99, compress="deflate")


def test_it_keeps_its_key(signing):
    assert repr(signing) == f"<AiohttpSignature {ADA}#sign-1>"
    with pytest.raises(TypeError):
        pickle.dumps(signing)
    with pytest.raises(TypeError):
        copy.copy(signing)


# --- checking the answers -------------------------------------------------------------


async def test_signed_answers_are_believed(running, strict, grace, tls):
    async with (
        running(sign_with=grace.signing_key) as site,
        session(strict, tls) as client,
    ):
        for content in (b"1", b"x" * 300_000, b""):
            async with client.post(f"{site.url}/echo", data=content) as answer:
                assert answer.status == 200
                assert await answer.read() == content
                assert await answer.text() == content.decode()
        async with client.post(f"{site.url}/echo", json={"a": [1]}) as answer:
            assert await answer.json() == {"a": [1]}
        async with client.head(f"{site.url}/echo") as answer:
            assert answer.status == 200
        async with client.get(f"{site.url}/events") as answer:
            lines = [line async for line in answer.content]
        assert b"".join(lines) == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"


async def test_a_believed_answer_can_be_iterated_and_the_connection_used_again(
    running, strict, grace, tls
):
    async with (
        running(sign_with=grace.signing_key) as site,
        session(strict, tls) as client,
    ):
        for _ in range(3):
            async with client.post(f"{site.url}/echo", data=b"x" * 99_999) as answer:
                parts = [part async for part in answer.content.iter_chunked(1000)]
            assert b"".join(parts) == b"x" * 99_999
        assert len(client.connector._conns) == 1


def outside(change: Any) -> Any:
    def wrap(app: Any) -> Any:
        async def changed(scope: Any, receive: Any, send: Any) -> None:
            async def sending(message: Any) -> None:
                await send(change(message) if scope["type"] == "http" else message)

            await app(scope, receive, sending)

        return changed

    return wrap


def other_content(message: dict[str, Any]) -> dict[str, Any]:
    if message["type"] == "http.response.body":
        return {**message, "body": message["body"].replace(b"1", b"2")}
    return message


def other_status(message: dict[str, Any]) -> dict[str, Any]:
    if message["type"] == "http.response.start":
        return {**message, "status": 201}
    return message


@pytest.mark.parametrize(
    ("change", "code"),
    [(other_content, Code.DIGEST_MISMATCH), (other_status, Code.SIG_BAD)],
)
async def test_altered_answers_are_not_returned(
    running, strict, grace, tls, change, code
):
    async with (
        running(sign_with=grace.signing_key, outside=outside(change)) as site,
        session(strict, tls) as client,
    ):
        with pytest.raises(AuthenticationError) as refused:
            await client.post(f"{site.url}/echo", data=b"1")
        assert refused.value.code is code


async def test_unsigned_answers_are_not_returned(running, strict, tls):
    async with running() as site, session(strict, tls) as client:
        with pytest.raises(ProtocolError) as refused:
            await client.post(f"{site.url}/echo", data=b"1")
        assert refused.value.code is Code.SIG_MISSING


async def test_a_compressed_answer_is_refused_with_its_reason(
    running, strict, grace, tls
):
    """It was asked for without; what aiohttp has inflated cannot be compared."""

    async def compressing(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        assert (b"accept-encoding", b"identity") in scope["headers"]
        headers = [(b"content-encoding", b"gzip"), (b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": gzip.compress(b"text")})

    async with (
        running(compressing, sign_with=grace.signing_key) as site,
        session(strict, tls) as client,
    ):
        with pytest.raises(PeerError, match="compressed"):
            await client.get(f"{site.url}/echo")


async def test_an_answer_to_head_describes_what_it_has_not(running, strict, grace, tls):
    async def described(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = [
                (b"content-encoding", b"gzip"),
                (b"content-digest", encode_digest(b"what GET would get").encode()),
            ]
            start = {"type": "http.response.start", "status": 200, "headers": headers}
            await send(start)
            await send({"type": "http.response.body", "body": b""})

    async with (
        running(described, sign_with=grace.signing_key) as site,
        session(strict, tls) as client,
        client.head(f"{site.url}/echo") as answer,
    ):
        assert (answer.status, await answer.read()) == (200, b"")


async def test_a_long_answer_is_not_read_to_its_end(running, ada, grace, resolver, tls):
    responses = ResponseCheck(
        resolver=resolver, peer=grace.did, policy=Policy(max_content_bytes=4)
    )
    signing = AiohttpSignature(ada.signing_key, responses=responses)
    async with (
        running(sign_with=grace.signing_key) as site,
        session(signing, tls) as client,
    ):
        with pytest.raises(DecodeError) as refused:
            await client.post(f"{site.url}/echo", data=b"12345")
        assert refused.value.code is Code.SIZE_EXCEEDED


async def test_a_refused_answer_gives_its_connection_back(running, strict, tls):
    """Held by the error of it, it would take the only place there is."""
    connector = aiohttp.TCPConnector(ssl=tls.client, limit=1)
    refusals = []
    async with (
        running() as site,
        aiohttp.ClientSession(connector=connector, middlewares=[strict]) as client,
        asyncio.timeout(30),
    ):
        for _ in range(2):
            with pytest.raises(ProtocolError) as refused:
                await client.post(f"{site.url}/echo", data=b"x" * 1_000_000)
            refusals.append(refused.value)
    assert len(refusals) == 2


async def test_many_requests_at_once(running, strict, grace, tls):
    async with (
        running(sign_with=grace.signing_key) as site,
        session(strict, tls) as client,
    ):

        async def post(n: int) -> Any:
            async with client.post(f"{site.url}/echo", json=n) as answer:
                return await answer.json()

        assert await asyncio.gather(*map(post, range(20))) == list(range(20))


async def test_a_status_that_is_none_is_the_servers_fault(strict):
    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 042 x\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with (
        await asyncio.start_server(answer, "127.0.0.1", 0) as server,
        aiohttp.ClientSession(middlewares=[strict]) as client,
    ):
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(DecodeError) as refused:
            await client.get(f"http://127.0.0.1:{port}/")
    assert refused.value.code is Code.FRAME_MALFORMED
    assert refused.value.may_have_run
