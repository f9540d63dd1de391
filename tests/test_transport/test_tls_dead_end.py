"""A socket that stands in for another."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import socket
import sys
from collections.abc import Iterator

import pytest

from sage.transport.tls_dead_end import DeadEnd

from .tls_by_hand import tcp_pair

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux needs it alone")


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = tcp_pair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


@pytest.fixture
def dead_end() -> Iterator[DeadEnd]:
    found = DeadEnd.open()
    assert found is not None
    yield found
    found.close()
    found.close()


def test_nothing_comes_from_it_and_nothing_is_lost(ends, dead_end):
    ours, theirs = ends
    identity = os.fstat(ours.fileno())
    for said in (b"once", b"and again"):
        theirs.sendall(said)
        assert dead_end.take(ours)
        assert not os.path.samestat(os.fstat(ours.fileno()), identity)
        assert os.read(ours.fileno(), 100) == b""
        with pytest.raises(BrokenPipeError):
            os.write(ours.fileno(), b"x")
        dead_end.give_back(ours)
        assert os.path.samestat(os.fstat(ours.fileno()), identity)
        assert ours.recv(100) == said
    ours.sendall(b"here")
    assert theirs.recv(100) == b"here"


def test_who_watches_the_descriptor_goes_on_doing_so(ends, dead_end):
    ours, theirs = ends
    with select.epoll() as poll:
        poll.register(ours, select.EPOLLIN)
        dead_end.take(ours)
        dead_end.give_back(ours)
        assert not poll.poll(0)
        theirs.sendall(b"x")
        assert poll.poll(5) == [(ours.fileno(), select.EPOLLIN)]
        poll.modify(ours, select.EPOLLIN | select.EPOLLOUT)
        poll.unregister(ours)


def test_it_keeps_nothing_open(ends, dead_end):
    ours, theirs = ends
    dead_end.take(ours)
    dead_end.give_back(ours)
    ours.close()
    assert theirs.recv(100) == b""


def test_a_program_that_is_started_inherits_none_of_it(ends, dead_end):
    ours, _ = ends
    dead_end.take(ours)
    assert not os.get_inheritable(ours.fileno())
    dead_end.give_back(ours)
    assert not os.get_inheritable(ours.fileno())
    assert not os.get_inheritable(dead_end._kept.fileno())


def test_a_closed_socket_cannot_be_taken(dead_end):
    one, other = socket.socketpair()
    one.close()
    other.close()
    assert not dead_end.take(one)


@contextlib.contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """Use all descriptors up but a few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/dev/fd"))
    used = [os.dup(0)]
    while used[-1] < highest or len(used) < count:
        used.append(os.dup(0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used[-1] + 1, hard))
    try:
        for _ in range(count):
            os.close(used.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for one in used:
            os.close(one)


@pytest.mark.parametrize("left", [0, 1])
def test_there_may_be_no_descriptors_for_it(left):
    with descriptors_left(left):
        assert DeadEnd.open() is None


def test_it_needs_no_more_under_attack(ends, dead_end):
    ours, _ = ends
    with descriptors_left(0):
        assert dead_end.take(ours)
        dead_end.give_back(ours)


def test_other_systems_do_without(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert DeadEnd.open() is None
