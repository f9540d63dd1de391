"""Who sent a verified request, as an application finds it in the ASGI scope."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..types import Did
from .verify import VerifiedSignature

__all__ = ["PEER", "HttpPeer"]

PEER: Final = "sage.peer"
"""The key of the scope under which `VerifyMiddleware` puts the peer."""


@dataclass(frozen=True, slots=True, eq=False)
class HttpPeer:
    """The proven sender of a request; a user as Starlette, FastAPI and A2A know one.

    Attributes:
        signature: the proof, which only a verifier makes.
        did: the agent; ``None`` for a key that was configured by hand.
    """

    signature: VerifiedSignature
    did: Did | None

    @property
    def keyid(self) -> str:
        """The id of the key that signed."""
        return self.signature.key.kid

    @property
    def is_authenticated(self) -> bool:
        """``True``: there is no other way to become one."""
        return True

    @property
    def identity(self) -> str:
        """The DID, or the key id of a key that was configured by hand."""
        return self.keyid if self.did is None else self.did

    @property
    def display_name(self) -> str:
        """The same as `identity`."""
        return self.identity
