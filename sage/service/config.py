"""What can be set: every wait and every bound of clients and services."""

from __future__ import annotations

from collections.abc import Collection, Set
from dataclasses import dataclass, field

from ..errors import UsageError
from ..limits import (
    CONNECT_TIMEOUT_S,
    ENVELOPE_TTL_S,
    FIRST_MESSAGE_TIMEOUT_S,
    FRESHNESS_WINDOW_S,
    HANDSHAKE_TIMEOUT_S,
    HTTPS_MAX_HANDSHAKES,
    HTTPS_MAX_REQUESTS,
    HTTPS_MAX_SESSIONS,
    HTTPS_MAX_SESSIONS_PER_PEER,
    IDLE_CONNECTION_TIMEOUT_S,
    MAX_BYTES_IN_FLIGHT,
    MAX_CONNECTIONS,
    MAX_REQUESTS_IN_FLIGHT,
    MAX_SESSIONS_PER_CONNECTION,
    RENEW_AFTER_RECORDS,
    RENEW_AFTER_S,
    REQUEST_TIMEOUT_S,
    SEND_TIMEOUT_S,
    SESSION_MAX_AGE_S,
    SESSION_MAX_RECORDS,
    STREAM_RENEW_AFTER_RECORDS,
)
from ..runtime.bounds import check_bounds
from ..transport.compress import require_encodings
from ..transport.https_client import HttpsPoolConfig, require_https

__all__ = ["ClientConfig", "ServiceConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """The limits of a channel.

    Attributes:
        connect_timeout_s: DNS, TCP, TLS and the WebSocket upgrade together.
        handshake_timeout_s: one handshake, resolutions included, and the wait for a
            request that keeps a session which the service would drop for it.
        request_timeout_s: one request, from the call to the verified answer.
        envelope_ttl_s: how long what we send is valid; 1..300 whole seconds.
        max_in_flight: requests at once on one channel; a further one waits.
        renew_after_records: how many records a session carries before its
            successor is made beside it; at most 1,000.
        renew_after_s: how old a session grows before, or a stream; at most an hour.
        stream_renew_after_records: how many records a stream carries in one
            direction before its session's successor is made.
        stream_send_timeout_s: how long a stream waits for a peer that does not
            receive, before it gives the connection up.
        https: the limits of the connections below a channel over HTTPS, where it has
            its own; ``connect_timeout_s`` is for WebSockets.
        compression: what payloads are compressed with, off when empty: any of ``zstd``
            and ``gzip``, the best first. Requests are compressed with the first;
            answers may come in any. A service must have the first, too.
            See the explanation of compression before you turn it on.

    Raises:
        UsageError: what could not work: of the wrong type, or out of bounds.
    """

    connect_timeout_s: float = CONNECT_TIMEOUT_S
    handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S
    request_timeout_s: float = REQUEST_TIMEOUT_S
    envelope_ttl_s: int = ENVELOPE_TTL_S
    max_in_flight: int = MAX_REQUESTS_IN_FLIGHT
    renew_after_records: int = RENEW_AFTER_RECORDS
    renew_after_s: float = RENEW_AFTER_S
    stream_renew_after_records: int = STREAM_RENEW_AFTER_RECORDS
    stream_send_timeout_s: float = SEND_TIMEOUT_S
    https: HttpsPoolConfig = field(default_factory=HttpsPoolConfig)
    compression: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check(self)
        if not isinstance(self.https, HttpsPoolConfig):
            raise UsageError("https is an HttpsPoolConfig")
        if self.renew_after_records > SESSION_MAX_RECORDS:
            raise UsageError(f"a session ends after {SESSION_MAX_RECORDS} records")
        if self.renew_after_s > SESSION_MAX_AGE_S:
            raise UsageError(f"a session ends after {SESSION_MAX_AGE_S:g} s")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """The limits of a service.

    Attributes:
        path: the WebSocket's path.
        allowed_origins: values of ``Origin`` to accept; agents send none, browsers
            always do, so that by default no web page can connect.
        first_message_timeout_s: how long a connection that has proven nothing may
            stay silent.
        idle_timeout_s: how long an authenticated one may.
        handler_timeout_s: how long the handler may take for one request.
        envelope_ttl_s: how long what we send is valid; 1..300 whole seconds.
        max_connections: at once; a further one is refused.
        max_sessions: per connection; the oldest that was never used gives way, or
            else the oldest. A channel that renews its session under load uses four.
        max_in_flight: requests at once on one connection; the socket is not read
            while there are more, so that a flood waits at its sender.
        max_bytes_in_flight: of the messages that are worked on, over all connections;
            a connection whose message finds no room waits, and is not read meanwhile.
            Those who have not proven who they are have a quarter, all together.
        stream_send_timeout_s: how long a stream waits for a peer that does not
            receive, before it gives the connection up.
        https_endpoints: the ``https://`` URLs, whole, at which requests are answered
            over HTTPS; none by default. A signature covers the target that the client
            aimed at, and that is compared with these, never with what a proxy says.
        max_https_requests: at once; a further one is refused. Half of them are for
            strangers, all together, and no peer has more than half.
        max_https_sessions: over HTTPS, in all; a further handshake is refused.
        max_https_sessions_per_peer: of one peer; the one whose last use, or making, is
            the longest ago gives way, and before it those that are nearly used up.
        max_https_handshakes: sessions that were never used; the oldest gives way.
        compression: what payloads are compressed with, off when empty: any of ``zstd``
            and ``gzip``, the best first. Requests may come in any; an answer
            is compressed with the first that its request accepts.
            See the explanation of compression before you turn it on.

    Raises:
        UsageError: what could not work: of the wrong type, or out of bounds.
    """

    path: str = "/sage"
    allowed_origins: frozenset[str] = frozenset()
    first_message_timeout_s: float = FIRST_MESSAGE_TIMEOUT_S
    idle_timeout_s: float = IDLE_CONNECTION_TIMEOUT_S
    handler_timeout_s: float = REQUEST_TIMEOUT_S
    envelope_ttl_s: int = ENVELOPE_TTL_S
    max_connections: int = MAX_CONNECTIONS
    max_sessions: int = MAX_SESSIONS_PER_CONNECTION
    max_in_flight: int = MAX_REQUESTS_IN_FLIGHT
    max_bytes_in_flight: int = MAX_BYTES_IN_FLIGHT
    stream_send_timeout_s: float = SEND_TIMEOUT_S
    https_endpoints: frozenset[str] = frozenset()
    max_https_requests: int = HTTPS_MAX_REQUESTS
    max_https_sessions: int = HTTPS_MAX_SESSIONS
    max_https_sessions_per_peer: int = HTTPS_MAX_SESSIONS_PER_PEER
    max_https_handshakes: int = HTTPS_MAX_HANDSHAKES
    compression: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check(self)
        # Of one text every part would be an origin, and a list has no `issuperset`.
        if not isinstance(self.allowed_origins, Set):
            raise UsageError("allowed origins are a set, not one text or a list")
        if not _are_texts(self.allowed_origins) or not _are_texts(self.https_endpoints):
            raise UsageError("allowed origins and HTTPS endpoints are sets of texts")
        if not _is_text(self.path):
            raise UsageError(f"path is a text, not {self.path!r}")
        for url in self.https_endpoints:
            require_https(url)


def _check(config: ClientConfig | ServiceConfig) -> None:
    check_bounds(config)
    require_encodings(config.compression)
    ttl = config.envelope_ttl_s
    if type(ttl) is not int or ttl > FRESHNESS_WINDOW_S:
        raise UsageError(
            f"envelope_ttl_s must be 1..{FRESHNESS_WINDOW_S} whole seconds"
        )


def _are_texts(values: object) -> bool:
    return isinstance(values, Collection) and all(map(_is_text, values))


def _is_text(value: object) -> bool:
    return isinstance(value, str)
