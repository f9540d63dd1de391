"""``sage registry``: publish records, and serve them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import service
from ..errors import ConfigError, ResolutionError
from ..identity import AgentRecord, parse_record, write_record_file
from ..identity.files import read_regular, reason
from ..limits import KEYSTORE_MAX_BYTES
from .options import (
    Certificate,
    Host,
    JsonReady,
    PassphraseFile,
    PrivateKey,
    load_agent,
    require_regular,
)
from .running import announce, log_to_stderr, run_service, run_until_stopped

__all__ = ["registry"]

registry = typer.Typer(no_args_is_help=True, help="Publish records, and serve them.")


@registry.command()
def serve(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="What was published there is served.")
    ],
    certificate: Certificate,
    key: PrivateKey = None,
    host: Host = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="0: any free one.")
    ] = 8444,
    json_ready: JsonReady = False,
) -> int:
    """Serve records at their well-known URLs, over HTTPS.

    The record of did:sage:web:<domain>:<agent-id> is served at
    https://<domain>/.well-known/sage/agents/<agent-id>, read afresh each time.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder; publish a record there first")
    require_regular(certificate, key)
    log_to_stderr()

    def ready(address: str) -> None:
        url = f"https://{address}"
        announce(f"serving {folder} at {url}", as_json=json_ready, url=url)

    return run_service(
        run_until_stopped(
            service.Registry(folder),
            certificate=certificate,
            key=key,
            host=host,
            port=port,
            ready=ready,
        )
    )


@registry.command()
def publish(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="AGENTFILE|RECORD.json",
            help="An agent file, or what `sage agent show --record` printed.",
        ),
    ],
    to: Annotated[
        Path, typer.Option("--to", metavar="DIR", help="The registry's folder.")
    ],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Publish a record, or its next version, in a registry's folder.

    The record must follow from the one that is there: one version more, no key
    replaced, none that was revoked accepted again.
    """
    record = _record(file, passphrase_file)
    try:
        path = write_record_file(to, record)
    except ResolutionError as exc:
        raise ConfigError(
            f"{record.id} version {record.version} cannot be published in {to}: {exc};"
            f" compare with: sage agent verify {record.id} --records {to}"
        ) from exc
    print(f"published {record.id} version {record.version}: {path}")


def _record(file: Path, passphrase_file: Path | None) -> AgentRecord:
    """Return the record of an agent file, or of a file that holds just a record."""
    try:
        data = read_regular(file, KEYSTORE_MAX_BYTES)
    except (OSError, ValueError) as exc:
        raise ConfigError(f"cannot read {file}: {reason(exc)}") from exc
    if not data.lstrip().startswith(b"{"):
        agent = load_agent(file, passphrase_file)
        agent.wipe()
        return agent.record
    try:
        return parse_record(data.strip())
    except ResolutionError as exc:
        raise ConfigError(f"{file} is not a record: {exc} ({exc.code})") from exc
