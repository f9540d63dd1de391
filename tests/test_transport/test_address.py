"""Which addresses a stranger's DID may lead to."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import trustme

from sage.errors import ConfigError, ConnectFailed, UsageError
from sage.limits import RESOLUTION_READS_MAX
from sage.transport import HostAddress
from sage.transport.address import (
    check_host_map,
    is_public,
    resolve_address,
    tls_context,
)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111"])
def test_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "240.0.0.1",
        "::1",
        "::",
        "fe80::1%eth0",
        "fec0::1",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "64:ff9b:1::7f00:1",
        "::7f00:1",
        "::ffff:0:7f00:1",
        "2001::80ff:fffe",
        "4000::1",
        "not an address",
        "",
    ],
)
def test_not_public(address):
    assert not is_public(address)


def resolving(monkeypatch, *addresses):
    def getaddrinfo(host, port):
        return [(socket.AF_INET, 0, 0, "", (a, port)) for a in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


async def test_a_public_name(monkeypatch):
    resolving(monkeypatch, "1.1.1.1", "1.0.0.1")
    assert await resolve_address("agents.example", {}) == ("1.1.1.1", 443)


async def test_names_that_hang_keep_nobody_from_looking_one_up(monkeypatch):
    answered = threading.Event()

    def getaddrinfo(host, port):
        if host != "good.example":
            answered.wait(20)
        return [(socket.AF_INET, 0, 0, "", ("1.1.1.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    hanging = [
        asyncio.create_task(resolve_address(f"x{number}.example", {}))
        for number in range(RESOLUTION_READS_MAX - 1)
    ]
    try:
        async with asyncio.timeout(10):
            await asyncio.sleep(0)
            assert await resolve_address("good.example", {}) == ("1.1.1.1", 443)
        assert not any(task.done() for task in hanging)
    finally:
        answered.set()
        await asyncio.gather(*hanging)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
async def test_a_child_looks_names_up_with_threads_of_its_own(monkeypatch):
    resolving(monkeypatch, "1.1.1.1")
    await resolve_address("good.example", {})
    child = os.fork()
    if not child:
        code = 1
        try:
            # As in a worker: a loop of its own, none of the parent's threads.
            with ThreadPoolExecutor(1) as alone:
                found = alone.submit(asyncio.run, resolve_address("good.example", {}))
                code = int(found.result(10) != ("1.1.1.1", 443))
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["1.1.1.1", "10.0.0.1"], []])
async def test_a_name_with_a_private_address(monkeypatch, addresses):
    resolving(monkeypatch, *addresses)
    with pytest.raises(ConnectFailed, match="not public"):
        await resolve_address("agents.example", {})


async def test_localhost_is_refused_but_for_the_host_map():
    with pytest.raises(ConnectFailed, match="not public"):
        await resolve_address("localhost", {})
    hosts = {"localhost": HostAddress(address="127.0.0.1", port=8443)}
    assert await resolve_address("localhost", hosts) == ("127.0.0.1", 8443)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("agents.example", "a mapping, not str"),
        ([("agents.example", HostAddress(address="10.0.0.7"))], "a mapping, not list"),
        ({"agents.example": "10.0.0.7"}, "a HostAddress, not to str"),
        ({"agents.example": ("10.0.0.7", 8443)}, "a HostAddress, not to tuple"),
    ],
)
def test_what_is_no_host_map(given, what):
    with pytest.raises(UsageError, match=what):
        check_host_map(given)


def test_a_host_map_that_changes_later_changes_nothing():
    given = {"agents.example": HostAddress(address="10.0.0.7")}
    checked = check_host_map(given)
    given.clear()
    assert checked == {"agents.example": HostAddress(address="10.0.0.7")}


def test_a_missing_authority_file(tmp_path):
    with pytest.raises(ConfigError):
        tls_context(str(tmp_path / "none.pem"))
    for data in (b"", b"no certificate", b"\xff\xfe"):
        (tmp_path / "wrong.pem").write_bytes(data)
        with pytest.raises(ConfigError, match=r"wrong\.pem"):
            tls_context(str(tmp_path / "wrong.pem"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_nobody_waits_for_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="not a regular file"):
        tls_context(str(tmp_path / "pipe"))


def test_the_files_authorities_and_no_others(tmp_path):
    certificates = [trustme.CA().cert_pem.bytes() for _ in range(2)]
    (tmp_path / "two.pem").write_bytes(b"# ours\n" + b"\n".join(certificates))
    context = tls_context(str(tmp_path / "two.pem"))
    assert context.cert_store_stats()["x509_ca"] == 2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
