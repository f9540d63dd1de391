"""Runs a service or a registry until the process is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from .. import service
from .exits import Exit
from .text import printable

__all__ = [
    "LineFormatter",
    "LogFormat",
    "announce",
    "log_to_stderr",
    "run_service",
    "run_until_stopped",
    "stopped_like_ctrl_c",
]


T = TypeVar("T")


def run_service(main: Coroutine[Any, Any, T]) -> T:
    """Run the main coroutine of a service, on uvloop where it is installed.

    Not for whoever waits for less than a millisecond, which its timers round up to.
    """
    make_loop: Callable[[], asyncio.AbstractEventLoop] | None = None
    with contextlib.suppress(ImportError):
        make_loop = importlib.import_module("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=make_loop) as runner:
        return runner.run(main)


async def run_until_stopped(
    app: service.Service | service.Registry,
    *,
    certificate: Path,
    key: Path | None,
    host: str,
    port: int,
    ready: Callable[[str], None],
) -> Exit:
    """Serve over TLS until SIGTERM, SIGHUP or Ctrl-C, then say goodbye to everybody.

    Args:
        app: what to serve.
        certificate: a PEM file.
        key: a PEM file.
        host: the address to listen on.
        port: 0 for any that is free.
        ready: called with ``address:port`` once somebody can connect.

    Raises:
        ConfigError: certificate or key cannot be read, or the port is taken.
    """
    async with service.serving(
        app, certificate=certificate, key=key, host=host, port=port
    ) as bound:
        stopped = asyncio.create_task(_told_to_stop())
        # The task must listen to the signals before anybody is told to send one.
        await asyncio.sleep(0)
        # What was loaded lives as long as the process. Walking through it all would
        # stop the service for some 15 ms, again and again.
        gc.collect()
        gc.freeze()
        ready(f"[{host}]:{bound}" if ":" in host else f"{host}:{bound}")
        return await stopped


def announce(text: str, *, as_json: bool, **facts: str) -> None:
    """Print the one line that says that somebody can connect.

    Args:
        text: for people.
        as_json: print the facts instead.
        facts: for programs; the process id is added.
    """
    if as_json:
        print(json.dumps({"ready": True, **facts, "pid": os.getpid()}), flush=True)
    else:
        print(f"{printable(text)}  (Ctrl-C stops)", flush=True)


class LogFormat(StrEnum):
    """What a log line looks like."""

    TEXT = "text"
    JSON = "json"


class LineFormatter(logging.Formatter):
    """A line for people, in which nobody else's words can forge a second one.

    A message is one line; the lines of a traceback are indented.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Return the line, with the message made printable."""
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """Return the traceback, indented."""
        lines = super().formatException(ei).split("\n")
        return "\n".join(f"    {printable(line)}" for line in lines)


def log_to_stderr(log_format: LogFormat = LogFormat.TEXT) -> None:
    """Log what the service does, one line each; of others, only their warnings."""
    handler = logging.StreamHandler(sys.stderr)
    is_json = log_format is LogFormat.JSON
    handler.setFormatter(service.JsonLogFormatter() if is_json else LineFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("sage").setLevel(logging.INFO)


@contextmanager
def stopped_like_ctrl_c() -> Iterator[None]:
    """Let a polite kill end the child processes too, as Ctrl-C does."""
    if sys.platform == "win32":
        yield
        return
    before = {
        number: signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN  # as `nohup` wants it
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _told_to_stop() -> Exit:
    """Wait for SIGTERM, SIGINT, or the end of the terminal."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[Exit] = loop.create_future()

    def tell(code: Exit) -> None:
        if not told.done():
            told.set_result(code)

    if sys.platform == "win32":  # Ctrl-C still raises KeyboardInterrupt
        return await told
    codes = {signal.SIGTERM: Exit.OK, signal.SIGINT: Exit.INTERRUPTED}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as `nohup` wants it
        codes[signal.SIGHUP] = Exit.OK
    for number, code in codes.items():
        loop.add_signal_handler(number, tell, code)
    try:
        return await told
    finally:
        for number in codes:
            loop.remove_signal_handler(number)
