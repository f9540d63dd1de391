"""`connect`, as a context manager and as an awaitable."""

from __future__ import annotations

import pytest

from sage.errors import DecodeError, RemoteFailure, UsageError


async def test_as_a_context_manager(running, connecting):
    async with running() as url:
        async with connecting(url) as channel:
            assert await channel.request(b"x") == b"echo:x"
        assert channel.closed


async def test_awaited(running, connecting):
    async with running() as url:
        channel = await connecting(url)
        assert await channel.request(b"x") == b"echo:x"
        await channel.close()


async def test_a_failed_body_still_closes(running, connecting):
    async with running() as url:
        with pytest.raises(RuntimeError, match="ours"):
            async with connecting(url) as channel:
                raise RuntimeError("ours")
        assert channel.closed


def test_a_peer_that_has_no_name(connecting):
    for peer in ("grace", "did:sage:web:agents.example:grace#sign-1", ""):
        with pytest.raises(DecodeError):
            connecting("wss://localhost:1/sage", peer=peer)


@pytest.mark.parametrize("url", [5, None, b"wss://localhost/sage", ["wss://x"]])
def test_an_address_that_is_no_text(connecting, url):
    with pytest.raises(UsageError, match="url must be str, not "):
        connecting(url)


async def test_a_service_that_refuses_in_so_many_words(running, connecting):
    async def handler(message):
        raise RemoteFailure("unavailable")

    async with running(handler) as url, connecting(url) as channel:
        with pytest.raises(RemoteFailure):
            await channel.request(b"x")
