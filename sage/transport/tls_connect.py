"""Opens TLS connections: the name's addresses in turn, then the handshake."""

from __future__ import annotations

import asyncio
import socket
import ssl

from .tls import TlsTransport, can_watch_sockets

__all__ = ["connect_tls"]


async def connect_tls(
    host: str,
    port: int,
    protocol: asyncio.Protocol,
    context: ssl.SSLContext,
    *,
    timeout_s: float,
) -> None:
    """Connect; the protocol's ``connection_made`` has run on return.

    Args:
        host: a name or an address, which the server's certificate must prove.
        port: TCP port.
        protocol: whose connection it is.
        context: a client context.
        timeout_s: for the handshake; the caller limits the whole.

    Raises:
        OSError: refused, unreachable or untrusted.
    """
    loop = asyncio.get_running_loop()
    if not can_watch_sockets():
        await loop.create_connection(lambda: protocol, host, port, ssl=context)
        return
    opened: asyncio.Future[None] = loop.create_future()

    def tell(error: Exception | None) -> None:
        if opened.done():
            return
        if error is None:
            opened.set_result(None)
        else:
            opened.set_exception(error)

    sock = await _connect_tcp(host, port)
    try:
        transport = TlsTransport(
            sock,
            protocol,
            context,
            timeout_s=timeout_s,
            server_hostname=host,
            on_opened=tell,
        )
    except BaseException:
        sock.close()
        raise
    try:
        await opened
    except asyncio.CancelledError:
        transport.abort()
        raise


async def _connect_tcp(host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    failure = OSError(f"{host} has no address")
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for family, kind, proto, _, address in found:
        try:
            sock = socket.socket(family, kind, proto)
        except OSError as exc:  # a family that this machine does not have
            failure = exc
            continue
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            await loop.sock_connect(sock, address)
        except OSError as exc:
            sock.close()
            failure = exc
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure
