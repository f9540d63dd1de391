"""Ends a call into OpenSSL that the peer keeps from coming back.

Some records OpenSSL answers by itself, and reads the next one within the same call: new
keys, tickets for later sessions, a hello that comes too late. A peer that sends nothing
else, 2 MB/s of it, keeps the call from ever coming back, and with it the thread of the
event loop from everybody else. Python cannot bound what one call reads.

So another thread looks on. It looks every few milliseconds while there are calls, and
sleeps while there are none. Where one call has cost more than an honest peer's can, it
takes the socket out of OpenSSL's hands: the call finds the end of a connection, comes
back, and raises `TlsKeptBusy`.

**Why nobody else is cut.** The watched thread holds the lock ``_outside`` all the time,
except while it is inside a call. Who takes it meanwhile keeps the thread from leaving:
which call it is, and whose descriptor it reads, stays true until the lock is released.
Descriptors are closed, and used again, outside of calls only.

**Why no honest peer is cut.** What counts is the time for which the watched thread
computes, not the time that passes, and no look adds more than `_LOOK_MAX_S` to it. A
process that is stopped, a machine that is busy or asleep and a clock that jumps take
nothing from anybody.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

from ..limits import (
    TLS_CALL_S,
    TLS_LONG_CALL_S,
    TLS_LOOK_AGAIN_S,
    TLS_LOOK_S,
    TLS_UNMEASURED_CALL_S,
)
from .tls_dead_end import DeadEnd
from .tls_error_queue import clear_error_queue

__all__ = ["TlsKeptBusy", "TlsWatch", "watch_here"]

logger = logging.getLogger("sage.transport")

# What one look adds to a call's cost at most, so that it takes several to cut anybody.
# A look may come late, too.
_LOOK_MAX_S = 2 * TLS_LOOK_AGAIN_S
# Looks without a call before the watch sleeps, and how long it sleeps before it ends:
# soon enough not to be in anybody's way, and late enough to happen rarely.
_QUIET_LOOKS = 2
_LINGER_S = 1.0


class TlsKeptBusy(ConnectionAbortedError):
    """One call into OpenSSL cost more than an honest peer's can."""


class TlsWatch:
    """Watches the calls into OpenSSL of the thread that makes it.

    They are those of `ssl.SSLSocket`, raise what those raise, and `TlsKeptBusy`. Their
    socket must not block, and nobody closes it meanwhile.
    """

    __slots__ = (
        "__weakref__",
        "_calls",
        "_clock",
        "_cut",
        "_dead_end",
        "_guard",
        "_is_measured",
        "_limit_s",
        "_looking",
        "_outside",
        "_sock",
        "_taken_by",
        "_thread",
        "_told",
        "_wanted",
    )

    def __init__(self) -> None:
        self._clock, self._is_measured = _clock_of_this_thread()
        # Of the call that is made or was made last: how many it is, its limit and its
        # socket, and the socket that was taken from it, by what.
        self._calls, self._limit_s = 0, 0.0
        self._sock: ssl.SSLSocket | None = None
        self._cut: ssl.SSLSocket | None = None
        self._taken_by: DeadEnd | None = None
        self._outside = threading.Lock()
        self._outside.acquire()
        # Whether somebody looks; the guard is for who begins and who ends to do so.
        self._looking = self._told = False
        self._guard, self._wanted = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._dead_end: DeadEnd | None = None

    # --- in the watched thread --------------------------------------------------------

    def recv(self, sock: ssl.SSLSocket, size: int) -> bytes:
        """Return up to ``size`` bytes, and of one record at most."""
        received: bytes = self._call(sock, TLS_CALL_S, sock.recv, size)
        return received

    def send(self, sock: ssl.SSLSocket, data: memoryview) -> int:
        """Return how many bytes were taken, of `TLS_SEND_MAX_BYTES` at most.

        What TLS has begun to read it reads to its end first: of a ticket that comes in
        records of one byte, 130,000 of them.
        """
        sent: int = self._call(sock, TLS_LONG_CALL_S, sock.send, data)
        return sent

    def do_handshake(self, sock: ssl.SSLSocket) -> None:
        """Take the next step of the handshake."""
        self._call(sock, TLS_LONG_CALL_S, sock.do_handshake)

    def unwrap(self, sock: ssl.SSLSocket) -> None:
        """Say goodbye, and look for the peer's."""
        self._call(sock, TLS_CALL_S, sock.unwrap)

    def _call(
        self, sock: ssl.SSLSocket, limit_s: float, act: Callable[..., Any], *what: Any
    ) -> Any:
        self._calls += 1
        self._limit_s, self._sock = limit_s, sock
        # An interrupt from the keyboard comes between a call and what follows it. So
        # the lock is released within ``try``, and first of all: it is taken again if,
        # and only if, it was released.
        try:
            self._outside.release()
            if not self._looking:
                self._wake()
            return act(*what)
        except ssl.SSLError:
            raise
        except OSError:
            clear_error_queue()
            raise
        finally:
            self._sock = None
            self._outside.acquire()
            if self._cut is not None:
                self._mend(sock)

    def _mend(self, sock: ssl.SSLSocket) -> None:
        """Make the socket what it was, for it to be closed as any other."""
        if self._cut is not sock:  # its call was interrupted; so is its connection
            self._cut = self._taken_by = None
            return
        if self._taken_by is not None:
            self._taken_by.give_back(sock)
        self._cut = self._taken_by = None
        why = {"event": "connection_ended", "code": "connection"}
        logger.warning("%s kept TLS busy and is cut off", _peer(sock), extra=why)
        raise TlsKeptBusy("the peer kept TLS busy") from None

    def _wake(self) -> None:
        with self._guard:
            self._looking = True
            if self._thread is not None:
                self._wanted.set()
                return
            self._thread = threading.Thread(
                target=self._stand_by, name="sage-tls-watch", daemon=True
            )
            try:
                self._thread.start()
            except RuntimeError as exc:  # there are no more threads
                self._thread, self._looking = None, False
                if not self._told:
                    logger.error("nobody watches over TLS: %s", exc)
                self._told = True

    def leave_behind(self) -> None:
        """Close what a forked process has of it; its thread is not there."""
        if self._dead_end is not None:
            self._dead_end.close()

    # --- in the thread that watches ---------------------------------------------------

    def _stand_by(self) -> None:
        """Look while there are calls, and end when there were none for a while."""
        self._dead_end = dead_end = DeadEnd.open()
        # The clock of a thread that has ended cannot be read.
        with contextlib.suppress(OSError):
            self._look_on()
            while self._is_wanted():
                self._look_on()
        if dead_end is not None:
            dead_end.close()

    def _look_on(self) -> None:
        """Look until there are no more calls."""
        call, cost_s, before_s, quiet, pause_s = -1, 0.0, 0.0, 0, TLS_LOOK_S
        while quiet < _QUIET_LOOKS:
            time.sleep(pause_s)
            # The clock is read before the call is found to go on, and after it is found
            # to have begun: what lies in between was computed within the call.
            now_s = self._clock()
            if call == self._calls and not self._outside.locked():
                cost_s += min(now_s - before_s, _LOOK_MAX_S)
                before_s, pause_s = now_s, TLS_LOOK_AGAIN_S
                if cost_s >= self._limit():
                    self._end(call)
            else:
                quiet = quiet + 1 if call == self._calls else 0
                call, cost_s, pause_s = self._calls, 0.0, TLS_LOOK_S
                before_s = self._clock()
        self._looking = False
        if call != self._calls:  # whoever made it found that somebody looks
            self._wake()

    def _limit(self) -> float:
        """Return what the call may cost, in seconds."""
        limit_s, sock = self._limit_s, self._sock
        # A server that asks who we are lets us sign within a read.
        signs = sock is not None and sock.context.post_handshake_auth
        if sock is not None and signs and not sock.server_side:
            limit_s = TLS_LONG_CALL_S
        return limit_s if self._is_measured else max(limit_s, TLS_UNMEASURED_CALL_S)

    def _end(self, call: int) -> None:
        """Take the socket from a call, if it still goes on."""
        if not self._outside.acquire(blocking=False):
            return
        try:
            sock = self._sock
            if call == self._calls and sock is not None and self._cut is None:
                self._cut = sock
                self._take(sock)
        finally:
            self._outside.release()

    def _take(self, sock: ssl.SSLSocket) -> None:
        if self._dead_end is not None and self._dead_end.take(sock):
            self._taken_by = self._dead_end
            return
        with contextlib.suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _is_wanted(self) -> bool:
        """Sleep until there is a call; return whether there was one in time."""
        if self._wanted.wait(_LINGER_S):
            self._wanted.clear()
            return True
        with self._guard:
            if self._wanted.is_set() or self._cut is not None:
                return True
            self._thread = self._dead_end = None
            return False


def _clock_of_this_thread() -> tuple[Callable[[], float], bool]:
    """Return a clock, and whether it measures what this thread computes."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return time.monotonic, False
    clock = time.pthread_getcpuclockid(threading.get_ident())
    return lambda: time.clock_gettime(clock), True


def _peer(sock: socket.socket) -> str:
    try:
        host, port = sock.getpeername()[:2]
    except (OSError, ValueError):  # it has left, or has no port
        return "a peer"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Here(threading.local):
    def __init__(self) -> None:
        self.watch = TlsWatch()


_here = _Here()


def watch_here() -> TlsWatch:
    """Return the watch of the thread that asks."""
    return _here.watch


def _after_fork() -> None:
    _here.watch.leave_behind()
    _here.watch = TlsWatch()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
