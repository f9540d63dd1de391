"""The only room with sockets: WebSocket over TLS, and HTTPS for records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .address import HostAddress, HostMap
    from .asgi import AsgiWebSocket
    from .caching_resolver import CachingResolver, ResolverStatistics
    from .compress import (
        ENCODINGS,
        compress_payload,
        decompress_payload,
        require_encodings,
    )
    from .deadline import within
    from .host_map import load_host_map
    from .https import HttpsPool
    from .https2 import Http2Pool
    from .https_client import HttpResponse, HttpsClient, HttpsPoolConfig, open_https
    from .https_get import HttpsGetter
    from .metrics import Metrics
    from .prometheus import PrometheusMetrics
    from .records import Records
    from .replay_guard_redis import RedisReplayGuard
    from .stream import (
        RecordHandler,
        RecordStream,
        open_tcp,
        open_unix,
        serve_tcp,
        serve_unix,
    )
    from .web_resolver import WebResolver
    from .websocket import WebSocket

__all__ = [
    "ENCODINGS",
    "AsgiWebSocket",
    "CachingResolver",
    "HostAddress",
    "HostMap",
    "Http2Pool",
    "HttpResponse",
    "HttpsClient",
    "HttpsGetter",
    "HttpsPool",
    "HttpsPoolConfig",
    "Metrics",
    "PrometheusMetrics",
    "RecordHandler",
    "RecordStream",
    "Records",
    "RedisReplayGuard",
    "ResolverStatistics",
    "WebResolver",
    "WebSocket",
    "compress_payload",
    "decompress_payload",
    "load_host_map",
    "open_https",
    "open_tcp",
    "open_unix",
    "require_encodings",
    "serve_tcp",
    "serve_unix",
    "within",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "AsgiWebSocket": ".asgi",
        "ENCODINGS": ".compress",
        "CachingResolver": ".caching_resolver",
        "HostAddress": ".address",
        "HostMap": ".address",
        "Http2Pool": ".https2",
        "HttpResponse": ".https_client",
        "HttpsClient": ".https_client",
        "HttpsGetter": ".https_get",
        "HttpsPool": ".https",
        "HttpsPoolConfig": ".https_client",
        "Metrics": ".metrics",
        "PrometheusMetrics": ".prometheus",
        "RecordHandler": ".stream",
        "RecordStream": ".stream",
        "Records": ".records",
        "RedisReplayGuard": ".replay_guard_redis",
        "ResolverStatistics": ".caching_resolver",
        "WebResolver": ".web_resolver",
        "WebSocket": ".websocket",
        "compress_payload": ".compress",
        "decompress_payload": ".compress",
        "load_host_map": ".host_map",
        "open_https": ".https_client",
        "open_tcp": ".stream",
        "open_unix": ".stream",
        "require_encodings": ".compress",
        "serve_tcp": ".stream",
        "serve_unix": ".stream",
        "within": ".deadline",
    },
)
