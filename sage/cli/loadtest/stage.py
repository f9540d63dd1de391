"""A service of our own for a load test without a URL: another process, over TLS."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ... import service
from ...identity import MemoryResolver
from ...transport.address import tls_context
from ..demo.children import run_child
from ..demo.stage import issue_certificates, make_agents
from .cores import cores_apart
from .link import Connect
from .plan import Mode, Plan

__all__ = ["Stage", "staged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where a load goes.

    Attributes:
        url: of the service.
        connect: opens a channel to it.
        cores: ours and the service's, where each has one to itself.
    """

    url: str
    connect: Connect
    cores: tuple[int, int] | None = None


@asynccontextmanager
async def staged(plan: Plan) -> AsyncIterator[Stage]:
    """Start a service on loopback; yield where it is.

    Args:
        plan: how many connections it must hold, and over which scheme.

    Raises:
        ConfigError: it did not start, or trustme is missing.
    """
    with tempfile.TemporaryDirectory(prefix="sage-loadtest-") as name:
        top = Path(name)
        issue_certificates(top)
        ada, grace = make_agents(top)
        resolver = MemoryResolver([ada.record, grace.record])
        tls = tls_context(top / "ca.pem")
        async with run_child(
            *("loadtest-service", f"{top / 'grace.sage'}"),
            *("--passphrase-file", f"{top / 'passphrase'}"),
            *("--certificate", f"{top / 'tls.pem'}", "--port", "0", "--json-ready"),
            *("--records", f"{top / 'records'}"),
            *("--connections", f"{plan.connections + 1}"),
            log=top / "grace.log",
        ) as child:
            url = child.url
            if plan.mode is Mode.HTTP:
                url = url.replace("wss:", "https:", 1)

            async def connect() -> service.Channel:
                return await service.connect(
                    url, agent=ada, peer=grace.did, resolver=resolver, tls=tls
                )

            with cores_apart(int(child.facts["pid"])) as cores:
                yield Stage(url=url, connect=connect, cores=cores)
