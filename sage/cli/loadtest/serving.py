"""``sage loadtest-service``: the other end of a load test, alone."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated

import typer

from ... import service
from ...envelope import MemoryReplayGuard
from ...errors import ConfigError
from ...identity import AgentRecord, MemoryResolver, parse_record
from ...identity.files import read_regular
from ...limits import AGENT_RECORD_MAX_BYTES
from ..exits import Exit
from ..options import (
    AgentFile,
    Certificate,
    Host,
    JsonReady,
    PassphraseFile,
    PrivateKey,
    load_agent,
    require_regular,
)
from ..running import announce, log_to_stderr, run_service, run_until_stopped
from .descriptors import allow_connections
from .responder import respond, respond_stream

__all__ = ["loadtest_service"]

# Entries of the replay guard, 130 bytes each: an hour of a thousand requests a second
# would fill the usual million within minutes, and then everything is refused.
_GUARD_ENTRIES = 8_000_000


def loadtest_service(
    file: AgentFile,
    certificate: Certificate,
    records: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="Both agents' records, as `sage registry publish` writes them; read"
            " once, at the start.",
        ),
    ],
    key: PrivateKey = None,
    host: Host = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="0: any free one.")
    ] = 8443,
    connections: Annotated[
        int, typer.Option(min=1, help="How many there may be at once.")
    ] = 10_000,
    passphrase_file: PassphraseFile = None,
    json_ready: JsonReady = False,
) -> int:
    """Answer a load test: echo requests, acknowledge the records of streams.

    It stores nothing and acts on nothing. Give it an agent of its own.
    """
    require_regular(certificate, key)
    agent = load_agent(file, passphrase_file)
    resolver = MemoryResolver(_read_records(records))
    allow_connections(connections)
    log_to_stderr()

    # Before anybody listens: signatures over HTTPS cover the address, port included.
    port = port or _free_port(host)

    def ready(address: str) -> None:
        url = f"wss://{address}/sage"
        text = f"{agent.did} listens at {url}"
        announce(text, as_json=json_ready, did=agent.did, url=url)

    async def run() -> Exit:
        app = service.Service(
            agent=agent,
            resolver=resolver,
            handler=respond,
            stream_handler=respond_stream,
            # What is replayed from before a restart can only be echoed.
            guard=MemoryReplayGuard(max_entries=_GUARD_ENTRIES, assume_no_history=True),
            # One more, so that whoever measures can always ask.
            config=service.ServiceConfig(
                max_connections=connections + 1,
                https_endpoints=frozenset({f"https://{_authority(host, port)}/sage"}),
                max_https_sessions=4 * (connections + 1),
                max_https_sessions_per_peer=4 * (connections + 1),
            ),
        )
        return await run_until_stopped(
            app, certificate=certificate, key=key, host=host, port=port, ready=ready
        )

    return run_service(run())


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port


def _read_records(folder: Path) -> list[AgentRecord]:
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder; publish a record there first")
    try:
        return [
            parse_record(read_regular(path, AGENT_RECORD_MAX_BYTES))
            for path in folder.glob("*/*.json")
        ]
    except OSError as exc:
        raise ConfigError(f"cannot read {folder}: {exc.strerror}") from exc
