"""The `web` registry end to end: our registry on a socket, and hostile ones."""

from __future__ import annotations

import json
import math
import time

import pytest

import sage
from sage.errors import Code, ResolutionError, UsageError
from sage.identity import encode_web_response, set_services, write_record_file
from sage.service import Registry, serving
from sage.transport import WebResolver

DID = "did:sage:web:agents.example:ada"


@pytest.fixture(scope="module")
def agent():
    return sage.Agent.generate(DID)


def response(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def good_body(agent, *, issued=None) -> bytes:
    issued = int(time.time()) if issued is None else issued
    return encode_web_response(agent.record, unix_time=issued, lifetime_s=5)


async def resolve(hosts, **options):
    resolver = WebResolver(host_map=hosts, **options)
    try:
        return await resolver.resolve(DID, now=5.0)
    finally:
        await resolver.close()


async def test_a_record_from_our_registry(agent, tls, tmp_path):
    write_record_file(tmp_path, agent.record)
    async with serving(Registry(tmp_path), certificate=tls.certificate) as port:
        hosts = {
            "agents.example": sage.HostAddress(
                address="127.0.0.1", port=port, ca=tls.authority
            )
        }
        seen = await resolve(hosts)
    assert seen.record == agent.record
    assert seen.observed_at == 5.0
    assert seen.source == "https://agents.example/.well-known/sage/agents/ada"


async def test_a_record_that_is_not_there(tls, tmp_path):
    async with serving(Registry(tmp_path), certificate=tls.certificate) as port:
        hosts = {
            "agents.example": sage.HostAddress(
                address="127.0.0.1", port=port, ca=tls.authority
            )
        }
        with pytest.raises(ResolutionError) as refusal:
            await resolve(hosts)
    assert refusal.value.code is Code.RECORD_NOT_FOUND


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("404 Not Found", Code.RECORD_NOT_FOUND),
        ("301 Moved\r\nLocation: https://agents.example/", Code.RECORD_UNREACHABLE),
        ("302 Found\r\nLocation: https://localhost/", Code.RECORD_UNREACHABLE),
        ("304 Not Modified", Code.RECORD_UNREACHABLE),
        ("204 No Content", Code.RECORD_UNREACHABLE),
        ("206 Partial Content", Code.RECORD_UNREACHABLE),
        ("500 Internal Server Error", Code.RECORD_UNREACHABLE),
    ],
)
async def test_only_200_counts(canned, status, code):
    async with canned(response(b"", status=status)) as hosts:
        with pytest.raises(ResolutionError) as refusal:
            await resolve(hosts)
    assert refusal.value.code is code


JSON = "Content-Type: application/json"


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([], Code.RECORD_INVALID),
        (["Content-Type: text/plain"], Code.RECORD_INVALID),
        (["Content-Type: application/json; charset=utf-8"], Code.RECORD_INVALID),
        ([JSON, JSON], Code.RECORD_INVALID),
        ([JSON, "Content-Encoding: identity"], Code.RECORD_INVALID),
        ([JSON, "Content-Encoding: gzip"], Code.RECORD_INVALID),
    ],
)
async def test_media_type_and_coding(agent, canned, lines, code):
    async with canned(response(good_body(agent), *lines)) as hosts:
        with pytest.raises(ResolutionError) as refusal:
            await resolve(hosts)
    assert refusal.value.code is code


async def test_a_trailer_that_changes_the_type(agent, canned):
    body = good_body(agent)
    chunked = (
        f"HTTP/1.1 200 OK\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n"
        f"{len(body):x}\r\n"
    ).encode()
    chunked += body + b"\r\n0\r\nContent-Type: text/plain\r\n\r\n"
    async with canned(chunked) as hosts:
        with pytest.raises(ResolutionError) as refusal:
            await resolve(hosts)
    assert refusal.value.code is Code.RECORD_INVALID


async def test_bodies_that_are_not_a_current_record(agent, canned):
    now = int(time.time())
    other = sage.Agent.generate("did:sage:web:agents.example:eve")
    extra = json.loads(good_body(agent)) | {"more": 1}
    bodies = [
        b"",
        b"[]",
        b"\xff",
        good_body(agent)[:-1],
        good_body(agent, issued=now - 5),
        good_body(agent, issued=now + 60),
        good_body(other),
        json.dumps(extra).encode(),
    ]
    for body in bodies:
        async with canned(response(body, JSON)) as hosts:
            with pytest.raises(ResolutionError) as refusal:
                await resolve(hosts)
        assert refusal.value.code is Code.RECORD_INVALID


async def test_a_long_body(canned):
    async with canned(response(b" " * 69_633, JSON)) as hosts:
        with pytest.raises(ResolutionError) as refusal:
            await resolve(hosts)
    assert refusal.value.code is Code.SIZE_EXCEEDED


async def test_a_rollback_is_stale(agent, canned):
    newer = set_services(agent.record, ())
    answers = [
        response(encode_web_response(r, unix_time=int(time.time()), lifetime_s=5), JSON)
        for r in (newer, agent.record)
    ]
    async with canned(*answers, close=False) as hosts:
        resolver = WebResolver(host_map=hosts)
        assert (await resolver.resolve(DID, now=0.0)).version == newer.version
        with pytest.raises(ResolutionError) as refusal:
            await resolver.resolve(DID, now=0.0)
        await resolver.close()
    assert refusal.value.code is Code.RECORD_STALE


async def test_a_slow_registry(canned):
    async with canned(b"", close=False) as hosts:
        with pytest.raises(ResolutionError) as refusal:
            await resolve(hosts, timeout_s=0.1)
    assert refusal.value.code is Code.RECORD_UNREACHABLE


def test_one_text_is_not_the_domains():
    with pytest.raises(UsageError, match="not one text"):
        WebResolver(allowed_domains="agents.example")


def test_an_address_alone_is_no_place_for_a_name_to_lead_to():
    with pytest.raises(UsageError, match="HostAddress, not to str"):
        WebResolver(host_map={"agents.example": "10.0.0.7"})


@pytest.mark.parametrize("limit", ["5", None, True, math.nan])
def test_a_time_limit_is_a_number(limit):
    with pytest.raises(UsageError, match="timeout_s must be seconds"):
        WebResolver(timeout_s=limit)


async def test_a_domain_that_is_not_allowed_is_not_asked(canned):
    connections: list[int] = []
    answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    for allowed, asked in (({"other.example"}, 0), ({"agents.example"}, 1)):
        async with canned(answer, connections=connections) as hosts:
            resolver = WebResolver(host_map=hosts, allowed_domains=allowed)
            with pytest.raises(ResolutionError) as refusal:
                await resolver.resolve(DID, now=time.monotonic())
            await resolver.close()
        wanted = Code.RECORD_NOT_FOUND if asked else Code.RECORD_UNREACHABLE
        assert (refusal.value.code, len(connections)) == (wanted, asked)


async def test_domains_that_are_not_allowed_or_not_public(canned):
    for options in ({"allowed_domains": ["other.example"]}, {}):
        with pytest.raises(ResolutionError) as refusal:
            await resolve({}, **options)
        assert refusal.value.code is Code.RECORD_UNREACHABLE


@pytest.mark.parametrize(
    ("did", "code"),
    [
        ("did:sage:web:localhost", Code.ID_MALFORMED),
        ("did:sage:web:127.0.0.1:ada", Code.ID_MALFORMED),
        ("did:sage:solana:x:ada", Code.ID_UNKNOWN_KIND),
        (f"did:sage:eip155:1:0x{'a' * 40}:ada", Code.ID_UNKNOWN_KIND),
    ],
)
async def test_names_that_are_not_asked_for(did, code):
    with pytest.raises(ResolutionError) as refusal:
        await WebResolver().resolve(did, now=0.0)
    assert refusal.value.code is code
