"""The names that every room shares: identifiers, buffers, roles."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from enum import Enum
from typing import Any, NewType, TypeAlias

__all__ = [
    "AsgiApp",
    "AsgiMessage",
    "AsgiReceive",
    "AsgiScope",
    "AsgiSend",
    "Buffer",
    "Did",
    "Json",
    "JsonObject",
    "KeyUrl",
    "Role",
    "SessionId",
]

Buffer: TypeAlias = bytes | bytearray | memoryview
"""What a bytes argument may be; at run time, anything with the buffer protocol."""

Did = NewType("Did", str)
"""A ``did:sage`` identifier in normal form, at most 256 ASCII bytes (ID-01)."""

KeyUrl = NewType("KeyUrl", str)
"""A DID with a key fragment, ``did:sage:…#key-id``, at most 289 ASCII bytes."""

SessionId = NewType("SessionId", str)
"""Canonical base64url of 16 bytes: 22 characters."""

Json: TypeAlias = (
    "bool | int | float | str | list[Json] | tuple[Json, ...] | dict[str, Json] | None"
)
JsonObject: TypeAlias = "dict[str, Json]"

AsgiScope: TypeAlias = MutableMapping[str, Any]
AsgiMessage: TypeAlias = MutableMapping[str, Any]
AsgiReceive: TypeAlias = Callable[[], Awaitable[AsgiMessage]]
AsgiSend: TypeAlias = Callable[[AsgiMessage], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[AsgiScope, AsgiReceive, AsgiSend], Awaitable[None]]


class Role(Enum):
    """Which end of a handshake we are. The initiator sends in direction c2s."""

    INITIATOR = "initiator"
    RESPONDER = "responder"

    # A member is itself and no other; `Enum` would hash its name, in Python.
    __hash__ = object.__hash__

    @property
    def other(self) -> Role:
        """The role of the peer."""
        return Role.RESPONDER if self is Role.INITIATOR else Role.INITIATOR
