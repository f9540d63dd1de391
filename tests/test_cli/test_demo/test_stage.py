from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from sage.cli.demo.stage import staged


async def test_everything_is_in_place_and_then_gone() -> None:
    async with staged() as stage:
        top = stage.certificate.parent
        assert os.stat(top).st_mode & 0o077 == 0
        for agent in (stage.ada, stage.grace):
            found = await stage.resolver.resolve(agent.did, now=time.monotonic())
            assert found.record == agent.record
            assert found.source.startswith("https://agents.example/")
        pids = [int(child.facts["pid"]) for child in (stage.registry, stage.server)]
        assert len({os.getpid(), *pids}) == 3
    assert not top.exists()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.slow
async def test_nothing_is_left_when_the_work_fails() -> None:
    tops: list[Path] = []

    async def run() -> None:
        async with staged() as stage:
            tops.append(stage.certificate.parent)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run()
    assert not tops[0].exists()
