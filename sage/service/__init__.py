"""The everyday end of sage: agents, channels, services, a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .agent import Agent
    from .channel import Channel
    from .channel_pool import ChannelPool
    from .client import connect
    from .clock import Clock
    from .config import ClientConfig, ServiceConfig
    from .hosting import serve, serving
    from .key_ring import KeyPair, KeyRing
    from .logs import JsonLogFormatter, correlation_id
    from .message import Handler, Message
    from .metrics_app import MetricsApp
    from .pool_config import ChannelPoolConfig, PoolStatistics
    from .registry import Registry
    from .rotation import Rotation, Stage
    from .server import Service
    from .stream import Stream, StreamHandler

__all__ = [
    "Agent",
    "Channel",
    "ChannelPool",
    "ChannelPoolConfig",
    "ClientConfig",
    "Clock",
    "Handler",
    "JsonLogFormatter",
    "KeyPair",
    "KeyRing",
    "Message",
    "MetricsApp",
    "PoolStatistics",
    "Registry",
    "Rotation",
    "Service",
    "ServiceConfig",
    "Stage",
    "Stream",
    "StreamHandler",
    "connect",
    "correlation_id",
    "serve",
    "serving",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Agent": ".agent",
        "Channel": ".channel",
        "ChannelPool": ".channel_pool",
        "ChannelPoolConfig": ".pool_config",
        "ClientConfig": ".config",
        "Clock": ".clock",
        "Handler": ".message",
        "JsonLogFormatter": ".logs",
        "KeyPair": ".key_ring",
        "KeyRing": ".key_ring",
        "Message": ".message",
        "MetricsApp": ".metrics_app",
        "PoolStatistics": ".pool_config",
        "Registry": ".registry",
        "Rotation": ".rotation",
        "Service": ".server",
        "ServiceConfig": ".config",
        "Stage": ".rotation",
        "Stream": ".stream",
        "StreamHandler": ".stream",
        "connect": ".client",
        "correlation_id": ".logs",
        "serve": ".hosting",
        "serving": ".hosting",
    },
)
