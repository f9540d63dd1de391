from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from sage.cli.demo.children import Child, run_child
from sage.errors import ConfigError

from ..conftest import House


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def words(house: House) -> tuple[str, ...]:
    return (
        *("registry", "serve", str(house / "records"), "--json-ready"),
        *("--certificate", str(house / "tls.pem"), "--port", "0"),
    )


async def test_a_child_runs_for_as_long_as_the_block(
    house: House, tmp_path: Path
) -> None:
    async with run_child(*words(house), log=tmp_path / "log") as child:
        assert child.url.startswith("https://127.0.0.1:")
        pid = int(child.facts["pid"])
        assert alive(pid)
    assert not alive(pid)


async def test_no_exception_lets_a_child_live_on(house: House, tmp_path: Path) -> None:
    pids: list[int] = []

    async def run() -> None:
        async with run_child(*words(house), log=tmp_path / "log") as child:
            pids.append(int(child.facts["pid"]))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await run()
    assert not alive(pids[0])


async def test_nor_does_a_cancellation(house: House, tmp_path: Path) -> None:
    pids: list[int] = []

    async def run() -> None:
        async with run_child(*words(house), log=tmp_path / "log") as child:
            pids.append(int(child.facts["pid"]))
            await asyncio.sleep(60)

    task = asyncio.create_task(run())
    while not pids:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive(pids[0])


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no such signal here")
async def test_a_child_that_does_not_stop_is_made_to(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the block came to is not lost over it."""
    monkeypatch.setattr("sage.cli.demo.children._STOP_S", 0.05)
    async with run_child(*words(house), log=tmp_path / "log") as child:
        pid = int(child.facts["pid"])
        os.kill(pid, signal.SIGSTOP)
    assert not alive(pid)


async def test_a_child_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"registry serve did not start: .*folder"):
        async with run_child(
            *("registry", "serve", "/none", "--certificate", "x"), log=tmp_path / "log"
        ):
            pass


async def test_the_first_refusal_after_a_mark_is_found(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("x WARNING refused: before (sig.bad)\n")
    child = Child({"url": "u"}, log)
    mark = child.mark()
    waiting = asyncio.create_task(child.refusal_since(mark))
    await asyncio.sleep(0.03)
    assert not waiting.done()
    with log.open("a") as file:
        file.write("INFO handshake with (somebody)\n")
        file.write("WARNING refused: authentication failed (session.aead)\n")
        file.write("WARNING refused: again (sig.replay)\n")
    assert await waiting == "session.aead"


async def test_no_refusal_is_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sage.cli.demo.children._LOG_S", 0.05)
    (tmp_path / "log").write_text("all is well\n")
    assert await Child({}, tmp_path / "log").refusal_since(0) is None
