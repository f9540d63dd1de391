"""Paths that no system can be asked about, wherever one is taken."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from sage import Agent
from sage.envelope import SqliteReplayGuard
from sage.errors import ConfigError, UsageError
from sage.identity import FileResolver, KeyStore, write_record_file
from sage.identity.keystore import read_private_file, write_private_file
from sage.identity.resolver import record_file
from sage.identity.version_floor import VersionFloor
from sage.service.hosting import _context
from sage.service.registry import Registry
from sage.transport.address import tls_context
from sage.transport.host_map import load_host_map

PASSPHRASE = "correct horse"
ADA = Agent.generate("did:sage:web:agents.example:ada")
TAKERS: dict[str, Callable[[Any], object]] = {
    "Agent.save": lambda path: ADA.save(path, passphrase=PASSPHRASE, scrypt_n=1024),
    "Agent.load": lambda path: Agent.load(path, passphrase=PASSPHRASE),
    "write_private_file": lambda path: write_private_file(path, b"secret"),
    "read_private_file": read_private_file,
    "KeyStore": lambda path: KeyStore(path, entropy=os.urandom),
    "KeyStore.create": lambda path: KeyStore.create(path, entropy=os.urandom),
    "FileResolver": FileResolver,
    "record_file": lambda path: record_file(path, ADA.did),
    "write_record_file": lambda path: write_record_file(path, ADA.record),
    "SqliteReplayGuard": SqliteReplayGuard,
    "Registry": Registry,
    "VersionFloor": VersionFloor,
    "a host map": load_host_map,
    "authorities": tls_context,
    "a certificate": lambda path: _context(path, None),
    "a certificate's key": lambda path: _context(__file__, path),
}
ALL = pytest.mark.parametrize("take", TAKERS.values(), ids=TAKERS)


@ALL
def test_a_null_character_is_refused(take: Callable[[Any], object]) -> None:
    for path in ("\0", "folder/\0name", os.path.join(os.sep, "tmp", "a\0")):
        with pytest.raises(ConfigError):
            take(path)


@ALL
@pytest.mark.skipif(os.name != "posix", reason="elsewhere paths are not bytes")
def test_a_text_without_bytes_is_refused(take: Callable[[Any], object]) -> None:
    for path in ("\ud800", "folder/\ud800name", os.path.join(os.sep, "tmp", "a\ud800")):
        with pytest.raises(ConfigError):
            take(path)


@ALL
def test_what_is_no_path_is_refused(take: Callable[[Any], object]) -> None:
    for path in (5, b"bytes", object()):
        with pytest.raises(UsageError, match="path"):
            take(path)
