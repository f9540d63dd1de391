"""The host map as a file: where names lead in a network without public DNS.

::

    {"agents.example": {"address": "127.0.0.1", "port": 8444, "ca": "ca.pem"}}

``port`` is 443 and ``ca`` the system's authorities where they are left out. A relative
``ca`` is relative to the file's folder.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final, NoReturn

from ..encoding import parse_strict
from ..errors import ConfigError, DecodeError
from ..identity.files import as_path, read_regular
from .address import HostAddress, HostMap, tls_context

__all__ = ["load_host_map"]

_MAX_BYTES: Final = 1024 * 1024
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_MEMBERS: Final = frozenset(("address", "port", "ca"))


def load_host_map(path: str | os.PathLike[str]) -> HostMap:
    """Read a host map, and try each certificate file that it names.

    Raises:
        ConfigError: it cannot be read, or anything in it is not what it must be.
    """
    file = as_path(path)
    try:
        value = parse_strict(read_regular(file, _MAX_BYTES), max_bytes=_MAX_BYTES)
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}") from exc
    except DecodeError as exc:
        raise ConfigError(f"{path} is not a host map: {exc}") from exc
    if not isinstance(value, dict):
        _refuse(file, "it is not an object of names")
    return {name: _host(file, name, entry) for name, entry in value.items()}


def _host(file: Path, name: str, entry: object) -> HostAddress:
    if not _NAME.fullmatch(name):
        _refuse(file, f"{name!r} is not a host name in lower case")
    if not isinstance(entry, dict) or "address" not in entry:
        _refuse(file, f"{name} has no address")
    unknown = sorted(entry.keys() - _MEMBERS)
    if unknown:
        _refuse(file, f"{name} has an unknown member {unknown[0]!r}")
    address, port, ca = entry["address"], entry.get("port", 443), entry.get("ca")
    if not isinstance(address, str) or not address or not address.isprintable():
        _refuse(file, f"the address of {name} is not a text")
    if type(port) is not int or not 1 <= port <= 65535:
        _refuse(file, f"the port of {name} is not 1..65535")
    if ca is not None and (not isinstance(ca, str) or not ca or "\0" in ca):
        _refuse(file, f"the ca of {name} is not a file name")
    authorities = None if ca is None else file.parent / ca
    if authorities is not None:
        tls_context(authorities)
    return HostAddress(address=address, port=port, ca=authorities)


def _refuse(file: Path, why: str) -> NoReturn:
    raise ConfigError(f"{file} is not a host map: {why}")
