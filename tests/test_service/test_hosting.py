"""uvicorn with the protocol's settings, and its failures as errors of ours."""

from __future__ import annotations

import asyncio

import pytest

from sage.errors import ConfigError
from sage.service import serve, serving


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return


async def test_a_free_port_is_found_and_given_back(tls):
    async with serving(app, certificate=tls.certificate) as port:
        assert port > 0
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
    with pytest.raises(OSError, match=r"refused|failed"):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_port_that_is_taken(tls, caplog):
    async with serving(app, certificate=tls.certificate) as port:
        with pytest.raises(ConfigError):
            async with serving(app, certificate=tls.certificate, port=port):
                pass


async def test_a_certificate_that_is_none(tmp_path):
    for name in ("missing.pem", "empty.pem"):
        if name == "empty.pem":
            (tmp_path / name).write_text("")
        with pytest.raises(ConfigError, match=name):
            async with serving(app, certificate=tmp_path / name):
                pass


def test_serve_refuses_what_it_cannot_read(tmp_path):
    with pytest.raises(ConfigError):
        serve(app, certificate=tmp_path / "none", key=None, host="127.0.0.1", port=0)
