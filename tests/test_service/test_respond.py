"""Small ASGI answers."""

from __future__ import annotations

from sage.service.respond import respond_bytes, respond_lifespan, respond_text


async def collect(answer, *args, **kwargs):
    sent = []

    async def send(message):
        sent.append(message)

    await answer(send, *args, **kwargs)
    return sent


async def test_a_body_that_no_cache_keeps():
    start, body = await collect(
        respond_bytes, 200, b"{}", content_type="application/json"
    )
    assert start["status"] == 200
    assert (b"content-type", b"application/json") in start["headers"]
    assert (b"content-length", b"2") in start["headers"]
    assert (b"cache-control", b"no-store") in start["headers"]
    assert body["body"] == b"{}"


async def test_a_text():
    _, body = await collect(respond_text, 404, "nicht verfügbar")
    assert body["body"] == "nicht verfügbar".encode()


async def test_lifespan_runs_the_shutdown():
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent, closed = [], []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message["type"])

    async def on_shutdown():
        closed.append(True)

    await respond_lifespan(receive, send, on_shutdown=on_shutdown)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert closed == [True]
