"""What everything that a service does has in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ..envelope import ReplayGuard
from ..identity import Resolver
from ..transport.metrics import NO_METRICS, Metrics
from .agent import Agent
from .byte_budget import ByteBudget
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
    metrics: Metrics = NO_METRICS
    budget: ByteBudget = field(init=False)
    budget_of_strangers: ByteBudget = field(init=False)

    def __post_init__(self) -> None:
        """Set the budget up that all connections share, and strangers' part of it.

        A message of a stranger holds its bytes while its sender is looked up, and how
        long that takes is for the sender to choose. A quarter is theirs.
        """
        limit = self.config.max_bytes_in_flight
        budget = ByteBudget(limit)
        strangers = ByteBudget(-(-limit // 4), within=budget)
        object.__setattr__(self, "budget", budget)
        object.__setattr__(self, "budget_of_strangers", strangers)
