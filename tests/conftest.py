"""What all tests share: the two kernels, and certificates for loopback.

A test that asks for ``twin`` runs once with each. A compiled build that is missing is
an error and not a skip; ``SAGE_NO_EXTENSIONS=1`` says that it is missing on purpose.
"""

from __future__ import annotations

import importlib
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import trustme

_MODULES = {"python": "sage._core_py", "cython": "sage._core"}
_WANTED = ["python"] if os.environ.get("SAGE_NO_EXTENSIONS") == "1" else [*_MODULES]


@pytest.fixture(scope="session", params=_WANTED)
def twin(request: pytest.FixtureRequest) -> ModuleType:
    """Return the kernels' module: the specification, then the compiled one."""
    return importlib.import_module(_MODULES[request.param])


@dataclass(frozen=True)
class Tls:
    """A certificate for loopback: files for servers, contexts for both ends."""

    certificate: Path
    authority: Path
    client: ssl.SSLContext
    server: ssl.SSLContext


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """Return a certificate for localhost and agents.example, and who signed it."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost", "127.0.0.1", "agents.example")
    certificate, ca = folder / "server.pem", folder / "ca.pem"
    leaf.private_key_and_cert_chain_pem.write_to_path(str(certificate))
    authority.cert_pem.write_to_path(str(ca))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(server)
    client = ssl.create_default_context(cafile=str(ca))
    return Tls(certificate, ca, client, server)
