"""``sage send``: files to an agent, receipts back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .. import service
from ..errors import ConfigError
from ..transport.address import tls_context
from .exits import Exit
from .files import find_files
from .options import (
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
from .progress import showing_progress
from .sending import Outcome, send_files
from .terminal import make_console, make_table
from .text import readable_bytes

__all__ = ["checksum_line", "print_failures", "send"]

_SHOWN = 20


def send(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A file, or a folder with all below.")
    ],
    agent: Annotated[
        Path, typer.Option(metavar="AGENTFILE", help="Who sends: an agent file.")
    ],
    to: Annotated[
        str, typer.Option("--to", metavar="DID", callback=check_did, help="To whom.")
    ],
    url: Annotated[
        str,
        typer.Option(
            metavar="WSS-URL",
            callback=check_url,
            help="Where: wss://host:port/sage.",
        ),
    ],
    host_map: HostMapFile = None,
    records: RecordsFolder = None,
    ca: AuthoritiesFile = None,
    passphrase_file: PassphraseFile = None,
    parallel: Annotated[
        int, typer.Option(min=1, max=64, help="Files on their way at once.")
    ] = 8,
    receipts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the receipts to FILE, as `sha256sum --check` reads them.",
        ),
    ] = None,
) -> Exit:
    """Send files to an agent, and check its receipt for each of them.

    Links and other special files below a folder are skipped, and named. Exits with 1
    when a single receipt is missing.
    """
    files = list(find_files(path))
    if all(found.note for found in files):
        raise ConfigError(f"there is no file to send at {path}")
    require_writable(receipts)
    console, tls = make_console(), tls_context(ca)
    sender = load_agent(agent, passphrase_file)
    domains = domain_of(sender.did), domain_of(to)

    async def run() -> Outcome:
        async with (
            resolving(host_map, records, domains=domains) as resolver,
            service.connect(
                url,
                agent=sender,
                peer=to,
                resolver=resolver,
                tls=tls,
            ) as channel,
        ):
            with showing_progress(console, files) as progress:
                return await send_files(
                    channel.request, files, progress=progress, parallel=parallel
                )

    outcome = asyncio.run(run())
    if receipts is not None:
        _write_receipts(receipts, outcome)
    _print_summary(console, outcome)
    return Exit.FAILED if outcome.failures else Exit.OK


def checksum_line(path: str, sha256: str) -> str:
    """Return one line as GNU sha256sum writes it."""
    escaped = path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == path else chr(92)}{sha256}  {escaped}\n"


def print_failures(console: Console, outcome: Outcome) -> None:
    """Name what was skipped, and what has no receipt, at most twenty of each."""
    for title, entries in (
        ("skipped", outcome.skipped),
        ("no receipt", outcome.failures),
    ):
        if entries:
            shown = list(entries.items())[:_SHOWN]
            console.print(make_table(title, "why", rows=shown))
        if len(entries) > _SHOWN:
            console.print(f"... and {len(entries) - _SHOWN} more")


def _print_summary(console: Console, outcome: Outcome) -> None:
    total, seconds = outcome.total_bytes, max(outcome.seconds, 1e-9)
    messages = len(outcome.latencies_s)
    rows = [
        ("receipts", f"{len(outcome.receipts)}, missing {len(outcome.failures)}"),
        ("bytes", readable_bytes(total)),
        ("time", f"{seconds:.2f} s"),
        (
            "rate",
            f"{messages / seconds:.0f} msg/s, {readable_bytes(total / seconds)}/s",
        ),
    ]
    print_failures(console, outcome)
    console.print(make_table("", "", rows=rows))


def _write_receipts(file: Path, outcome: Outcome) -> None:
    lines = [
        checksum_line(path, sha256)
        for path, (_, sha256) in sorted(outcome.receipts.items())
    ]
    try:
        file.write_text("".join(lines), encoding="utf-8", newline="")
    except OSError as exc:
        raise ConfigError(f"cannot write {file}: {exc.strerror}") from exc
