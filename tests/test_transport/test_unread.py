"""Whether a socket holds bytes that nobody has read."""

from __future__ import annotations

import socket

import pytest

from sage.transport import unread
from sage.transport.unread import has_unread

from .tls_by_hand import tcp_pair


@pytest.fixture(params=["counting", "selecting"], autouse=True)
def way(request, monkeypatch):
    """Each way to find out; Windows has the second alone."""
    if request.param == "selecting":
        monkeypatch.setattr(unread, "_can_count", False)
    elif not unread._can_count:
        pytest.skip("Windows does not say how much there is")
    return request.param


@pytest.fixture
def pair():
    ours, theirs = tcp_pair()
    with ours, theirs:
        yield ours, theirs


def test_bytes_are_there_until_all_are_read(pair):
    ours, theirs = pair
    assert not has_unread(ours.fileno())
    theirs.sendall(b"ab")
    assert ours.recv(1, socket.MSG_PEEK) == b"a"  # it has arrived
    assert has_unread(ours.fileno())
    ours.recv(1)
    assert has_unread(ours.fileno())
    ours.recv(1)
    assert not has_unread(ours.fileno())


def test_bytes_before_the_end_are_there_and_the_end_is_none_but_on_windows(pair, way):
    ours, theirs = pair
    theirs.sendall(b"a")
    theirs.shutdown(socket.SHUT_WR)
    assert ours.recv(1, socket.MSG_PEEK) == b"a"
    assert has_unread(ours.fileno())
    assert ours.recv(2) == b"a"
    assert ours.recv(1) == b""
    assert has_unread(ours.fileno()) == (way == "selecting")


def test_what_is_not_open_cannot_be_asked():
    probe = socket.socket()
    descriptor = probe.fileno()
    probe.close()
    with pytest.raises(OSError, match="descriptor"):
        has_unread(descriptor)
