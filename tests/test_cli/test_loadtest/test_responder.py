from __future__ import annotations

from sage.cli.loadtest.responder import COUNT_BYTES
from sage.cli.loadtest.usage import USAGE_QUESTION, Usage

from .conftest import Running


async def test_requests_are_echoed_and_one_is_answered(running: Running) -> None:
    async with running() as connect:
        channel = await connect()
        assert await channel.request(b"anything") == b"anything"
        usage = Usage.decode(await channel.request(USAGE_QUESTION))
        assert usage is not None
        assert usage.cpu_s > 0
        await channel.close()


async def test_every_record_is_acknowledged_and_many_at_once(running: Running) -> None:
    async with running() as connect:
        channel = await connect()
        async with channel.stream() as stream:
            await stream.send(b"alone")
            assert await stream.receive() == (1).to_bytes(COUNT_BYTES, "big")
            for _ in range(500):
                await stream.send(b"x" * 100)
            await stream.end()
            counts = [int.from_bytes(data, "big") async for data in stream]
        await channel.close()
    assert counts == sorted(set(counts))
    assert counts[-1] == 501
    assert len(counts) < 250


async def test_a_stream_without_records_is_not_acknowledged(running: Running) -> None:
    async with running() as connect:
        channel = await connect()
        async with channel.stream() as stream:
            await stream.end()
            assert await stream.receive() == b""
        await channel.close()
