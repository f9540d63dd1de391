from __future__ import annotations

import pytest

from sage.cli.loadtest.plan import Plan
from sage.cli.loadtest.stage import staged
from sage.cli.loadtest.usage import USAGE_QUESTION, Usage
from sage.errors import ConnectFailed


async def test_a_process_serves_for_as_long_as_the_block(plan: Plan) -> None:
    async with staged(plan) as stage:
        connect = stage.connect
        assert stage.url.startswith("wss://127.0.0.1:")
        channel = await connect()
        assert await channel.request(b"hello") == b"hello"
        usage = Usage.decode(await channel.request(USAGE_QUESTION))
        assert usage is not None
        assert usage.cpu_s > 0
        await channel.close()
    with pytest.raises(ConnectFailed):
        await connect()
