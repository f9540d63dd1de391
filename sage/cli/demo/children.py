"""Other processes of the same program, which never outlive this one's work."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from ...errors import ConfigError, DeadlineExceeded
from ...transport import within

__all__ = ["Child", "run_child"]

_START_S: Final = 20.0
_STOP_S: Final = 3.0
_LOG_S: Final = 3.0
_REFUSED: Final = re.compile(rb"refused: .*\(([a-z.-]+)\)\s*$", re.MULTILINE)


class Child:
    """A running ``python -m sage …``; made by `run_child`.

    Attributes:
        facts: what it said when it was ready: ``url``, ``pid`` and more.
    """

    def __init__(self, facts: dict[str, str], log: Path) -> None:
        self.facts = facts
        self._log = log

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.facts["url"]

    def mark(self) -> int:
        """Return how long its log is now."""
        return self._log.stat().st_size

    async def refusal_since(self, mark: int) -> str | None:
        """Return the diagnostic code of the first refusal logged after ``mark``.

        Waits for it for a few seconds; ``None`` if there is none.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOG_S):
                while True:
                    found = _REFUSED.search(self._log.read_bytes()[mark:])
                    if found is not None:
                        return found[1].decode("ascii")
                    await asyncio.sleep(0.01)
        return None


@asynccontextmanager
async def run_child(*words: str, log: Path) -> AsyncIterator[Child]:
    """Run ``python -m sage`` with these words until the block ends.

    Args:
        words: the command; it must print one line of JSON when it is ready.
        log: a new file for what it writes to stderr.

    Raises:
        ConfigError: it ended, or did not say that it is ready within 20 s.
    """
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sage", *words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
        )
    try:
        yield Child(await _ready(process, words, log), log)
    finally:
        await _stop(process)


async def _ready(
    process: asyncio.subprocess.Process, words: tuple[str, ...], log: Path
) -> dict[str, str]:
    name = " ".join(words[:2])
    assert process.stdout is not None  # noqa: S101  (it is a pipe)
    try:
        line = await within(_START_S, process.stdout.readline(), f"starting {name}")
    except DeadlineExceeded as exc:
        raise ConfigError(str(exc)) from exc
    if not line:
        said = log.read_text("utf-8", errors="replace").strip().splitlines()
        raise ConfigError(f"{name} did not start: {said[-1] if said else 'no reason'}")
    return {key: str(value) for key, value in json.loads(line).items()}


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Ask it to stop; insist after three seconds; also when we are cancelled."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                await process.wait()
    finally:
        # Otherwise it has ended, and this does nothing.
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await process.wait()
