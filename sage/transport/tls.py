"""TLS on a socket, for connections that are many and mostly idle.

asyncio's own TLS keeps 256 KiB for each connection, and two more buffers that grow with
the longest message and stay. Here TLS reads and writes the socket itself, and only what
could not be sent yet is held.

What is written in quick succession leaves together at the end of a turn of the event
loop: many small messages cost one TLS record and one system call.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Callable
from math import inf
from typing import Any

from ..limits import (
    CLOSE_TIMEOUT_S,
    SEND_TIMEOUT_S,
    TLS_RECORD_MAX_BYTES,
    TLS_SEND_MAX_BYTES,
    WRITE_BUFFER_HIGH_BYTES,
    WRITE_BUFFER_LOW_BYTES,
    WRITE_GAP_S,
)
from .tls_watch import TlsKeptBusy, watch_here
from .turn import turn_of
from .unread import has_unread

__all__ = ["TlsTransport", "can_watch_sockets"]

logger = logging.getLogger("sage.transport")

# For how long one connection is read before others get their turn. Not a number of
# bytes: what they cost is for whoever sent them to choose. By the system's clock, for
# uvloop's own stands still within a turn.
_TURN_S = 0.01


def can_watch_sockets() -> bool:
    """Whether the running loop can watch sockets, which Windows' proactor cannot."""
    loop = asyncio.get_running_loop()
    kind = type(loop)
    if kind not in _CAN_WATCH:
        _CAN_WATCH[kind] = _try_watching(loop)
    return _CAN_WATCH[kind]


_CAN_WATCH: dict[type[asyncio.AbstractEventLoop], bool] = {}


def _try_watching(loop: asyncio.AbstractEventLoop) -> bool:
    probe, other = socket.socketpair()
    with probe, other:
        try:
            loop.add_reader(probe, int)
        except NotImplementedError:
            return False
        loop.remove_reader(probe)
    return True


class TlsTransport(asyncio.Transport):
    """One connection. Its protocol hears of it once the handshake is done.

    Args:
        sock: connected and not blocking; it belongs to the transport from here on.
        protocol: whom to tell.
        context: which end we are, and whom we trust. It loses renegotiation.
        timeout_s: for the handshake.
        server_hostname: the name that the server must prove; ``None`` for a server.
        on_opened: is called once, with ``None`` or with why there is no connection.

    Raises:
        OSError: the peer has left.
    """

    __slots__ = (
        "_closing",
        "_descriptor",
        "_flushing",
        "_is_open",
        "_loop",
        "_lost",
        "_on_opened",
        "_out",
        "_protocol",
        "_reading",
        "_sock",
        "_stalled",
        "_timer",
        "_turn",
        "_waiting",
        "_write_paused",
        "_writing",
        "_wrote_at",
    )

    def __init__(
        self,
        sock: socket.socket,
        protocol: asyncio.Protocol,
        context: ssl.SSLContext,
        *,
        timeout_s: float,
        server_hostname: str | None = None,
        on_opened: Callable[[Exception | None], None] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._turn, self._waiting = turn_of(self._loop), False
        self._protocol: Any = protocol
        self._on_opened = on_opened
        self._out: bytearray | None = None
        self._flushing = self._writing = self._write_paused = False
        self._is_open = self._closing = self._lost = False
        self._reading, self._stalled = True, False
        self._wrote_at = -inf
        # Of TLS 1.2: a peer that begins one and falls silent leaves us with a write
        # that waits for a read, on a socket that has room all the while.
        context.options |= ssl.OP_NO_RENEGOTIATION
        self._sock = context.wrap_socket(
            sock,
            server_side=server_hostname is None,
            server_hostname=server_hostname,
            do_handshake_on_connect=False,
            # An end that the peer did not sign may be an attacker's.
            suppress_ragged_eofs=False,
        )
        # A loop that is given the socket itself writes it out, addresses and all, each
        # time that it does not find it among those that it watches.
        self._descriptor = self._sock.fileno()
        expired = TimeoutError(f"no TLS handshake within {timeout_s:g} s")
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(
            timeout_s, self._end, expired
        )
        self._loop.add_reader(self._descriptor, self._shake_hands)
        self._loop.call_soon(self._shake_hands)

    # --- asyncio.Transport ------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return ``socket``, ``ssl_object``, ``sslcontext`` or the default."""
        match name:
            case "socket" | "ssl_object":
                return self._sock
            case "sslcontext":
                return self._sock.context
        return default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Tell somebody else from here on."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return who is told."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def is_closing(self) -> bool:
        """Whether the connection has ended or is about to."""
        return self._closing

    def is_reading(self) -> bool:
        """Whether the protocol is told of what arrives."""
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        """Leave what arrives in the socket, so that the peer has to wait."""
        if self.is_reading():
            self._reading = False
            self._loop.remove_reader(self._descriptor)

    def resume_reading(self) -> None:
        """Read again."""
        if not self._reading and not self._closing:
            self._reading = True
            # TLS holds nothing back: what is read at once is a whole record.
            if not self._stalled:
                self._loop.add_reader(self._descriptor, self._read)

    def write(self, data: Any) -> None:
        """Send at the end of this turn of the loop at the latest, if the peer has room.

        Writes that follow each other fast leave together, as one TLS record and one
        system call. Slow ones do not wait for the turn's end, so that the peer works
        on the first of many answers while we work on the others.
        """
        if self._closing or not data:
            return
        if self._out is None:
            self._out = bytearray(data)
        else:
            self._out += data
        now = time.monotonic()
        gap_s, self._wrote_at = now - self._wrote_at, now
        if self._flushing and gap_s > WRITE_GAP_S:
            self._flush()
        elif not self._flushing and not self._writing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        full = self.get_write_buffer_size() > WRITE_BUFFER_HIGH_BYTES
        if full and not self._write_paused:
            self._write_paused = True
            self._protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait to be sent."""
        return 0 if self._out is None else len(self._out)

    def can_write_eof(self) -> bool:
        """TLS has no half-closed connections."""
        return False

    def close(self) -> None:
        """Send what waits, and say goodbye within a second; read nothing more.

        A peer that takes none of what waits for ten seconds does not get the rest.
        """
        if self._closing:
            return
        if not self._is_open:
            self._end(ConnectionAbortedError("closed during the TLS handshake"))
            return
        self._closing = True
        self._loop.remove_reader(self._descriptor)
        if self._out is None and not self._stalled:
            self._say_goodbye()
        else:
            self._end_within(SEND_TIMEOUT_S if self._out else CLOSE_TIMEOUT_S)

    def abort(self) -> None:
        """Cut the connection."""
        self._end(None)

    # --- opening ----------------------------------------------------------------------

    def _shake_hands(self) -> None:
        if self._lost or self._is_open or self._is_put_off():
            return
        began_at = time.monotonic()
        try:
            self._loop.remove_writer(self._descriptor)
            watch_here().do_handshake(self._sock)
        except ssl.SSLWantReadError:
            return
        except ssl.SSLWantWriteError:
            self._loop.add_writer(self._descriptor, self._shake_hands)
            return
        except (OSError, ValueError) as exc:
            self._end(exc)
            return
        finally:
            self._turn.spend(time.monotonic() - began_at, self._loop)
        self._is_open = True
        self._stop_timer()
        self._loop.add_reader(self._descriptor, self._read)
        self._protocol.connection_made(self)
        self._tell_opened(None)
        if self.is_reading():
            self._read()  # it may have come with the end of the handshake

    def _tell_opened(self, error: Exception | None) -> None:
        on_opened, self._on_opened = self._on_opened, None
        if on_opened is not None:
            on_opened(error)

    def _end_within(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self._loop.call_later(seconds, self._end, None)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- reading ----------------------------------------------------------------------

    def _read(self) -> None:
        if self._turn.is_over and self._is_put_off():
            return
        began_at = time.monotonic()
        try:
            self._read_until(began_at + _TURN_S)
        finally:
            self._turn.spend(time.monotonic() - began_at, self._loop)

    def _read_until(self, end_at: float) -> None:
        watch = watch_here()
        while True:
            try:
                data = watch.recv(self._sock, TLS_RECORD_MAX_BYTES)
            except ssl.SSLWantReadError:
                return
            except ssl.SSLWantWriteError:
                self._stall()
                return
            except OSError as exc:
                self._end(exc)
                return
            if not data:
                self._protocol.eof_received()
                self.close()
                return
            try:
                self._protocol.data_received(data)
            except Exception as exc:
                logger.exception("internal error; the connection is cut")
                self._end(exc)
            if not self.is_reading() or time.monotonic() >= end_at:
                return
            # TLS holds nothing back of a record that came whole.
            if len(data) < TLS_RECORD_MAX_BYTES and not has_unread(self._descriptor):
                return

    def _is_put_off(self) -> bool:
        """Whether others have used up this turn; ours comes with a later one."""
        if self._turn.is_over and not self._waiting:
            self._waiting = True
            self._turn.put_off(self._take_turn)
        return self._turn.is_over

    def _take_turn(self) -> None:
        self._waiting = False
        if not self._is_open:
            self._shake_hands()
        elif self.is_reading() and not self._stalled:
            self._read()

    def _stall(self) -> None:
        """Read on once there is room for what TLS has to answer first.

        A server may ask a client that allows it for its certificate at any time (RFC
        8446, section 4.6.2). What it sends behind that would call us all the while.
        """
        self._stalled = True
        self._loop.remove_reader(self._descriptor)
        self._watch_room()

    def _read_on(self) -> None:
        if self.is_reading() and not self._stalled:
            self._loop.add_reader(self._descriptor, self._read)
            self._read()

    # --- writing ----------------------------------------------------------------------

    def _flush(self) -> None:
        self._flushing = False
        out, watch = self._out, watch_here()
        if self._lost or (out is None and not self._stalled):
            return
        try:
            while out:
                with memoryview(out) as view:
                    if len(view) <= TLS_SEND_MAX_BYTES:
                        sent = watch.send(self._sock, view)
                    else:
                        with view[:TLS_SEND_MAX_BYTES] as part:
                            sent = watch.send(self._sock, part)
                del out[:sent]
                if self._closing:
                    self._end_within(SEND_TIMEOUT_S)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self._watch_room()
            return
        except OSError as exc:
            self._end(exc)
            return
        self._out = None
        self._finish_writing()

    def _watch_room(self) -> None:
        if not self._writing:
            self._writing = True
            self._loop.add_writer(self._descriptor, self._flush)
        self._note_room()

    def _finish_writing(self) -> None:
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._descriptor)
            if self._stalled:
                self._stalled = False
                self._loop.call_soon(self._read_on)
        self._note_room()
        if self._closing:
            self._say_goodbye()

    def _note_room(self) -> None:
        if self._write_paused and self.get_write_buffer_size() < WRITE_BUFFER_LOW_BYTES:
            self._write_paused = False
            self._protocol.resume_writing()

    # --- ending -----------------------------------------------------------------------

    def _say_goodbye(self) -> None:
        """Send the end of TLS and of TCP, and wait for the peer's.

        A socket that is closed over unread bytes resets the connection, and takes
        away what the peer has not read yet.
        """
        self._loop.remove_writer(self._descriptor)
        try:
            watch_here().unwrap(self._sock)
        except ssl.SSLWantWriteError:  # as long as the peer reads what came before
            self._end_within(SEND_TIMEOUT_S)
            self._loop.add_writer(self._descriptor, self._say_goodbye)
            return
        except (ssl.SSLError, ValueError):
            pass  # ours is sent, whatever is there of the peer's
        except OSError as exc:
            self._end(exc if isinstance(exc, TlsKeptBusy) else None)
            return
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._end(None)
            return
        self._end_within(CLOSE_TIMEOUT_S)
        self._loop.add_reader(self._descriptor, self._drop)

    def _drop(self) -> None:
        try:
            ended = not socket.socket.recv(self._sock, TLS_RECORD_MAX_BYTES)
        except BlockingIOError:
            return
        except OSError:
            ended = True
        if ended:
            self._end(None)

    def _end(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = self._closing = True
        self._stop_timer()
        self._loop.remove_reader(self._descriptor)
        self._loop.remove_writer(self._descriptor)
        self._loop.call_soon(self._tell_lost, error)

    def _tell_lost(self, error: Exception | None) -> None:
        self._sock.close()
        self._out = None
        if self._is_open:
            self._protocol.connection_lost(error)
        else:
            self._tell_opened(error or ConnectionAbortedError("aborted"))
        self._protocol = None
