"""What a service's handler gets: an authenticated request, opened."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ..types import Did, SessionId

__all__ = ["Handler", "Message"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One request, after everything about it was verified.

    Attributes:
        payload: what the peer sealed.
        peer: who sent it.
        id: the request's id, a UUIDv4; never seen before.
        session_id: the session that carried it.
        metadata: what the peer signed beside it; not encrypted.
    """

    payload: bytes = field(repr=False)
    peer: Did
    id: str
    session_id: SessionId
    metadata: Mapping[str, str] = field(default_factory=dict)


Handler: TypeAlias = Callable[[Message], Awaitable[bytes]]
"""Answers a message with at most 8,388,572 bytes. An exception becomes the answer
``operation_failed``, a `RemoteFailure` the reason that it carries, where it is one
that an answer may have."""
