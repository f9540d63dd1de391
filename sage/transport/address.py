"""Which network address a name may lead to: the host map, and no private ones.

A DID names the host that is asked for its record, and strangers choose their DIDs.
Without a policy, a stranger could point us at `localhost` or at a cloud's metadata
service (server-side request forgery). So a name must resolve to public addresses
only, and the connection goes to the very address that was checked; whoever runs
agents in a private network says so with a host map.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import TypeAlias

from ..errors import ConfigError, ConnectFailed, UsageError
from ..identity.files import as_path, read_regular, reason
from ..limits import RESOLUTION_READS_MAX
from ..runtime.bounds import check_count
from ..runtime.parts import check_kind

__all__ = [
    "HostAddress",
    "HostMap",
    "check_host_map",
    "is_public",
    "resolve_address",
    "tls_context",
]

# The authorities of the whole web are 250 KB.
_PEM_MAX_BYTES = 4 * 1024 * 1024

_NAT64 = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAddress:
    """Where a name leads, for deployments without public DNS.

    Attributes:
        address: an IP address or a resolvable name; may be private.
        port: TCP port.
        ca: a PEM file with the only certificate authorities trusted for this
            name, or ``None`` for the system's.

    Raises:
        UsageError: nothing that could be connected to.
    """

    address: str
    port: int = 443
    ca: Path | str | None = None

    def __post_init__(self) -> None:
        """Refuse what no connection could be made to."""
        check_kind(self.address, str, "address")
        check_count(self.port, "port")
        if not self.address or self.port > 65535:
            raise UsageError("an address is a name or number and a port to 65535")
        if self.ca is not None:
            as_path(self.ca)


HostMap: TypeAlias = Mapping[str, HostAddress]


def check_host_map(host_map: object) -> HostMap:
    """Return a copy of a host map that is one.

    Raises:
        UsageError: it maps no names, or to something else than `HostAddress`.
    """
    if not isinstance(host_map, Mapping):
        raise UsageError(f"a host map is a mapping, not {type(host_map).__name__}")
    for name, where in host_map.items():
        if not isinstance(where, HostAddress):
            kind = type(where).__name__
            raise UsageError(f"{name!r} leads to a HostAddress, not to {kind}")
    return dict(host_map)


async def resolve_address(host: str, host_map: HostMap) -> tuple[str, int]:
    """Return the address and port to connect to for ``host``.

    Raises:
        ConnectFailed: the name does not resolve, or resolves to an address that is
            not public and that the host map does not name.
    """
    mapped = host_map.get(host)
    if mapped is not None:
        return mapped.address, mapped.port
    try:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(_look_ups(), socket.getaddrinfo, host, 443)
    except OSError as exc:
        raise ConnectFailed(f"{host} does not resolve: {exc.strerror}") from exc
    except UnicodeError as exc:  # IDNA does not take it
        raise ConnectFailed(f"{host} does not resolve: {exc}") from exc
    addresses = [str(entry[4][0]) for entry in found]
    # One private address among public ones is a rebinding attempt, not a choice.
    if not addresses or not all(map(is_public, addresses)):
        raise ConnectFailed(f"{host} resolves to an address that is not public")
    return addresses[0], 443


@lru_cache(maxsize=1)
def _look_ups() -> ThreadPoolExecutor:
    """Return the threads that ask the system for addresses, one for each read.

    The loop's own are six or so: strangers name the hosts, and a name server of theirs
    that takes its time would keep everybody else from looking anything up.
    """
    return ThreadPoolExecutor(RESOLUTION_READS_MAX, thread_name_prefix="sage-look-up")


if hasattr(os, "register_at_fork"):
    # A child has none of its parent's threads.
    os.register_at_fork(after_in_child=_look_ups.cache_clear)


def is_public(address: str) -> bool:
    """Whether an IP address, or the IPv4 address embedded in it, is global unicast."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and ip.is_site_local:
        return False  # fec0::/10: deprecated, private, and "global" to Python
    embedded = _embedded_ipv4(ip)
    if embedded is not None:
        return is_public(str(embedded))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _embedded_ipv4(ip: IPv4Address | IPv6Address) -> IPv4Address | None:
    if isinstance(ip, IPv4Address):
        return None
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo and ip.teredo[1])


@lru_cache(maxsize=256)
def tls_context(ca: Path | str | None = None) -> ssl.SSLContext:
    """Return a client context: TLS 1.2 or newer, names checked.

    Args:
        ca: a PEM file with the only authorities to trust; ``None`` for the system's.

    Raises:
        ConfigError: the file is missing, no regular file, or holds no certificate.
    """
    try:
        # Read here: OpenSSL would wait for whoever writes to a pipe.
        pem = None if ca is None else read_regular(as_path(ca), _PEM_MAX_BYTES).decode()
        if pem == "":
            raise ValueError("it is empty")
        context = ssl.create_default_context(cadata=pem)
    except (OSError, ValueError) as exc:  # ssl.SSLError is the first
        raise ConfigError(
            f"cannot read certificate authorities from {ca}: {reason(exc)}"
        ) from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
