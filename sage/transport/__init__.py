"""The only room with sockets: WebSocket over TLS, and HTTPS for records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .address import HostAddress, HostMap
    from .asgi import AsgiWebSocket
    from .deadline import within
    from .host_map import load_host_map
    from .https import HttpsPool
    from .https2 import Http2Pool
    from .https_client import HttpResponse, HttpsClient, HttpsPoolConfig, open_https
    from .https_get import HttpsGetter
    from .records import Records
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
    "AsgiWebSocket",
    "HostAddress",
    "HostMap",
    "Http2Pool",
    "HttpResponse",
    "HttpsClient",
    "HttpsGetter",
    "HttpsPool",
    "HttpsPoolConfig",
    "RecordHandler",
    "RecordStream",
    "Records",
    "WebResolver",
    "WebSocket",
    "load_host_map",
    "open_https",
    "open_tcp",
    "open_unix",
    "serve_tcp",
    "serve_unix",
    "within",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "AsgiWebSocket": ".asgi",
        "HostAddress": ".address",
        "HostMap": ".address",
        "Http2Pool": ".https2",
        "HttpResponse": ".https_client",
        "HttpsClient": ".https_client",
        "HttpsGetter": ".https_get",
        "HttpsPool": ".https",
        "HttpsPoolConfig": ".https_client",
        "RecordHandler": ".stream",
        "RecordStream": ".stream",
        "Records": ".records",
        "WebResolver": ".web_resolver",
        "WebSocket": ".websocket",
        "load_host_map": ".host_map",
        "open_https": ".https_client",
        "open_tcp": ".stream",
        "open_unix": ".stream",
        "serve_tcp": ".stream",
        "serve_unix": ".stream",
        "within": ".deadline",
    },
)
