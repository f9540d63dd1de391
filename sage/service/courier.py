"""What carries a channel's requests and brings their responses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..envelope import Request, Response
from ..errors import ConnectionLost, PeerError, SageError
from ..identity import PublicKey
from ..transport.metrics import Carriage

__all__ = ["Courier", "Feed", "Progress", "Reply", "Report", "for_waiting"]

Feed = Callable[[Sequence[bytes]], Awaitable[None]]
Report = Callable[[SageError], Awaitable[None]]


@dataclass(slots=True)
class Progress:
    """How far a request came.

    Attributes:
        sent: whether it may have reached the peer.
    """

    sent: bool = False


def _nothing(_: PublicKey) -> None:
    """Where the carrier adds nothing, there is nothing to verify."""


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """A response as it arrived, and what came around it.

    Attributes:
        response: decoded; nothing about it is known to be true.
        verify: verifies what the carrier added, under the key of the response;
            raises a `PeerError` where that does not hold.
    """

    response: Response
    verify: Callable[[PublicKey], object] = _nothing


class Courier(Protocol):
    """Carries requests to one endpoint."""

    @property
    def has_streams(self) -> bool:
        """Whether records can be sent outside of requests."""

    @property
    def carriage(self) -> Carriage:
        """What it is, to those who count."""

    @property
    def is_bound(self) -> bool:
        """Whether the peer's sessions end with one connection, which we would see."""

    def start(self, *, feed: Feed, fail: Report, identifier: str) -> None:
        """Begin to work.

        Args:
            feed: takes the records that arrive outside of a response, in order.
            fail: told once why nothing can be carried any more.
            identifier: of the channel, in the logs.
        """

    async def ask(self, request: Request, progress: Progress) -> Reply:
        """Send a signed request, and wait for the response that names it.

        Raises:
            TransportError: there is none.
            PeerError: what came is no answer to it.
        """

    async def send_records(self, records: Sequence[bytes], *, timeout_s: float) -> None:
        """Send records outside of requests.

        Raises:
            TransportError: it was not, or perhaps not, sent.
            UsageError: there are none here.
        """

    async def check(self, *, timeout_s: float) -> None:
        """Make sure that the other end is there, where a silent one would not show.

        Raises:
            TransportError: it is not.
        """

    async def stop(self, error: SageError, code: int) -> None:
        """Fail every request under way with ``error``, and end within a second.

        Idempotent. ``code`` is told to the peer, where there is a way to.
        """

    async def wait_stopped(self) -> None:
        """Wait, a second at most, until all work has ended."""


def for_waiting(error: SageError) -> SageError:
    """Return one error object for each waiter, so that tracebacks do not pile up."""
    if isinstance(error, PeerError):
        return ConnectionLost(f"the channel failed: {error}")
    return ConnectionLost(str(error))
