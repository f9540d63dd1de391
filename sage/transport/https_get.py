"""One bounded HTTPS GET at a time, over kept-alive connections, sans surprises.

A record is read afresh for every operation, so connections are kept and reused.
`h11` speaks the protocol: unlike the larger clients it shows trailers and every
header line as it came, and lets the caller connect to the address that was checked.
No redirects, no content decoding, no cookies, no proxies from the environment.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final, TypeAlias

import h11

from ..errors import Code, ConnectFailed, ConnectionLost, DecodeError, UsageError
from .address import HostMap, check_host_map, resolve_address, tls_context
from .https_client import HeaderLines, HttpResponse
from .unread import has_unread

__all__ = ["HttpsGetter"]

# Shorter than the five seconds after which common servers close an idle
# connection, so that a reused one is rarely a dead one.
_IDLE_MAX_S: Final = 4.0
_IDLE_PER_HOST: Final = 16
# Strangers choose hosts, and may choose a new one each time.
_IDLE_MAX: Final = 256
_READ_BYTES: Final = 65_536
_HEAD_MAX_BYTES: Final = 16_384


class HttpsGetter:
    """A pool of HTTPS connections that can do one thing: GET.

    Any number of event loops may share it, one after the other or in threads of their
    own: each has its own connections.

    Args:
        host_map: names that lead elsewhere than public DNS says.

    Raises:
        UsageError: ``host_map`` maps no names, or to something else than addresses.
    """

    def __init__(self, host_map: HostMap | None = None) -> None:
        self._host_map = check_host_map({} if host_map is None else host_map)
        self._idle: dict[asyncio.AbstractEventLoop, _Idle] = {}

    async def get(
        self, host: str, path: str, *, headers: HeaderLines, max_bytes: int
    ) -> HttpResponse:
        """Fetch ``https://host/path``. The caller sets the time limit.

        Raises:
            ConnectFailed: DNS, TCP, TLS, or an address that is not public.
            ConnectionLost: the connection ended before the response did.
            DecodeError: not HTTP/1.1 (``record.invalid``), or a body longer than
                ``max_bytes`` (``size.exceeded``).
            UsageError: a host, path or header that no request can have.
        """
        lines = [("Host", host), *headers]
        try:
            request = h11.Request(method="GET", target=path, headers=lines)
        except (h11.LocalProtocolError, TypeError, ValueError) as exc:
            raise UsageError(f"nothing that can be asked for: {exc}") from exc
        connection = self._take_idle(host)
        if connection is not None:
            # The server may have closed it meanwhile; a GET may be sent twice.
            with contextlib.suppress(ConnectionLost):
                return await self._exchange(host, connection, request, max_bytes)
        connection = await _Connection.open(host, self._host_map)
        return await self._exchange(host, connection, request, max_bytes)

    async def close(self) -> None:
        """Close the idle connections. Idempotent."""
        while self._idle:
            loop, idle = self._idle.popitem()
            for connection in [one for kept in idle.values() for one in kept]:
                with contextlib.suppress(RuntimeError):  # that loop has ended
                    loop.call_soon_threadsafe(connection.close)
        # The sockets close in the loop's next turns.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def _exchange(
        self, host: str, connection: _Connection, request: h11.Request, max_bytes: int
    ) -> HttpResponse:
        try:
            response = await connection.exchange(request, max_bytes)
        except BaseException:
            connection.close()
            raise
        if connection.reuse():
            self._keep(host, connection)
        else:
            connection.close()
        return response

    def _keep(self, host: str, connection: _Connection) -> None:
        """Keep a connection for a few seconds, whether or not it is asked for."""
        idle = self._idle_here()
        total = sum(map(len, idle.values()))
        if total >= _IDLE_MAX or len(idle.get(host, ())) >= _IDLE_PER_HOST:
            connection.close()
            return
        idle.setdefault(host, []).append(connection)
        connection.expiry = asyncio.get_running_loop().call_later(
            _IDLE_MAX_S, self._drop, host, connection
        )

    def _drop(self, host: str, connection: _Connection) -> None:
        idle = self._idle_here()
        connections = idle.get(host, [])
        if connection in connections:
            connections.remove(connection)
            connection.close()
        if not connections:
            idle.pop(host, None)

    def _take_idle(self, host: str) -> _Connection | None:
        idle = self._idle_here()
        connections, usable = idle.get(host, []), None
        while connections and usable is None:
            connection = connections.pop()
            if connection.was_silent():
                connection.stop_expiry()
                usable = connection
            else:
                connection.close()
        if not connections:
            idle.pop(host, None)
        return usable

    def _idle_here(self) -> _Idle:
        """Return the connections of the running loop, by host."""
        loop = asyncio.get_running_loop()
        idle = self._idle.get(loop)
        if idle is None:
            # Connections of an ended loop cannot be used, nor closed, in this one.
            for ended in [one for one in list(self._idle) if one.is_closed()]:
                self._idle.pop(ended, None)
            idle = self._idle[loop] = {}
        return idle


class _Connection:
    """One TLS connection and its HTTP/1.1 state."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(
            h11.CLIENT, max_incomplete_event_size=_HEAD_MAX_BYTES
        )
        self.expiry: asyncio.TimerHandle | None = None

    @classmethod
    async def open(cls, host: str, host_map: HostMap) -> _Connection:
        address, port = await resolve_address(host, host_map)
        ca = host_map[host].ca if host in host_map else None
        context = tls_context(ca)
        try:
            streams = await asyncio.open_connection(
                address, port, ssl=context, server_hostname=host
            )
        # ssl.SSLError is the first; the others are of an address in the host map that
        # no name system and no system takes.
        except (OSError, ValueError, OverflowError) as exc:
            raise ConnectFailed(f"cannot connect to {host}: {exc}") from exc
        return cls(*streams)

    async def exchange(self, request: h11.Request, max_bytes: int) -> HttpResponse:
        try:
            self._writer.write(self._http.send(request) or b"")
            self._writer.write(self._http.send(h11.EndOfMessage()) or b"")
            return await self._response(max_bytes)
        except h11.ProtocolError as exc:
            raise DecodeError(
                f"the server does not speak HTTP/1.1: {exc}", code=Code.RECORD_INVALID
            ) from exc
        except OSError as exc:
            raise ConnectionLost(f"the connection broke: {exc}") from exc

    async def _response(self, max_bytes: int) -> HttpResponse:
        head: h11.Response | None = None
        body = bytearray()
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > max_bytes:
                    raise DecodeError(
                        f"the response is longer than {max_bytes} bytes",
                        code=Code.SIZE_EXCEEDED,
                    )
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return HttpResponse(
                    head.status_code,
                    _lines(head.headers),
                    _lines(event.headers),
                    bytes(body),
                )
            elif isinstance(event, h11.ConnectionClosed):
                raise ConnectionLost("the server closed the connection")

    async def _next_event(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            event = self._http.next_event()
            if not isinstance(event, type) or not issubclass(event, h11.NEED_DATA):
                return event
            data = await self._reader.read(_READ_BYTES)
            if not data and self._http.their_state is h11.SEND_RESPONSE:
                # Before its first byte, an end is a lost connection, not bad HTTP.
                raise ConnectionLost("the server closed the connection")
            self._http.receive_data(data)

    def reuse(self) -> bool:
        if self._http.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
            return False
        if self._http.trailing_data[0]:
            return False  # the answer to nothing (RFC 9112, 9.2), nor to what comes
        self._http.start_next_cycle()
        return True

    def was_silent(self) -> bool:
        """Return whether the server has said nothing since its last response.

        What it says unasked is the answer to nothing; the end says that it left.
        """
        transport = self._writer.transport
        if transport.is_closing():
            return False
        if has_unread(transport.get_extra_info("socket").fileno()):
            return False
        reading = self._reader.read(1)
        try:
            reading.send(None)  # as far as it goes without waiting
        except (StopIteration, OSError):
            return False
        reading.close()
        return True

    def stop_expiry(self) -> None:
        if self.expiry is not None:
            self.expiry.cancel()

    def close(self) -> None:
        self.stop_expiry()
        # Nothing is under way: there is no point in a TLS goodbye, which would
        # outlive this loop. A transport of a loop that has ended raises RuntimeError.
        with contextlib.suppress(RuntimeError):
            self._writer.transport.abort()


_Idle: TypeAlias = dict[str, list[_Connection]]


def _lines(headers: h11._headers.Headers) -> HeaderLines:
    return tuple(
        (name.decode("ascii"), value.decode("latin-1"))
        for name, value in headers.raw_items()
    )
