"""Options that several commands share, and what they turn into."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, TypeAlias
from urllib.parse import urlsplit

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
from ..identity.files import read_regular, reason

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
    "check_domain",
    "check_host",
    "check_url",
    "decrypt_agent",
    "domain_of",
    "is_plain",
    "load_agent",
    "read_passphrase",
    "require_regular",
    "require_writable",
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


def check_domain(text: str) -> str:
    """Accept a domain on the command line, as it stands in a DID.

    Raises:
        typer.BadParameter: no DID can have it.
    """
    try:
        return parse_did(f"did:sage:web:{text}:x").locator
    except DecodeError as exc:
        raise typer.BadParameter(
            f"{text!r} is not a domain in lower case, such as agents.example"
        ) from exc


def check_url(text: str) -> str:
    """Accept the URL of a service on the command line.

    Raises:
        typer.BadParameter: it is none that could be connected to.
    """
    try:
        parts = urlsplit(text)
        # A port that is no number, or too large, raises.
        well = bool(parts.hostname) and parts.port != 0
    except ValueError:
        well = False
    if "@" in text:  # a password is not said again
        raise typer.BadParameter("the URL of a service has no user name")
    if not well or parts.scheme not in ("wss", "https") or not is_plain(text):
        raise typer.BadParameter(
            f"{text!r} is not a URL such as wss://host:port/sage, with a port"
            " from 1 to 65535"
        )
    return text


def check_host(text: str) -> str:
    """Accept an address to listen on. None would be every one of this machine.

    Raises:
        typer.BadParameter: it is none.
    """
    if not is_plain(text):
        raise typer.BadParameter(f"{text!r} is not an address such as 127.0.0.1")
    return text


def is_plain(text: str) -> bool:
    """Whether there is a text, all of it can be printed, and nothing is a space."""
    return bool(text) and text.isprintable() and " " not in text


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
Host: TypeAlias = Annotated[
    str, typer.Option(help="The address to listen on.", callback=check_host)
]
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
        ConfigError: see `Agent.load` and `read_passphrase`; the text names the file.
    """
    # Before asking: nobody likes to type a passphrase for nothing.
    read_private_file(file)
    return decrypt_agent(file, read_passphrase(passphrase_file))


def decrypt_agent(file: Path, passphrase: str) -> service.Agent:
    """Read an agent file.

    Raises:
        ConfigError: see `Agent.load`; the text names the file.
    """
    try:
        return service.Agent.load(file, passphrase=passphrase)
    except ConfigError as exc:
        if str(file) in str(exc):
            raise
        raise ConfigError(f"{file}: {exc}") from exc


def require_regular(*files: Path | None) -> None:
    """Refuse a pipe or a device, for which whoever opens it would wait.

    Raises:
        ConfigError: one of them is such a thing, or cannot be read.
    """
    for file in files:
        if file is not None:
            try:
                read_regular(file, 0)
            except (OSError, ValueError) as exc:
                raise ConfigError(f"cannot read {file}: {reason(exc)}") from exc


def require_writable(*files: Path | None) -> None:
    """Refuse a file that cannot be written, and leave no trace of having tried.

    Raises:
        ConfigError: one of them is such a file.
    """
    flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)
    for file in files:
        if file is None:
            continue
        if file.name == str(file) == "-":
            raise ConfigError("cannot write -: the standard output is /dev/stdout")
        try:
            is_new = not file.exists()
            # Whoever reads from it would see its end. A shell's own is kept open.
            if file.is_fifo() and not file.is_relative_to("/dev/fd"):
                raise ConfigError(f"cannot write {file}: it is a named pipe")
            os.close(os.open(file, flags | getattr(os, "O_CLOEXEC", 0), 0o666))
            if is_new:
                file.resolve().unlink()
        except (OSError, ValueError) as exc:
            raise ConfigError(f"cannot write {file}: {reason(exc)}") from exc


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
