"""The bounded GET against servers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from sage.errors import Code, ConnectFailed, ConnectionLost, DecodeError, UsageError
from sage.transport import HostAddress, HttpsGetter, https_get

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: 1\r\nx-a: 2\r\n\r\nhi"


async def get(host_map, *, max_bytes=100):
    getter = HttpsGetter(host_map)
    try:
        return await getter.get(
            "agents.example", "/x", headers=[("Accept", "text/plain")], max_bytes=100
        )
    finally:
        await getter.close()


def kept_by(getter):
    hosts = [host for idle in getter._idle.values() for host in idle.values()]
    return [one for host in hosts for one in host]


async def test_a_response_comes_whole_with_its_header_lines(canned):
    async with canned(OK) as hosts:
        response = await get(hosts)
    assert (response.status, response.body) == (200, b"hi")
    assert [v for k, v in response.headers if k.lower() == "x-a"] == ["1", "2"]


async def test_trailers_are_shown(canned):
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nhi\r\n0\r\nContent-Type: text/plain\r\n\r\n"
    )
    async with canned(chunked) as hosts:
        response = await get(hosts)
    assert [(k.lower(), v) for k, v in response.trailers] == [
        ("content-type", "text/plain")
    ]


@pytest.mark.parametrize("can_count", [True, False])
async def test_connections_are_reused(canned, monkeypatch, can_count):
    if not can_count:  # as on Windows
        monkeypatch.setattr("sage.transport.unread._can_count", False)
    connections: list[int] = []
    async with canned(OK, OK, OK, close=False, connections=connections) as hosts:
        getter = HttpsGetter(hosts)
        for _ in range(3):
            await getter.get("agents.example", "/", headers=[], max_bytes=9)
        await getter.close()
    assert len(connections) == 1


async def test_a_kept_connection_is_closed_though_nobody_asks_again(
    canned, monkeypatch
):
    """Strangers choose the hosts: what is kept for one must not wait for another."""
    monkeypatch.setattr(https_get, "_IDLE_MAX_S", 0.05)
    async with canned(OK, close=False) as hosts:
        getter = HttpsGetter(hosts)
        await getter.get("agents.example", "/", headers=[], max_bytes=9)
        (kept,) = kept_by(getter)
        await asyncio.sleep(0.2)
        assert kept._writer.transport.is_closing()
        assert not kept_by(getter)
        await getter.close()


async def test_loops_in_threads_of_their_own_share_it(canned):
    """Else each would drop what the other keeps, open as it is, or even use it."""
    connections: list[int] = []
    async with canned(*[OK] * 6, close=False, connections=connections) as hosts:
        getter, closed = HttpsGetter(hosts), threading.Event()
        turns = [threading.Semaphore(1), threading.Semaphore(0)]

        async def use(me, other):
            for _ in range(3):
                turns[me].acquire()
                await getter.get("agents.example", "/", headers=[], max_bytes=9)
                turns[other].release()
            if me:
                kept = kept_by(getter)
                await getter.close()
                closed.set()
                return kept
            await asyncio.to_thread(closed.wait, 10)
            await asyncio.sleep(0)
            return kept_by(getter)

        threads = [asyncio.to_thread(asyncio.run, use(me, 1 - me)) for me in (0, 1)]
        left, kept = await asyncio.gather(*threads)
    assert (len(connections), len(kept), left) == (2, 2, [])
    assert all(one._writer.transport.is_closing() for one in kept)


async def test_nothing_is_kept_of_loops_that_have_ended(canned):
    async with canned(OK, OK, close=False) as hosts:
        getter = HttpsGetter(hosts)

        async def use():
            await getter.get("agents.example", "/", headers=[], max_bytes=9)
            (kept,) = kept_by(getter)
            kept.close()
            await asyncio.sleep(0)

        for _ in range(2):
            await asyncio.to_thread(asyncio.run, use())
        assert len(getter._idle) == 1


@pytest.mark.parametrize("limit", ["_IDLE_MAX", "_IDLE_PER_HOST"])
async def test_few_connections_are_kept(canned, monkeypatch, limit):
    monkeypatch.setattr(https_get, limit, 1)
    async with canned(OK, OK, close=False) as hosts:
        getter = HttpsGetter(hosts)
        both = [
            getter.get("agents.example", "/", headers=[], max_bytes=9) for _ in range(2)
        ]
        await asyncio.gather(*both)
        assert len(kept_by(getter)) == 1
        await getter.close()


async def test_a_dead_kept_connection_is_replaced(canned):
    connections: list[int] = []
    async with canned(OK, OK, connections=connections) as hosts:
        getter = HttpsGetter(hosts)
        for _ in range(2):
            response = await getter.get("agents.example", "/", headers=[], max_bytes=9)
            assert response.body == b"hi"
            await asyncio.sleep(0.01)
        await getter.close()
    assert len(connections) == 2


async def test_an_answer_that_was_not_asked_for_is_none_to_the_next(canned):
    connections: list[int] = []
    early = OK.replace(b"hi", b"no")
    async with canned(OK + early, OK, close=False, connections=connections) as hosts:
        getter = HttpsGetter(hosts)
        for _ in range(2):
            response = await getter.get("agents.example", "/", headers=[], max_bytes=9)
            assert response.body == b"hi"
        await getter.close()
    assert len(connections) == 2


@pytest.mark.parametrize("held", [False, True])
async def test_what_was_said_meanwhile_is_no_answer_to_the_next(tls, held):
    """Whether the loop has read it or it still lies in the socket."""
    served: list[asyncio.StreamWriter] = []

    async def serve(reader, writer):
        served.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(OK)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls.server)
    port = server.sockets[0].getsockname()[1]
    async with asyncio.timeout(10), server:
        where = HostAddress(address="127.0.0.1", port=port, ca=tls.authority)
        getter = HttpsGetter({"agents.example": where})
        await getter.get("agents.example", "/", headers=[], max_bytes=9)
        (kept,) = kept_by(getter)
        if held:
            # Of the transport below TLS, which reads on whoever pauses it.
            kept._writer.transport._ssl_protocol._transport.pause_reading()
        served[0].write(OK.replace(b"hi", b"no"))
        await asyncio.sleep(0.05)
        response = await getter.get("agents.example", "/", headers=[], max_bytes=9)
        assert response.body == b"hi"
        assert len(served) == 2
        assert kept._writer.transport.is_closing()
        await getter.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + b"x" * 101,
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000,
    ],
)
async def test_a_long_body_is_refused(canned, answer):
    async with canned(answer) as hosts:
        with pytest.raises(DecodeError) as refusal:
            await get(hosts)
    assert refusal.value.code is Code.SIZE_EXCEEDED


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_bad_http_is_refused(canned, answer):
    async with canned(answer) as hosts:
        with pytest.raises(DecodeError) as refusal:
            await get(hosts)
    assert refusal.value.code is Code.RECORD_INVALID


async def test_no_answer_is_a_lost_connection(canned):
    async with canned(b"") as hosts:
        with pytest.raises(ConnectionLost):
            await get(hosts)


async def test_a_name_that_does_not_resolve():
    with pytest.raises(ConnectFailed):
        await HttpsGetter().get("no-such.invalid", "/", headers=[], max_bytes=1)


@pytest.mark.parametrize("address", ["a..b", "a" * 64, "a\0b"])
async def test_a_map_that_leads_nowhere(address):
    with pytest.raises(ConnectFailed, match="cannot connect to agents"):
        await get({"agents.example": HostAddress(address=address)})


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".x", ".x"])
async def test_what_is_no_name(host):
    with pytest.raises(ConnectFailed, match="does not resolve"):
        await HttpsGetter().get(host, "/", headers=[], max_bytes=9)


@pytest.mark.parametrize(
    ("host", "path", "headers"),
    [
        ("a.example\r\nX: y", "/", []),
        ("ä.example", "/", []),
        (5, "/", []),
        ("a.example", "", []),
        ("a.example", "/x y", []),
        ("a.example", "/\r\nX: y", []),
        ("a.example", "/ä", []),
        ("a.example", "/", [("A", "b\r\nX: y")]),
        ("a.example", "/", [("A b", "c")]),
        ("a.example", "/", [("A", "ä")]),
        ("a.example", "/", [("A", 5)]),
    ],
)
async def test_what_no_request_can_have(host, path, headers):
    with pytest.raises(UsageError, match="nothing that can be asked"):
        await HttpsGetter().get(host, path, headers=headers, max_bytes=9)


async def test_a_certificate_for_another_name(canned):
    async with canned(OK) as hosts:
        wrong = {"other.example": hosts["agents.example"]}
        with pytest.raises(ConnectFailed):
            await HttpsGetter(wrong).get("other.example", "/", headers=[], max_bytes=1)


async def test_an_unknown_authority(canned):
    async with canned(OK) as hosts:
        known = hosts["agents.example"]
        unknown = HostAddress(address=known.address, port=known.port)
        with pytest.raises(ConnectFailed):
            await get({"agents.example": unknown})


def test_a_getter_serves_one_loop_after_another(canned):
    async def once(getter=[]):  # noqa: B006  # the same getter in both loops
        async with canned(OK) as hosts:
            getter.append(HttpsGetter(hosts)) if not getter else None
            getter[0]._host_map = hosts
            response = await getter[0].get(
                "agents.example", "/", headers=[], max_bytes=9
            )
            assert response.body == b"hi"
            await getter[0].close()

    asyncio.run(once())
    asyncio.run(once())
