"""The ASGI application around the connections."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

import sage
from sage.errors import UsageError
from sage.transport import PrometheusMetrics


async def echo(message):
    return message.payload


@pytest.fixture
def service(grace, resolver):
    return sage.Service(agent=grace, resolver=resolver, handler=echo)


async def http(service, path, method="GET"):
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": path, "method": method, "headers": []}
    await service(scope, None, send)
    return sent[0]["status"], sent[1]["body"]


async def websocket(service, **scope):
    sent = []
    incoming = [{"type": "websocket.connect"}]

    async def receive():
        if incoming:
            return incoming.pop(0)
        return {"type": "websocket.disconnect", "code": 1001}

    async def send(message):
        sent.append(message["type"])

    base = {"type": "websocket", "scheme": "wss", "path": "/sage", "headers": []}
    await service(base | scope, receive, send)
    return sent


async def test_health(service):
    for path in ("/health", "/health/live"):
        status, body = await http(service, path)
        assert status == 200
        assert json.loads(body) == {"status": "ok"}


async def test_readiness(service, grace, resolver):
    assert await http(service, "/health/ready") == (200, b'{"status": "ok"}')
    await service.close()
    assert await http(service, "/health/ready") == (503, b'{"status": "unready"}')
    assert (await http(service, "/health/live"))[0] == 200
    unknown = sage.Agent.generate("did:sage:web:agents.example:nobody")
    lost = sage.Service(agent=unknown, resolver=resolver, handler=echo)
    assert (await http(lost, "/health/ready"))[0] == 503


async def test_a_refused_connection_is_counted(grace, resolver, caplog):
    metrics = PrometheusMetrics()
    config = sage.ServiceConfig(max_connections=1)
    service = sage.Service(
        agent=grace, resolver=resolver, handler=echo, metrics=metrics, config=config
    )
    assert await websocket(service, path="/other") == ["websocket.close"]
    service._connections.add(object())
    assert await websocket(service) == ["websocket.close"]
    service._connections.clear()
    text = metrics.exposition().decode()
    for code in ("connection", "exhausted"):
        assert f'sage_refusals_total{{code="{code}"}} 1.0' in text
    assert [record.code for record in caplog.records] == ["connection", "exhausted"]
    assert 'sage_connections{role="responder"} 0.0' in text


async def test_nothing_else_over_http(service):
    assert (await http(service, "/"))[0] == 404
    assert (await http(service, "/health", "POST"))[0] == 404
    assert (await http(service, "/sage"))[0] == 404


async def test_tls_is_required(service, grace, resolver):
    assert await websocket(service, scheme="ws") == ["websocket.close"]
    behind_proxy = sage.Service(
        agent=grace, resolver=resolver, handler=echo, require_tls=False
    )
    assert (await websocket(behind_proxy, scheme="ws"))[0] == "websocket.accept"


@pytest.mark.parametrize(
    "algorithm", ["ed25519", "ecdsa-p256-sha256", "sage-secp256k1-keccak256"]
)
def test_what_signs_no_http_has_no_https_endpoints(algorithm):
    agent = sage.Agent.generate("did:sage:web:agents.example:hal", algorithm=algorithm)
    config = sage.ServiceConfig(https_endpoints=frozenset({"https://127.0.0.1/sage"}))
    asked = {"agent": agent, "resolver": sage.MemoryResolver(), "handler": echo}
    sage.Service(**asked)
    if algorithm.startswith("sage-"):
        with pytest.raises(UsageError, match="signs no HTTP"):
            sage.Service(**asked, config=config)
    else:
        sage.Service(**asked, config=config)


async def test_another_path(service):
    assert await websocket(service, path="/other") == ["websocket.close"]


async def test_a_client_that_leaves_at_once(service):
    assert await websocket(service) == ["websocket.accept"]


async def test_closing_says_goodbye_to_everyone(running, connecting, grace, resolver):
    async with running() as url:
        channel = await connecting(url)
        assert not channel.closed
    async with asyncio.timeout(5):
        while not channel.closed:
            await asyncio.sleep(0.01)


async def test_a_loaded_agent_without_a_guard_refuses_and_says_why(
    running, connecting, grace, resolver, tmp_path, caplog
):
    path = tmp_path / "grace.sage"
    grace.save(path, passphrase="p", scrypt_n=2**4)
    loaded = sage.Agent.load(path, passphrase="p")
    with caplog.at_level(logging.WARNING, "sage.service"):
        async with running(agent=loaded) as url:
            with pytest.raises(sage.errors.ConnectionLost):
                await connecting(url)
    assert "SqliteReplayGuard" in caplog.text
    assert "(replay.state-lost)" in caplog.text


async def test_a_guard_on_disk_survives_a_restart(
    running, connecting, grace, resolver, tmp_path
):
    path = tmp_path / "grace.replay"
    for history in (True, False):
        guard = sage.SqliteReplayGuard(path, assume_no_history=history)
        async with running(guard=guard) as url, connecting(url) as channel:
            assert await channel.request(b"x") == b"echo:x"
        guard.close()
