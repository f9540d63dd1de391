"""``sage demo``: the whole of sage, on this machine, in a few seconds."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from ... import service
from ..._accel import backend
from ...errors import ConfigError
from ..exits import Exit
from ..files import Found, find_files
from ..progress import showing_progress
from ..running import stopped_like_ctrl_c
from ..send import print_failures
from ..sending import Outcome, send_files
from ..streaming import Streamed, stream_files
from ..terminal import make_console, make_table
from ..text import printable, readable_bytes

if TYPE_CHECKING:
    from .attacks import Verdict
    from .stage import Stage

__all__ = ["default_folder", "demo"]


@dataclass(slots=True)
class _Run:
    """What the transfer came to."""

    outcome: Outcome
    sessions: int
    handshake_s: float
    streamed: Streamed

    @property
    def complete(self) -> bool:
        return not self.outcome.failures and not self.streamed.failures


def demo(
    path: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="What to send; the documentation without it."),
    ] = None,
) -> Exit:
    """Run two agents over TLS, send real files, then try to break in.

    Grace serves in one process, a registry in another; Ada, in this one, resolves
    Grace, shakes hands, sends every file below DIR, and checks each SHA-256 receipt;
    then she streams them once more, and checks the receipts again.
    Then a replay, a tampered message and an impostor are tried, and must be refused.
    Exits with 1 when a receipt is missing or an attack is not refused.
    """
    top = default_folder() if path is None else path
    files = list(find_files(top))
    if all(found.note for found in files):
        raise ConfigError(f"there is no file to send at {top}")
    console = make_console()
    with stopped_like_ctrl_c():
        run, verdicts = asyncio.run(_play(console, top, files))
    _print_conclusion(console, run, verdicts)
    refused = all(verdict.refused for verdict in verdicts)
    return Exit.OK if run.complete and refused else Exit.FAILED


def default_folder() -> Path:
    """Return the documentation of a checkout, or else the installed package."""
    package = Path(__file__).parents[2]
    checkout = package.parent
    docs = checkout / "docs"
    return (
        docs if (checkout / "pyproject.toml").is_file() and docs.is_dir() else package
    )


async def _play(
    console: Console, top: Path, files: list[Found]
) -> tuple[_Run, list[Verdict]]:
    """Set the stage, send the files, attack."""
    # These need extras that other commands can do without.
    from .attacks import attack
    from .stage import staged

    core = backend()
    console.print(f"core      {core['core']} ({core['reason']})")
    console.print(f"engine    {core['engine']}, OpenSSL {core['openssl']}")
    async with staged() as stage:
        console.print(
            f"registry  {stage.registry.url}  process {stage.registry.facts['pid']}"
        )
        console.print(
            f"grace     {stage.server.url}  process {stage.server.facts['pid']}"
        )
        sent = sum(found.note is None for found in files)
        console.print(f"ada       sends {sent} files below {printable(str(top))}\n")
        run = await _send(console, stage, files)
        _print_run(console, run)
        verdicts = []
        async for verdict in attack(stage):
            verdicts.append(verdict)
    _print_verdicts(console, verdicts)
    return run, verdicts


async def _send(console: Console, stage: Stage, files: list[Found]) -> _Run:
    sessions: set[str] = set()
    started = time.perf_counter()
    async with service.connect(
        stage.server.url,
        agent=stage.ada,
        peer=stage.grace.did,
        resolver=stage.resolver,
        tls=stage.tls,
    ) as channel:
        handshake_s = time.perf_counter() - started

        async def ask(payload: bytes) -> bytes:
            answer = await channel.request(payload)
            if channel.session_id is not None:
                sessions.add(channel.session_id)
            return answer

        with showing_progress(console, files) as progress:
            outcome = await send_files(ask, files, progress=progress)
        with showing_progress(console, files) as progress:
            async with channel.stream() as stream:
                streamed = await stream_files(stream, files, progress=progress)
    return _Run(outcome, len(sessions), handshake_s, streamed)


def _print_run(console: Console, run: _Run) -> None:
    outcome, core = run.outcome, backend()
    seconds = max(outcome.seconds, 1e-9)
    latencies = (f"{outcome.latency_s(q) * 1000:.1f}" for q in (0.5, 0.95, 0.99))
    messages, size = len(outcome.latencies_s), outcome.total_bytes
    rows = [
        ("backend", f"{core['core']} core, {core['engine']} engine"),
        ("connect and handshake", f"{run.handshake_s * 1000:.0f} ms"),
        ("sessions", f"{run.sessions}"),
        (
            "files",
            f"{len(outcome.receipts)} with a receipt, {len(outcome.failures)} without",
        ),
        ("messages", f"{messages} requests, each with its answer"),
        ("bytes", f"{size} ({readable_bytes(size)})"),
        ("latency p50 / p95 / p99", f"{' / '.join(latencies)} ms"),
        ("time", f"{seconds:.2f} s"),
        ("rate", f"{messages / seconds:.0f} msg/s, {size / seconds / 1e6:.1f} MB/s"),
        *_stream_rows(run.streamed),
    ]
    print_failures(console, outcome)
    console.print(make_table("", "", rows=rows))


def _stream_rows(streamed: Streamed) -> list[tuple[str, str]]:
    seconds, size = max(streamed.seconds, 1e-9), streamed.total_bytes
    rate = f"{streamed.records / seconds:.0f} msg/s, {size / seconds / 1e6:.1f} MB/s"
    return [
        (
            "streamed",
            f"{streamed.files} files with a receipt, {len(streamed.failures)} without",
        ),
        ("stream messages", f"{streamed.records} records, {readable_bytes(size)}"),
        ("stream rate", rate),
    ]


def _print_verdicts(console: Console, verdicts: list[Verdict]) -> None:
    rows = [
        (
            verdict.attack,
            verdict.ours,
            verdict.theirs or "-",
            Text("refused", "green")
            if verdict.refused
            else Text("NOT REFUSED", "bold red"),
        )
        for verdict in verdicts
    ]
    console.print(
        make_table("attack", "what Ada's side saw", "Grace logged", "", rows=rows)
    )


def _print_conclusion(console: Console, run: _Run, verdicts: list[Verdict]) -> None:
    missing = len(run.outcome.failures)
    passed = sum(verdict.refused for verdict in verdicts)
    console.print(
        f"{len(run.outcome.receipts)} receipts verified, {missing} missing;"
        f" {passed} of {len(verdicts)} attacks refused."
    )
