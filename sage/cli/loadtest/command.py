"""``sage loadtest``: the command line of a load test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ... import service
from ...errors import ConfigError, UsageError
from ...transport.address import tls_context
from ..exits import Exit
from ..options import (
    AuthoritiesFile,
    HostMapFile,
    PassphraseFile,
    RecordsFolder,
    check_did,
    check_url,
    domain_of,
    load_agent,
    require_writable,
    resolving,
)
from ..running import stopped_like_ctrl_c
from ..terminal import make_console, make_table
from .descriptors import allow_connections
from .driver import Outcome, drive
from .latencies import make_histogram
from .pace import make_loop
from .page import as_html
from .plan import Mode, Plan
from .report import as_json, rows
from .stage import Stage, staged
from .watching import watching

__all__ = ["loadtest"]

_OWN_ONLY = "only load a service that is yours, or whose owner has agreed"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """Somebody else's service, as the options name it."""

    url: str
    peer: str
    agent: Path
    host_map: Path | None
    records: Path | None
    ca: Path | None
    passphrase_file: Path | None


def _check_peer(text: str | None) -> str | None:
    return None if text is None else check_did(text)


def _check_url(text: str | None) -> str | None:
    return None if text is None else check_url(text)


def loadtest(
    url: Annotated[
        str | None,
        typer.Argument(
            metavar="[URL]",
            callback=_check_url,
            help="A service of yours, as wss://host:port/sage; without it, one is"
            " started on loopback for the time of the test.",
        ),
    ] = None,
    mode: Annotated[Mode, typer.Option(help="What carries a message.")] = Mode.REQUEST,
    duration: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long to count.")
    ] = 10.0,
    connections: Annotated[int, typer.Option(min=1, help="Connections at once.")] = 1,
    rate: Annotated[
        float,
        typer.Option(
            min=0,
            help="Messages per second over all connections together, by the clock (an"
            " open loop). 0: as many as --in-flight allows (a closed loop).",
        ),
    ] = 0.0,
    size: Annotated[int, typer.Option(min=1, help="Bytes of a message.")] = 1024,
    in_flight: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Messages under way on each connection, at most: 16, and 1024 on"
            " streams.",
        ),
    ] = None,
    idle: Annotated[
        bool, typer.Option("--idle", help="Open the connections, and send nothing.")
    ] = False,
    warm_up: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long to send uncounted.")
    ] = 1.0,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Write everything as JSON."),
    ] = None,
    html_file: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a report with plots."),
    ] = None,
    agent: Annotated[
        Path | None,
        typer.Option(metavar="AGENTFILE", help="With a URL: who sends."),
    ] = None,
    peer: Annotated[
        str | None,
        typer.Option(
            metavar="DID", callback=_check_peer, help="With a URL: who must answer."
        ),
    ] = None,
    host_map: HostMapFile = None,
    records: RecordsFolder = None,
    ca: AuthoritiesFile = None,
    passphrase_file: PassphraseFile = None,
) -> Exit:
    """Send messages at a service, and say how many it answers and how fast.

    Latencies count from when a message was meant to leave, so that a stall is not
    forgotten. Exits with 1 when a message failed or could not be sent in time.
    """
    plan = Plan(
        mode=mode,
        duration_s=duration,
        connections=connections,
        rate=rate,
        size=size,
        in_flight=in_flight or (1024 if mode is Mode.STREAM else 16),
        warm_up_s=0.0 if idle else warm_up,
        idle=idle,
    )
    if url is None:
        target = None
        _refuse_without_url(
            agent=agent,
            peer=peer,
            host_map=host_map,
            records=records,
            ca=ca,
            passphrase_file=passphrase_file,
        )
    elif agent is None or peer is None:
        raise UsageError("a URL needs --agent and --peer: who sends, who must answer")
    elif url.startswith("https:") != (mode is Mode.HTTP):
        raise UsageError(
            "--mode http needs an https:// URL, and the other modes a wss:// one"
        )
    else:
        target = _Target(
            url=url,
            peer=peer,
            agent=agent,
            host_map=host_map,
            records=records,
            ca=ca,
            passphrase_file=passphrase_file,
        )
    # Before the test, which may take hours.
    make_histogram()
    require_writable(json_file, html_file)
    console = make_console()
    outcome = _run(console, plan, target)
    console.print(make_table("", "", rows=rows(outcome)))
    if json_file is not None:
        _write(json_file, json.dumps(as_json(outcome), indent=1) + "\n")
    if html_file is not None:
        _write(html_file, as_html(outcome))
    return Exit.FAILED if outcome.failed else Exit.OK


def _refuse_without_url(**given: Path | str | None) -> None:
    """Refuse what says something about a service that is not named.

    Raises:
        UsageError: one of them was given.
    """
    names = [f"--{name.replace('_', '-')}" for name, value in given.items() if value]
    if names:
        raise UsageError(f"{' and '.join(names)} without a URL; give that, too")


def _run(console: Console, plan: Plan, target: _Target | None) -> Outcome:
    allow_connections(plan.connections)

    async def run() -> Outcome:
        opening = staged(plan) if target is None else _foreign(target)
        async with opening as stage:
            console.print(f"service   {stage.url}")
            if target is not None:
                make_console(stderr=True).print(f"sage: {_OWN_ONLY}")
            with watching(console) as watch:
                return await drive(plan, stage.connect, watch=watch, cores=stage.cores)

    with stopped_like_ctrl_c(), asyncio.Runner(loop_factory=make_loop) as runner:
        return runner.run(run())


@asynccontextmanager
async def _foreign(target: _Target) -> AsyncIterator[Stage]:
    """Yield where somebody else's service is."""
    agent = load_agent(target.agent, target.passphrase_file)
    tls = tls_context(target.ca)
    domains = domain_of(agent.did), domain_of(target.peer)
    async with resolving(target.host_map, target.records, domains=domains) as resolver:

        async def connect() -> service.Channel:
            return await service.connect(
                target.url, agent=agent, peer=target.peer, resolver=resolver, tls=tls
            )

        yield Stage(url=target.url, connect=connect)


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"cannot write {file}: {exc.strerror}") from exc
