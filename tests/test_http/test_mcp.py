"""MCP between strangers: its SDK's client and server, signed, both kinds of session."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx2
import mcp
import pytest
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import Context, MCPServer

import sage
from sage.http import ResponseCheck, SignatureAuth

ADA = "did:sage:web:agents.example:ada"
MODES = ["auto", "legacy"]


def server() -> MCPServer:
    made = MCPServer("counter", log_level="WARNING")

    @made.tool()
    async def count(to: int, ctx: Context) -> str:
        for n in range(1, to + 1):
            await ctx.report_progress(n, to)
        request: Any = ctx.request_context.request
        return f"{to} for {request.user.display_name}"

    return made


@pytest.fixture
def auth(ada, grace, resolver) -> SignatureAuth:
    responses = ResponseCheck(
        resolver=resolver, peer=grace.did, unsigned_streams={"text/event-stream"}
    )
    return SignatureAuth(ada.signing_key, responses=responses)


Connecting = Callable[..., AbstractAsyncContextManager[mcp.Client]]


@pytest.fixture
def connecting(running, grace, tls) -> Connecting:
    @asynccontextmanager
    async def connect(
        auth: Any, *, mode: str = "auto", **options: Any
    ) -> AsyncIterator[mcp.Client]:
        app = server().streamable_http_app(**options)
        async with (
            running(app, sign_with=grace.signing_key) as site,
            httpx2.AsyncClient(auth=auth, verify=tls.client) as http,
            mcp.Client(
                streamable_http_client(f"{site.url}/mcp", http_client=http), mode=mode
            ) as client,
        ):
            yield client

    return connect


@pytest.mark.parametrize("mode", MODES)
async def test_a_tool_knows_who_calls_and_reports_while_it_works(
    connecting, auth, mode
):
    seen: list[float] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        seen.append(done)

    async with connecting(auth, mode=mode) as client:
        result = await client.call_tool("count", {"to": 3}, progress_callback=progress)
        assert result.content[0].text == f"3 for {ADA}"
        tools = await client.list_tools()
        assert [tool.name for tool in tools.tools] == ["count"]
    assert seen == [1, 2, 3]


async def test_answers_in_one_piece_need_no_exception(connecting, ada, grace, resolver):
    strict = SignatureAuth(
        ada.signing_key, responses=ResponseCheck(resolver=resolver, peer=grace.did)
    )
    async with connecting(strict, json_response=True) as client:
        result = await client.call_tool("count", {"to": 1})
        assert result.content[0].text == f"1 for {ADA}"


@pytest.mark.parametrize("mode", MODES)
async def test_nobody_connects_unsigned_or_under_a_strange_key(
    connecting, running, mode
):
    stranger = sage.Agent.generate("did:sage:web:agents.example:mallory")
    for auth in (None, SignatureAuth(stranger.signing_key)):
        with pytest.RaisesGroup(
            pytest.RaisesExc(mcp.MCPError), flatten_subgroups=True, allow_unwrapped=True
        ):
            async with connecting(auth, mode=mode):
                raise AssertionError("connected")
