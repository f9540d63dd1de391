"""What all tests share: the two kernels, certificates, a Redis server.

A test that asks for ``twin`` runs once with each; with the demanded one alone where
``SAGE_REQUIRE_EXTENSIONS=1`` or ``SAGE_NO_EXTENSIONS=1`` demands one, because then
other runs test the other. A compiled build that is missing is an error and not a
skip, and so is an engine other than the one that ``SAGE_ENGINE`` names.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest
import trustme
from hypothesis import HealthCheck, settings

import sage

from .ports import free_port

# A machine that has other work too is no reason to fail; nothing else is changed.
settings.register_profile(
    "patient",
    settings(),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("patient")

_MODULES = {"python": "sage._core_py", "cython": "sage._core"}
SWITCHES = {"SAGE_NO_EXTENSIONS": "python", "SAGE_REQUIRE_EXTENSIONS": "cython"}


def demanded() -> list[str]:
    """Return the core that the environment demands, if it demands one."""
    return [core for name, core in SWITCHES.items() if os.environ.get(name) == "1"]


def at_work() -> str:
    """Say what the tests run on."""
    return "core {core}, engine {engine} (OpenSSL {openssl})".format(**sage.backend())


def pytest_configure() -> None:
    """Refuse to test one thing under the name of another."""
    found, engine = sage.backend(), os.environ.get("SAGE_ENGINE", "")
    for core in demanded():
        if core != found["core"]:
            raise pytest.UsageError(f"not the core {core}: {at_work()}")
    if engine not in ("", found["engine"]):
        raise pytest.UsageError(f"not the engine {engine}: {at_work()}")


def pytest_report_header() -> str:
    """Say it to whoever reads, too."""
    return f"sage: {at_work()}"


@pytest.fixture(scope="session", params=demanded() or [*_MODULES])
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


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run what is marked so on every event loop that a service may run on."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
        "asyncio": asyncio.new_event_loop
    }
    if item.get_closest_marker("every_loop") is not None:
        with contextlib.suppress(ImportError):
            factories["uvloop"] = importlib.import_module("uvloop").new_event_loop
    return factories


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a Redis server, so that it can be left out by name."""
    for item in items:
        if "redis_server" in getattr(item, "fixturenames", ()):
            item.add_marker("redis")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep what is collected out of every garbage collection.

    It stays until the end, and looking at it would take most of each collection.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@dataclass
class RedisServer:
    """A Redis (or Valkey) of our own, on loopback, with a folder of its own."""

    folder: Path
    port: int
    program: str
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, **options: object) -> None:
        """Start it, without any persistence unless told so, and wait for it."""
        settings = {"port": self.port, "bind": "127.0.0.1", "dir": self.folder}
        settings |= {"save": "", "appendonly": "no", **options}
        command = [self.program]
        for name, value in settings.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        with (self.folder / "log").open("ab") as log:
            self.processes.append(subprocess.Popen(command, stdout=log, stderr=log))
        deadline = time.monotonic() + 10
        while not self.answers():
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            assert self.processes[-1].poll() is None, (self.folder / "log").read_text()
            time.sleep(0.01)

    def start_durable(self) -> None:
        """Start one that writes everything to its disk before it answers."""
        self.start(appendonly="yes", appendfsync="always")

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as sock:
                sock.sendall(b"PING\r\n")
                return sock.recv(16).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def kill(self) -> None:
        """End it as a crash would."""
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes.clear()


@pytest.fixture
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Return a server that is not running yet; it ends with the test."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    assert program, "these tests need a server: apt-get install redis-server"
    server = RedisServer(tmp_path_factory.mktemp("redis"), free_port(), program)
    yield server
    server.kill()
