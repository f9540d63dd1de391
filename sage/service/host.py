"""What everything that a service does has in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..envelope import ReplayGuard
from ..identity import Resolver
from .agent import Agent
from .clock import Clock
from .config import ServiceConfig
from .message import Handler
from .stream import StreamHandler

__all__ = ["GENERIC_REFUSAL", "Host"]

GENERIC_REFUSAL: Final = "refused"
"""The only thing that a peer is ever told about a refusal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What all connections of a service share."""

    agent: Agent
    resolver: Resolver
    handler: Handler
    guard: ReplayGuard
    config: ServiceConfig
    clock: Clock
    stream_handler: StreamHandler | None = None
