"""Options that several commands share, and what they turn into."""

from __future__ import annotations

import getpass
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from .. import service, transport
from ..errors import ConfigError, DecodeError, UsageError
from ..identity import (
    FileResolver,
    Resolver,
    VersionFloor,
    parse_did,
    read_private_file,
)

__all__ = [
    "AgentFile",
    "AuthoritiesFile",
    "Certificate",
    "Host",
    "HostMapFile",
    "JsonReady",
    "PassphraseFile",
    "PrivateKey",
    "RecordsFolder",
    "check_did",
    "domain_of",
    "load_agent",
    "read_passphrase",
    "resolving",
]


def check_did(text: str) -> str:
    """Accept a DID on the command line.

    Raises:
        typer.BadParameter: it is not one.
    """
    try:
        return parse_did(text).did
    except DecodeError as exc:
        raise typer.BadParameter(
            f"{exc}: expected did:sage:web:<domain>:<agent-id>"
        ) from exc


AgentFile: TypeAlias = Annotated[
    Path, typer.Argument(metavar="AGENTFILE", help="From `sage agent new`.")
]
PassphraseFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Take the passphrase from the first line of FILE, which only its owner"
        " may read, instead of asking.",
    ),
]
AuthoritiesFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="PEM file with the only certificate authorities to trust for the URL;"
        " the system's without it.",
    ),
]
HostMapFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="JSON that says where registries are, without public DNS:"
        ' {"name": {"address": "127.0.0.1", "port": 8444, "ca": "ca.pem"}}.',
    ),
]
RecordsFolder: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Read records from a folder, not a registry."),
]
Host: TypeAlias = Annotated[str, typer.Option(help="The address to listen on.")]
Certificate: TypeAlias = Annotated[
    Path, typer.Option(metavar="FILE", help="PEM file with the certificate chain.")
]
PrivateKey: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="PEM file with the certificate's key, if it is not in the same file.",
    ),
]
JsonReady: TypeAlias = Annotated[
    bool,
    typer.Option("--json-ready", help="Print the line that says `ready` as JSON."),
]


def domain_of(did: str) -> str:
    """Return the domain whose registry holds an agent's record."""
    return parse_did(did).locator


def read_passphrase(
    file: Path | None, *, twice: bool = False, prompt: str = "Passphrase"
) -> str:
    """Return the passphrase from a file, or ask for it on the terminal.

    Args:
        file: its first line counts; only its owner may be able to read it.
        twice: ask twice, for a new one.
        prompt: what to ask for.

    Raises:
        ConfigError: no such file, open to others, not text, empty; or there is no
            terminal to ask on; or the two differ.
    """
    if file is None:
        return _ask(twice=twice, prompt=prompt)
    try:
        passphrase = read_private_file(file).decode("utf-8").partition("\n")[0]
    except UnicodeDecodeError:
        raise ConfigError(f"the passphrase in {file} is not UTF-8") from None
    passphrase = passphrase.rstrip("\r")
    if not passphrase:
        raise ConfigError(
            f"the first line of {file} is empty; put the passphrase there"
        )
    return passphrase


def load_agent(file: Path, passphrase_file: Path | None) -> service.Agent:
    """Read an agent file, asking for its passphrase where no file has it.

    Raises:
        ConfigError: see `Agent.load` and `read_passphrase`.
    """
    # Before asking: nobody likes to type a passphrase for nothing.
    read_private_file(file)
    return service.Agent.load(file, passphrase=read_passphrase(passphrase_file))


@asynccontextmanager
async def resolving(
    host_map: Path | None,
    records: Path | None,
    *,
    domains: Iterable[str],
    floor: VersionFloor | None = None,
) -> AsyncIterator[Resolver]:
    """Give the resolver that the options ask for: a folder's, or the web's.

    Args:
        host_map: a file; its names may be asked for records.
        records: a folder, instead of any registry.
        domains: what else may be asked (REG-08). Strangers choose their names, and
            so which server we would send a question to.
        floor: what remembers versions; for the time of the process when not given.

    Raises:
        UsageError: both were given.
        ConfigError: the host map or the folder cannot be read.
    """
    if records is None:
        names = {} if host_map is None else transport.load_host_map(host_map)
        resolver = transport.WebResolver(
            host_map=names,
            allowed_domains={*names, *domains},
            version_floor=floor,
        )
        try:
            yield resolver
        finally:
            await resolver.close()
        return
    if host_map is not None:
        raise UsageError("--host-map and --records exclude each other; give one")
    if not records.is_dir():
        raise ConfigError(f"{records} is not a folder; publish a record there first")
    yield FileResolver(records, floor=floor)


def _ask(*, twice: bool, prompt: str) -> str:
    if not sys.stdin.isatty():
        raise ConfigError(
            "there is no terminal to ask for the passphrase; use --passphrase-file"
        )
    passphrase = getpass.getpass(f"{prompt}: ")
    if not passphrase:
        raise ConfigError("the passphrase is empty; try again")
    if twice and getpass.getpass("Once more: ") != passphrase:
        raise ConfigError("the two passphrases differ; try again")
    return passphrase
