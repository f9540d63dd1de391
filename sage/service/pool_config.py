"""What can be set about a pool of channels, and what it tells about itself."""

from __future__ import annotations

from dataclasses import dataclass

from ..limits import (
    LIVENESS_TIMEOUT_S,
    POOL_ATTEMPTS,
    POOL_CHECK_AFTER_S,
    POOL_IDLE_S,
    POOL_MAX_CHANNELS,
    POOL_MAX_PER_ENDPOINT,
    POOL_SHARED_REQUESTS,
    POOL_WAIT_S,
    RECONNECT_MAX_S,
    RECONNECT_S,
)
from ..runtime.bounds import check_bounds

__all__ = ["ChannelPoolConfig", "PoolStatistics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelPoolConfig:
    """The bounds and time limits of a pool.

    Attributes:
        max_channels: open at once; where one more is needed, the one that has been
            idle for longest gives way, and where none is idle, whoever asks waits.
        max_per_endpoint: likewise, to one endpoint and peer.
        shared_requests: how many requests share a channel before another is opened.
        wait_s: how long a call may wait for a channel, connecting included.
        idle_s: how long an unused channel is kept.
        check_after_s: unused for so long, a channel is checked before it is used.
        check_timeout_s: how long the peer may take to show a sign of life.
        attempts: how many failed connections a waiting call sits through before it
            fails with the last one's error.
        reconnect_s: the bound of the first back-off; it doubles with each failure,
        reconnect_max_s: up to this one. The wait is drawn from all of it.
    """

    max_channels: int = POOL_MAX_CHANNELS
    max_per_endpoint: int = POOL_MAX_PER_ENDPOINT
    shared_requests: int = POOL_SHARED_REQUESTS
    wait_s: float = POOL_WAIT_S
    idle_s: float = POOL_IDLE_S
    check_after_s: float = POOL_CHECK_AFTER_S
    check_timeout_s: float = LIVENESS_TIMEOUT_S
    attempts: int = POOL_ATTEMPTS
    reconnect_s: float = RECONNECT_S
    reconnect_max_s: float = RECONNECT_MAX_S

    def __post_init__(self) -> None:
        """Refuse what is no bound.

        Raises:
            UsageError: a number that is not positive.
        """
        check_bounds(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStatistics:
    """What a pool holds now, and what it did since it was made.

    Attributes:
        open: channels, busy and idle.
        idle: those of them that nobody uses.
        connecting: attempts under way.
        waiting: calls that wait for a channel.
        attempts: connections that were tried.
        failures: those of them that failed.
        dropped: channels that were dropped: idle, dead, or to make room.
    """

    open: int
    idle: int
    connecting: int
    waiting: int
    attempts: int
    failures: int
    dropped: int
