"""The only room with sockets: WebSocket over TLS, and HTTPS for records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .address import HostAddress, HostMap
    from .asgi import AsgiWebSocket
    from .deadline import within
    from .host_map import load_host_map
    from .https_get import HttpResponse, HttpsGetter
    from .web_resolver import WebResolver
    from .websocket import WebSocket

__all__ = [
    "AsgiWebSocket",
    "HostAddress",
    "HostMap",
    "HttpResponse",
    "HttpsGetter",
    "WebResolver",
    "WebSocket",
    "load_host_map",
    "within",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "AsgiWebSocket": ".asgi",
        "HostAddress": ".address",
        "HostMap": ".address",
        "HttpResponse": ".https_get",
        "HttpsGetter": ".https_get",
        "WebResolver": ".web_resolver",
        "WebSocket": ".websocket",
        "load_host_map": ".host_map",
        "within": ".deadline",
    },
)
