"""sage: identity, key agreement and sealed messages for software agents.

The everyday names are here; the building blocks are imported by room:

    sage.encoding    strict JSON, canonical JSON, base64url
    sage.runtime     TOOLS  buffers to work in
    sage.identity    WHO    names, keys, records, registries, signatures
    sage.handshake   AGREE  HPKE, the two messages, the two ends
    sage.session     CARRY  sealing, opening, the replay window
    sage.envelope    WRAP   signed requests and responses, replay guards
    sage.http        SIGN   signed HTTP messages, for any client and server
    sage.transport   MOVE   the only room with sockets
    sage.service     WIRE   agents, channels, services, a registry
    sage.cli         TYPE   the command line

Below them stand `sage.errors` (the whole tree), `sage.limits` (every number),
`sage.types`, and the kernels, compiled or pure: `backend` says which, and why.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ._lazy import lazy_names

if TYPE_CHECKING:
    from ._accel import backend
    from .envelope import MemoryReplayGuard, SqliteReplayGuard
    from .errors import RemoteFailure, SageError
    from .identity import FileResolver, MemoryResolver
    from .service import (
        Agent,
        Channel,
        ChannelPool,
        ClientConfig,
        Message,
        Registry,
        Service,
        ServiceConfig,
        connect,
    )
    from .session import Session
    from .transport import (
        CachingResolver,
        HostAddress,
        RedisReplayGuard,
        WebResolver,
    )
    from .types import Role

__all__ = [
    "Agent",
    "CachingResolver",
    "Channel",
    "ChannelPool",
    "ClientConfig",
    "FileResolver",
    "HostAddress",
    "MemoryReplayGuard",
    "MemoryResolver",
    "Message",
    "RedisReplayGuard",
    "Registry",
    "RemoteFailure",
    "Role",
    "SageError",
    "Service",
    "ServiceConfig",
    "Session",
    "SqliteReplayGuard",
    "WebResolver",
    "__version__",
    "backend",
    "connect",
]
__version__ = "0.1.0"

# Nothing is printed unless the application asks for it.
logging.getLogger("sage").addHandler(logging.NullHandler())

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Agent": ".service",
        "CachingResolver": ".transport",
        "Channel": ".service",
        "ChannelPool": ".service",
        "ClientConfig": ".service",
        "FileResolver": ".identity",
        "HostAddress": ".transport",
        "MemoryReplayGuard": ".envelope",
        "MemoryResolver": ".identity",
        "Message": ".service",
        "RedisReplayGuard": ".transport",
        "Registry": ".service",
        "RemoteFailure": ".errors",
        "Role": ".types",
        "SageError": ".errors",
        "Service": ".service",
        "ServiceConfig": ".service",
        "Session": ".session",
        "SqliteReplayGuard": ".envelope",
        "WebResolver": ".transport",
        "backend": "._accel",
        "connect": ".service",
    },
)
