"""A service and a channel to it, in one loop, for the benchmarks that need both."""

from __future__ import annotations

import asyncio
import socket
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from functools import cache
from pathlib import Path
from typing import Any

from .house import ADA, GRACE, needs

Body = Callable[[Any], Coroutine[Any, Any, None]]


@cache
def authority() -> tuple[bytes, ssl.SSLContext]:
    """Return a certificate with its key, and a context that trusts it."""
    trustme = needs("trustme", "CA")
    issuer, context = trustme(), ssl.create_default_context()
    issuer.configure_trust(context)
    leaf = issuer.issue_cert("localhost").private_key_and_cert_chain_pem
    return leaf.bytes(), context


class Loopback:
    """Two agents that are connected, until `close`."""

    def __init__(
        self,
        handler: Callable[[Any], Awaitable[bytes]],
        *,
        carrier: str = "wss",
        stream_handler: Any = None,
        aead: str | None = None,
    ) -> None:
        """Connect.

        Args:
            handler: answers requests.
            carrier: ``wss`` or ``https``.
            stream_handler: takes streams.
            aead: opens a stream of it, instead of handing out the channel.
        """
        self._serving = needs("sage.service", "serving")
        self._service = {"handler": handler}
        if stream_handler is not None:
            self._service["stream_handler"] = stream_handler
        self._carrier, self._aead = carrier, aead
        if carrier == "https":
            needs("sage.transport", "HttpsPool")
        self.loop = asyncio.new_event_loop()
        ready = self.loop.create_future()
        self._stop = asyncio.Event()
        self._running = self.loop.create_task(self._run(ready))
        first = asyncio.wait(
            [ready, self._running], return_when=asyncio.FIRST_COMPLETED
        )
        self.loop.run_until_complete(first)
        if not ready.done():
            self._running.result()  # says why
        self.end = ready.result()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run in the loop that both ends live in."""
        return self.loop.run_until_complete(work)

    def close(self) -> None:
        """Hang up and stop the service."""
        self._stop.set()
        self.loop.run_until_complete(self._running)
        self.loop.close()

    async def _run(self, ready: asyncio.Future[Any]) -> None:
        Agent, Service, MemoryResolver, connect = needs(
            "sage", "Agent", "Service", "MemoryResolver", "connect"
        )
        ada, grace = Agent.generate(ADA), Agent.generate(GRACE)
        resolver = MemoryResolver([ada.record, grace.record])
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        url = f"{self._carrier}://localhost:{port}/sage"
        if self._carrier == "https":
            config = needs("sage", "ServiceConfig")(https_endpoints=frozenset({url}))
            self._service["config"] = config
        service = Service(agent=grace, resolver=resolver, **self._service)
        leaf, trust = authority()
        with tempfile.TemporaryDirectory() as folder:
            certificate = Path(folder, "grace.pem")
            certificate.write_bytes(leaf)
            async with (
                self._serving(service, certificate=certificate, port=port),
                connect(
                    url, agent=ada, peer=GRACE, resolver=resolver, tls=trust
                ) as channel,
            ):
                if self._aead is None:
                    ready.set_result(channel)
                    await self._stop.wait()
                    return
                async with channel.stream(self._aead) as stream:
                    ready.set_result(stream)
                    await self._stop.wait()


async def echo(message: Any) -> bytes:
    """Answer with what was asked."""
    return message.payload
