"""``sage serve``: a service that receives files and gives receipts."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated

import typer

from .. import service, transport
from ..envelope import SqliteReplayGuard
from ..errors import UsageError
from ..identity import VersionFloor
from ..transport.metrics import Metrics
from .agent import replay_file
from .exits import Exit
from .options import (
    AgentFile,
    Certificate,
    Host,
    HostMapFile,
    JsonReady,
    PassphraseFile,
    PrivateKey,
    RecordsFolder,
    check_did,
    check_domain,
    domain_of,
    is_plain,
    load_agent,
    require_regular,
    resolving,
)
from .receiver import Receiver
from .running import LogFormat, announce, log_to_stderr, run_service, run_until_stopped
from .saving import SaveFolder

__all__ = ["serve"]


def _check_dids(texts: list[str] | None) -> list[str] | None:
    return texts and [check_did(text) for text in texts]


def _check_domains(texts: list[str] | None) -> list[str] | None:
    return texts and [check_domain(text) for text in texts]


def serve(
    file: AgentFile,
    certificate: Certificate,
    key: PrivateKey = None,
    host: Host = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="0: any free one.")
    ] = 8443,
    host_map: HostMapFile = None,
    records: RecordsFolder = None,
    save_to: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep received files below DIR, each sender's in a folder of its"
            " own (DOMAIN/AGENT-ID). Without it, they are only hashed.",
        ),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DID",
            callback=_check_dids,
            help="Receive from this agent only; may be repeated. Without it, from"
            " every agent whose record can be resolved.",
        ),
    ] = None,
    domain: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            callback=_check_domains,
            help="Ask this domain for records, too; may be repeated. Only our own,"
            " those of --allow and of --host-map are asked otherwise, because"
            " strangers choose the names they come with.",
        ),
    ] = None,
    passphrase_file: PassphraseFile = None,
    metrics: Annotated[
        bool,
        typer.Option(
            "--metrics",
            help="Answer GET /metrics, for Prometheus on this machine. Needs the"
            " extra `metrics`.",
        ),
    ] = False,
    metrics_at: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Answer GET /metrics and /health at another address, over TLS with"
            " the same certificate, to everybody who reaches it.",
        ),
    ] = None,
    log_format: Annotated[
        LogFormat, typer.Option(help="Log lines for people, or for programs.")
    ] = LogFormat.TEXT,
    json_ready: JsonReady = False,
) -> int:
    """Receive files from agents, and answer with SHA-256 receipts.

    The address is wss://HOST:PORT/sage. Health: GET https://HOST:PORT/health/live and
    /health/ready.
    """
    counts = metrics or metrics_at is not None
    counting = transport.PrometheusMetrics() if counts else None
    require_regular(certificate, key)
    agent = load_agent(file, passphrase_file)
    domains = {*map(domain_of, [agent.did, *(allow or [])]), *(domain or [])}
    log_to_stderr(log_format)
    with (
        _replay_guard(replay_file(file)) as guard,
        _receiver(save_to, allow) as receiver,
        # Beside the agent's file, so that no registry goes back across a restart.
        contextlib.closing(VersionFloor(file.with_name(f"{file.name}.seen"))) as floor,
    ):
        facts = {"did": str(agent.did)}

        def ready(address: str) -> None:
            url = f"wss://{address}/sage"
            text = f"{agent.did} listens at {url}"
            announce(text, as_json=json_ready, **facts, url=url)

        async def run() -> Exit:
            async with resolving(
                host_map, records, domains=domains, floor=floor
            ) as resolver:
                app = service.Service(
                    agent=agent,
                    resolver=resolver,
                    handler=receiver,
                    stream_handler=receiver.serve_stream,
                    guard=guard,
                    metrics=counting,
                    show_metrics=metrics,
                )
                async with contextlib.AsyncExitStack() as stack:
                    if counting is not None and metrics_at is not None:
                        facts["metrics"] = await stack.enter_async_context(
                            _watched(app, counting, metrics_at, certificate, key)
                        )
                    return await run_until_stopped(
                        app,
                        certificate=certificate,
                        key=key,
                        host=host,
                        port=port,
                        ready=ready,
                    )

        return run_service(run())


@contextlib.asynccontextmanager
async def _watched(
    app: service.Service,
    metrics: Metrics,
    address: str,
    certificate: Path,
    key: Path | None,
) -> AsyncIterator[str]:
    """Serve metrics and probes at an address of their own; yield their URL."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    is_port = port.isascii() and port.isdecimal()
    if not is_plain(host) or not is_port or int(port) > 65535:
        raise UsageError(f"--metrics-at takes HOST:PORT, not {address!r}")
    async with service.serving(
        service.MetricsApp(metrics, probes=app),
        certificate=certificate,
        key=key,
        host=host,
        port=int(port),
    ) as bound:
        yield f"https://{f'[{host}]' if ':' in host else host}:{bound}/metrics"


@contextlib.contextmanager
def _replay_guard(path: Path) -> Iterator[SqliteReplayGuard]:
    if not path.exists():
        print(
            f"sage: {path} is missing, so nobody knows what was accepted before:"
            " everything is refused for the first 6 minutes",
            file=sys.stderr,
        )
    guard = SqliteReplayGuard(path)
    try:
        yield guard
    finally:
        guard.close()


@contextlib.contextmanager
def _receiver(save_to: Path | None, allow: list[str] | None) -> Iterator[Receiver]:
    folder = None if save_to is None else SaveFolder(save_to)
    receiver = Receiver(folder=folder, allowed=allow or None)
    try:
        yield receiver
    finally:
        receiver.close()
        if folder is not None:
            folder.close()
