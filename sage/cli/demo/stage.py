"""What the demo needs: certificates, two agents, a registry and a service."""

from __future__ import annotations

import json
import secrets
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ... import service, transport
from ...errors import ConfigError
from ...identity import Resolver, write_private_file, write_record_file
from ...transport.address import tls_context
from ..agent import save_new
from .children import Child, run_child

__all__ = ["Stage", "issue_certificates", "make_agents", "staged"]

_DOMAIN: Final = "agents.example"

# These agents live for seconds, in a folder that only we can read.
_SCRYPT_N: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everything in place.

    Attributes:
        ada: sends, from this process.
        grace: receives, in another one.
        registry: the process that serves both records over HTTPS.
        server: Grace's process.
        resolver: asks the registry.
        tls: trusts the temporary certificate authority.
        certificate: a PEM file with certificate and key, for servers of our own.
    """

    ada: service.Agent
    grace: service.Agent
    registry: Child
    server: Child
    resolver: Resolver
    tls: ssl.SSLContext
    certificate: Path


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    """Set everything up in a temporary folder; take it all down again.

    Raises:
        ConfigError: a process did not start, or trustme is missing.
    """
    with tempfile.TemporaryDirectory(prefix="sage-demo-") as name:
        top = Path(name)
        issue_certificates(top)
        ada, grace = make_agents(top)
        async with (
            _registry(top) as registry,
            _resolver(top, registry) as resolver,
            _server(top) as server,
        ):
            yield Stage(
                ada=ada,
                grace=grace,
                registry=registry,
                server=server,
                resolver=resolver,
                tls=tls_context(top / "ca.pem"),
                certificate=top / "tls.pem",
            )


def issue_certificates(top: Path) -> None:
    """Make an authority of our own, and one certificate for every server here.

    Args:
        top: the folder of ``ca.pem`` and ``tls.pem``, chain and key.

    Raises:
        ConfigError: trustme is missing.
    """
    try:
        import trustme
    except ModuleNotFoundError as exc:
        raise ConfigError(
            "servers of our own need trustme: pip install 'sage-secure[cli]'"
        ) from exc
    authority = trustme.CA()
    certificate = authority.issue_cert(_DOMAIN, "127.0.0.1")
    authority.cert_pem.write_to_path(top / "ca.pem")
    write_private_file(
        top / "tls.pem", certificate.private_key_and_cert_chain_pem.bytes()
    )


def make_agents(top: Path) -> tuple[service.Agent, service.Agent]:
    """Make Ada and Grace, publish their records, and keep Grace's keys for her.

    Args:
        top: the folder of ``records``, ``grace.sage`` and its ``passphrase``.
    """
    ada, grace = (
        service.Agent.generate(f"did:sage:web:{_DOMAIN}:{name}")
        for name in ("ada", "grace")
    )
    for agent in (ada, grace):
        write_record_file(top / "records", agent.record)
    passphrase = secrets.token_urlsafe(24)
    write_private_file(top / "passphrase", passphrase.encode("ascii"))
    save_new(grace, top / "grace.sage", passphrase=passphrase, scrypt_n=_SCRYPT_N)
    return ada, grace


@asynccontextmanager
async def _registry(top: Path) -> AsyncIterator[Child]:
    async with run_child(
        *("registry", "serve", f"{top / 'records'}"),
        *("--certificate", f"{top / 'tls.pem'}", "--port", "0", "--json-ready"),
        log=top / "registry.log",
    ) as child:
        yield child


@asynccontextmanager
async def _resolver(top: Path, registry: Child) -> AsyncIterator[Resolver]:
    """Write the host map that leads to the registry, and resolve through it."""
    port = int(registry.url.rpartition(":")[2])
    entry = {"address": "127.0.0.1", "port": port, "ca": "ca.pem"}
    (top / "hosts.json").write_text(json.dumps({_DOMAIN: entry}), encoding="utf-8")
    resolver = transport.WebResolver(
        host_map=transport.load_host_map(top / "hosts.json")
    )
    try:
        yield resolver
    finally:
        await resolver.close()


@asynccontextmanager
async def _server(top: Path) -> AsyncIterator[Child]:
    async with run_child(
        *("serve", f"{top / 'grace.sage'}"),
        *("--passphrase-file", f"{top / 'passphrase'}"),
        *("--certificate", f"{top / 'tls.pem'}", "--port", "0", "--json-ready"),
        *("--host-map", f"{top / 'hosts.json'}"),
        log=top / "grace.log",
    ) as child:
        yield child
