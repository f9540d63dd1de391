"""`SignatureAuth` in httpx and httpx2, synchronous and not, on real sockets."""

from __future__ import annotations

import asyncio
import copy
import importlib
import io
import pickle
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any

import pytest

import sage
from sage.errors import (
    AuthenticationError,
    Code,
    DecodeError,
    PeerError,
    ProtocolError,
    UsageError,
)
from sage.http import Policy, ResponseCheck, SignatureAuth, encode_digest

ADA = "did:sage:web:agents.example:ada"
MALLORY = "did:sage:web:agents.example:mallory"
EVENTS = {"text/event-stream"}


@pytest.fixture(params=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


@pytest.fixture
def auth(ada: sage.Agent) -> SignatureAuth:
    return SignatureAuth(ada.signing_key)


@pytest.fixture
def strict(ada, grace, resolver) -> SignatureAuth:
    """Ada's, who believes only what Grace signed."""
    responses = ResponseCheck(resolver=resolver, peer=grace.did)
    return SignatureAuth(ada.signing_key, responses=responses)


# --- signing ------------------------------------------------------------------------


async def test_an_asynchronous_client_signs(library, running, auth, tls):
    async with (
        running() as site,
        library.AsyncClient(auth=auth, verify=tls.client) as client,
    ):
        posted = await client.post(f"{site.url}/echo", json={"a": 1})
        assert (posted.status_code, posted.json()) == (200, {"a": 1})
        got = await client.get(f"{site.url}/echo", params={"q": "ä b", "p": "/?&"})
        assert (got.status_code, got.content) == (200, b"")
        again = await client.send(posted.request)
        assert again.status_code == 200
        assert [name for name, _, _ in site.app.calls] == [ADA] * 3


async def test_a_synchronous_client_signs(library, running, auth, tls):
    def use(url: str) -> list[int]:
        with library.Client(auth=auth, verify=tls.client) as client:
            posted = client.post(f"{url}/echo", content=b"text")
            got = client.get(f"{url}/echo")
            streamed = client.post(f"{url}/echo", content=iter([b"te", b"xt"]))
        return [posted.status_code, got.status_code, streamed.status_code]

    async with running() as site:
        assert await asyncio.to_thread(use, site.url) == [200, 200, 200]
        assert [c for _, _, c in site.app.calls] == [b"text", b"", b"text"]


async def test_one_auth_serves_many_requests_at_once(library, running, auth, tls):
    async with (
        running() as site,
        library.AsyncClient(auth=auth, verify=tls.client) as client,
    ):
        answers = await asyncio.gather(
            *(client.post(f"{site.url}/echo", json=n) for n in range(20))
        )
        assert [answer.json() for answer in answers] == list(range(20))


async def parts() -> AsyncIterator[bytes]:
    yield b"0123"
    yield b"4567"


async def test_streamed_content_is_read_up_to_a_limit(library, running, ada, tls):
    auth = SignatureAuth(ada.signing_key, max_content_bytes=8)
    small = SignatureAuth(ada.signing_key, max_content_bytes=7)
    async with running() as site, library.AsyncClient(verify=tls.client) as client:
        sent = await client.post(f"{site.url}/echo", content=parts(), auth=auth)
        assert sent.content == b"01234567"
        with pytest.raises(UsageError, match="max_content_bytes"):
            await client.post(f"{site.url}/echo", content=parts(), auth=small)
        assert len(site.app.calls) == 1


async def test_content_of_the_other_kind_of_client_cannot_be_signed(library, ada):
    auth = SignatureAuth(ada.signing_key)
    async with library.AsyncClient(auth=auth) as client:
        with pytest.raises(UsageError, match="AsyncByteStream"):
            await client.post("https://localhost/", content=io.BytesIO(b"file"))
    with (
        library.Client(auth=auth) as client,
        pytest.raises(UsageError, match="SyncByteStream"),
    ):
        client.post("https://localhost/", content=parts())


async def test_content_that_is_there_has_its_own_digest(library, running, ada, tls):
    auth = SignatureAuth(ada.signing_key)
    headers = {"Content-Digest": encode_digest(b"what it was before")}
    async with running() as site, library.AsyncClient(verify=tls.client) as client:
        sent = await client.post(
            f"{site.url}/echo", content=b"content", headers=headers, auth=auth
        )
    assert sent.content == b"content"


async def test_content_of_a_known_digest_is_not_read(library, running, ada, tls):
    auth = SignatureAuth(ada.signing_key, max_content_bytes=1)
    headers = {"Content-Digest": encode_digest(b"01234567")}
    async with running() as site, library.AsyncClient(verify=tls.client) as client:
        sent = await client.post(
            f"{site.url}/echo", content=parts(), headers=headers, auth=auth
        )
        assert sent.content == b"01234567"
        headers = {"Content-Digest": encode_digest(b"something else")}
        sent = await client.post(
            f"{site.url}/echo", content=parts(), headers=headers, auth=auth
        )
        assert sent.status_code == 401


async def test_components_tag_and_label_are_the_callers(library, running, ada, tls):
    auth = SignatureAuth(
        ada.signing_key,
        components=["@method", "@target-uri", "@authority", "x-order"],
        tag="orders",
        ttl_s=5,
    )
    policy = Policy(also_cover=("x-order",), tag="orders")
    async with (
        running(policy=policy) as site,
        library.AsyncClient(auth=auth, verify=tls.client) as client,
    ):
        sent = await client.get(f"{site.url}/echo", headers={"X-Order": "7"})
        assert sent.status_code == 200
        assert 'tag="orders"' in sent.request.headers["Signature-Input"]
        with pytest.raises(UsageError):
            await client.get(f"{site.url}/echo")


def test_it_is_an_auth_of_both_libraries_and_keeps_its_key(auth):
    for name in ("httpx", "httpx2"):
        assert isinstance(auth, importlib.import_module(name).Auth)
    assert repr(auth) == f"<SignatureAuth {ADA}#sign-1>"
    with pytest.raises(TypeError):
        pickle.dumps(auth)
    with pytest.raises(TypeError):
        copy.copy(auth)


@pytest.mark.parametrize("absent", [["httpx"], ["httpx2"], ["httpx", "httpx2"]])
def test_one_library_is_enough(absent):
    code = (
        "import sys, importlib\n"
        f"absent = {absent!r}\n"
        "sys.modules.update(dict.fromkeys(absent))\n"
        "from sage.errors import ConfigError\n"
        "try:\n"
        "    from sage.http import SignatureAuth\n"
        "except ConfigError as exc:\n"
        "    print(exc)\n"
        "else:\n"
        "    there = {'httpx', 'httpx2'}.difference(absent).pop()\n"
        "    print(issubclass(SignatureAuth, importlib.import_module(there).Auth))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    expected = (
        "True"
        if len(absent) == 1
        else ("SignatureAuth needs httpx or httpx2: pip install httpx")
    )
    assert done.stdout.strip() == expected


# --- checking the answers -------------------------------------------------------------


async def test_signed_answers_are_believed(library, running, strict, grace, tls):
    async with (
        running(sign_with=grace.signing_key) as site,
        library.AsyncClient(auth=strict, verify=tls.client) as client,
    ):
        answer = await client.post(f"{site.url}/echo", json={"a": 1})
        assert answer.json() == {"a": 1}
        assert "Signature" in answer.headers
        assert (await client.post(f"{site.url}/empty", json=1)).status_code == 202
        assert (await client.get(f"{site.url}/echo")).content == b""
        assert (await client.head(f"{site.url}/echo")).status_code == 200


async def test_a_synchronous_client_checks_too(library, running, strict, grace, tls):
    def use(url: str) -> bytes:
        with (
            library.Client(auth=strict, verify=tls.client) as client,
            client.stream("POST", f"{url}/echo", content=b"text") as answer,
        ):
            return b"".join(answer.iter_bytes())

    async with running(sign_with=grace.signing_key) as site:
        assert await asyncio.to_thread(use, site.url) == b"text"
        with (
            library.Client(auth=strict, verify=tls.client) as client,
            pytest.raises(UsageError, match="AsyncClient"),
        ):
            await asyncio.wait_for(asyncio.to_thread(_in_a_loop, client, site.url), 10)


def _in_a_loop(client: Any, url: str) -> None:
    async def use() -> None:
        client.get(f"{url}/echo")

    asyncio.run(use())


def outside(change: Any) -> Any:
    """Return what makes an application that changes what the signing one sends."""

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


def without(name: bytes) -> Any:
    def drop(message: dict[str, Any]) -> dict[str, Any]:
        headers = message.get("headers", ())
        kept = [pair for pair in headers if pair[0] != name]
        return {**message, "headers": kept}

    drop.__name__ = "without_" + name.decode()
    return drop


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (other_content, Code.DIGEST_MISMATCH),
        (other_status, Code.SIG_BAD),
        (without(b"signature"), Code.SIG_MISSING),
        (without(b"content-digest"), Code.DIGEST_MISSING),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_altered_answers_are_not_returned(
    library, running, strict, grace, tls, change, code
):
    async with (
        running(sign_with=grace.signing_key, outside=outside(change)) as site,
        library.AsyncClient(auth=strict, verify=tls.client) as client,
    ):
        with pytest.raises(PeerError) as refused:
            await client.post(f"{site.url}/echo", json={"a": 1})
        assert refused.value.code is code


async def test_unsigned_answers_are_not_returned(library, running, strict, tls):
    async with (
        running() as site,
        library.AsyncClient(auth=strict, verify=tls.client) as client,
    ):
        with pytest.raises(ProtocolError) as refused:
            await client.post(f"{site.url}/echo", json={"a": 1})
        assert refused.value.code is Code.SIG_MISSING


async def test_answers_of_others_are_not_returned(
    library, running, strict, ada, resolver, tls
):
    mallory = sage.Agent.generate(MALLORY)
    resolver.publish(mallory.record)
    for key in (mallory.signing_key, ada.signing_key):
        async with (
            running(sign_with=key) as site,
            library.AsyncClient(auth=strict, verify=tls.client) as client,
        ):
            with pytest.raises(AuthenticationError) as refused:
                await client.post(f"{site.url}/echo", json={"a": 1})
            assert refused.value.code is Code.SIG_BINDING


async def test_the_answer_to_another_request_is_not_returned(
    library, running, strict, grace, tls
):
    """The head of the first answer is played to every later request."""
    first: list[Any] = []

    def replay(message: dict[str, Any]) -> dict[str, Any]:
        if message["type"] != "http.response.start":
            return message
        first.append(message)
        return first[0]

    async with (
        running(sign_with=grace.signing_key, outside=outside(replay)) as site,
        library.AsyncClient(auth=strict, verify=tls.client) as client,
    ):
        await client.post(f"{site.url}/echo", json={"a": 1})
        with pytest.raises(AuthenticationError) as refused:
            await client.post(f"{site.url}/echo", json={"a": 1})
        assert refused.value.code is Code.SIG_BAD


async def test_streams_are_believed_only_by_name(
    library, running, strict, ada, grace, resolver, tls
):
    named = SignatureAuth(
        ada.signing_key,
        responses=ResponseCheck(
            resolver=resolver, peer=grace.did, unsigned_streams=EVENTS
        ),
    )
    async with (
        running(sign_with=grace.signing_key) as site,
        library.AsyncClient(verify=tls.client) as client,
    ):
        for path in ("/events", "/parts"):
            with pytest.raises(ProtocolError) as refused:
                await client.post(f"{site.url}{path}", json={"a": 1}, auth=strict)
            assert refused.value.code is Code.DIGEST_MISSING
        async with client.stream("GET", f"{site.url}/events", auth=named) as answer:
            lines = [line async for line in answer.aiter_lines() if line]
        assert lines == ["data: 0", "data: 1", "data: 2"]
        with pytest.raises(ProtocolError):
            await client.post(f"{site.url}/parts", json={"a": 1}, auth=named)


async def test_what_is_iterated_ends_only_where_it_was_proven(
    library, running, strict, grace, tls
):
    async with (
        running(sign_with=grace.signing_key, outside=outside(other_content)) as site,
        library.AsyncClient(auth=strict, verify=tls.client) as client,
    ):
        async with client.stream("POST", f"{site.url}/echo", json=1) as answer:
            received = answer.aiter_bytes()
            assert await anext(received) == b"2"
            with pytest.raises(AuthenticationError) as refused:
                await anext(received)
        assert refused.value.code is Code.DIGEST_MISMATCH


async def read(answer: Any) -> None:
    """What a client's response hook may do before anything was checked."""
    await answer.aread()


@pytest.mark.parametrize("change", [lambda message: message, other_content])
async def test_what_a_hook_has_read_is_checked_all_the_same(
    library, running, strict, grace, tls, change
):
    seen = []

    def use(url: str) -> Any:
        hooks = {"response": [lambda answer: seen.append(answer.read())]}
        with library.Client(auth=strict, verify=tls.client, event_hooks=hooks) as one:
            return one.post(f"{url}/echo", json=1)

    async with (
        running(sign_with=grace.signing_key, outside=outside(change)) as site,
        library.AsyncClient(
            auth=strict, verify=tls.client, event_hooks={"response": [read]}
        ) as client,
    ):
        for answering in (
            client.post(f"{site.url}/echo", json=1),
            asyncio.to_thread(use, site.url),
        ):
            if change is other_content:
                with pytest.raises(AuthenticationError) as refused:
                    await answering
                assert refused.value.code is Code.DIGEST_MISMATCH
                assert refused.value.may_have_run
            else:
                assert (await answering).content == b"1"
    assert seen == [b"2" if change is other_content else b"1"]


def compressed(message: dict[str, Any]) -> dict[str, Any]:
    if message["type"] == "http.response.start":
        return {
            **message,
            "headers": [*message["headers"], (b"content-encoding", b"deflate")],
        }
    if message["type"] == "http.response.body" and message["body"]:
        return {**message, "body": zlib.compress(message["body"])}
    return message


async def test_what_a_hook_has_decompressed_is_refused(
    library, running, strict, grace, tls
):
    def length(message: dict[str, Any]) -> dict[str, Any]:
        return without(b"content-length")(compressed(message))

    async with (
        running(sign_with=grace.signing_key, outside=outside(length)) as site,
        library.AsyncClient(
            auth=strict, verify=tls.client, event_hooks={"response": [read]}
        ) as client,
    ):
        with pytest.raises(ProtocolError) as refused:
            await client.post(f"{site.url}/echo", json=1)
        assert refused.value.code is Code.DIGEST_MISMATCH


async def test_a_transport_that_has_read_the_answer_changes_nothing(
    library, running, strict, grace, tls
):
    """As those do that keep answers, or make them up."""
    contents = [b"1", b"2"]

    class Reading(library.AsyncHTTPTransport):
        async def handle_async_request(self, request: Any) -> Any:
            answer = await super().handle_async_request(request)
            await answer.aread()
            return library.Response(
                answer.status_code, headers=answer.headers, content=contents.pop(0)
            )

    async with (
        running(sign_with=grace.signing_key) as site,
        library.AsyncClient(
            auth=strict, transport=Reading(verify=tls.client)
        ) as client,
    ):
        answer = await client.post(f"{site.url}/echo", json=1)
        assert answer.content == b"1"
        with pytest.raises(AuthenticationError) as refused:
            await client.post(f"{site.url}/echo", json=1)
        assert refused.value.code is Code.DIGEST_MISMATCH


async def test_a_checked_answer_says_how_long_it_took(
    library, running, strict, grace, tls
):
    async with (
        running(sign_with=grace.signing_key) as site,
        library.AsyncClient(auth=strict, verify=tls.client) as client,
    ):
        answer = await client.post(f"{site.url}/echo", json=1)
        assert 0 < answer.elapsed.total_seconds() < 60


async def test_a_long_answer_is_not_read_to_its_end(
    library, running, ada, grace, resolver, tls
):
    responses = ResponseCheck(
        resolver=resolver, peer=grace.did, policy=Policy(max_content_bytes=4)
    )
    auth = SignatureAuth(ada.signing_key, responses=responses)
    async with (
        running(sign_with=grace.signing_key) as site,
        library.AsyncClient(auth=auth, verify=tls.client) as client,
    ):
        with pytest.raises(DecodeError) as refused:
            await client.post(f"{site.url}/echo", content=b"12345")
        assert refused.value.code is Code.SIZE_EXCEEDED


async def test_a_followed_redirect_is_not_an_answer(
    library, running, strict, auth, grace, tls
):
    async def elsewhere(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        headers = [(b"location", b"/echo")]
        await send({"type": "http.response.start", "status": 307, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async with (
        running(elsewhere, sign_with=grace.signing_key) as site,
        library.AsyncClient(verify=tls.client, follow_redirects=True) as client,
    ):
        with pytest.raises(ProtocolError) as refused:
            await client.get(f"{site.url}/first", auth=strict)
        assert refused.value.code is Code.SIG_BINDING
        # The second request has the first one's signature.
        assert (await client.get(f"{site.url}/x", auth=auth)).status_code == 401


def test_synchronous_streams_are_bounded(auth):
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 2**20

    httpx = importlib.import_module("httpx")
    with httpx.Client(auth=auth) as client, pytest.raises(UsageError):
        client.post("https://localhost:9/echo", content=endless())


async def test_a_status_that_is_none_is_the_servers_fault(library, strict):
    def answer(request: Any) -> Any:
        return library.Response(42)

    transport = library.MockTransport(answer)
    async with library.AsyncClient(auth=strict, transport=transport) as client:
        with pytest.raises(DecodeError) as refused:
            await client.get("https://localhost/")
    assert refused.value.code is Code.FRAME_MALFORMED
    assert refused.value.may_have_run
