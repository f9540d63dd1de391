"""Whether a socket holds bytes that nobody has read."""

from __future__ import annotations

import socket
import sys

import pytest

from sage.transport.unread import has_unread

from .tls_by_hand import tcp_pair

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="cannot ask, and is always answered yes"
)


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


def test_bytes_before_the_end_are_there_and_the_end_is_not_one(pair):
    ours, theirs = pair
    theirs.sendall(b"a")
    theirs.shutdown(socket.SHUT_WR)
    assert ours.recv(1, socket.MSG_PEEK) == b"a"
    assert has_unread(ours.fileno())
    assert ours.recv(2) == b"a"
    assert ours.recv(1) == b""
    assert not has_unread(ours.fileno())


def test_what_is_not_open_cannot_be_asked():
    probe = socket.socket()
    descriptor = probe.fileno()
    probe.close()
    with pytest.raises(OSError, match="descriptor"):
        has_unread(descriptor)
