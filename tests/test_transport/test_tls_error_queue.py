"""What one connection leaves in OpenSSL's queue of errors ends no other."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import socket
import ssl
import struct
import threading

import pytest

from sage.transport.tls_error_queue import clear_error_queue
from sage.transport.tls_watch import TlsWatch

from .tls_by_hand import tcp_pair

_ssl = pytest.importorskip("_ssl")
LIB_SYS = 2
RESET = struct.pack("ii", 1, 0)  # of SO_LINGER: leave at once, with a reset


@pytest.fixture
def leave_error():
    """What puts an error into this thread's queue, as a failed write does."""
    try:
        openssl = ctypes.PyDLL(getattr(_ssl, "__file__", None))
        new, put = openssl.ERR_new, openssl.ERR_set_error
    except (OSError, AttributeError):
        pytest.skip("Python's OpenSSL is out of reach")

    def leave() -> None:
        new()
        put(LIB_SYS, errno.EPIPE, None)

    yield leave
    clear_error_queue()


@contextlib.contextmanager
def connection(tls):
    """Two ends of one; ours does not block."""
    ours, theirs = tcp_pair()
    ends = []
    other = threading.Thread(
        target=lambda: ends.append(
            tls.client.wrap_socket(theirs, server_hostname="localhost")
        )
    )
    other.start()
    server = tls.server.wrap_socket(ours, server_side=True)
    other.join()
    server.setblocking(False)
    with server, ends[0]:
        yield server, ends[0]


def test_what_is_left_ends_another_connection(tls, leave_error):
    """So it is without us."""
    with connection(tls) as (ours, _):
        leave_error()
        with pytest.raises(OSError) as caught:  # noqa: PT011  # which one, varies
            ours.recv(1)
        assert not isinstance(caught.value, ssl.SSLWantReadError)


def test_the_queue_is_cleared(tls, leave_error):
    with connection(tls) as (ours, _):
        leave_error()
        leave_error()
        clear_error_queue()
        with pytest.raises(ssl.SSLWantReadError):
            ours.recv(1)


def test_a_call_that_fails_leaves_nothing(tls, leave_error):
    class Broken:
        def recv(self, size: int) -> bytes:
            leave_error()
            raise BrokenPipeError

    watch = TlsWatch()
    with connection(tls) as (ours, theirs):
        with pytest.raises(BrokenPipeError):
            watch.recv(Broken(), 1)
        with pytest.raises(ssl.SSLWantReadError):
            watch.recv(ours, 1)
        theirs.sendall(b"well")
        ours.setblocking(True)
        assert watch.recv(ours, 4) == b"well"


def test_who_leaves_takes_nobody_along(tls):
    watch = TlsWatch()
    with connection(tls) as (ours, theirs), connection(tls) as (other, _):
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        theirs.close()
        for _ in range(2):  # the reset, and the pipe that is broken since
            with pytest.raises(OSError):  # noqa: PT011
                watch.send(ours, memoryview(b"x"))
            with pytest.raises(ssl.SSLWantReadError):
                watch.recv(other, 1)
