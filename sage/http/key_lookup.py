"""From the key id in a signature to exactly the key that verifies it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import AuthenticationError, Code, ResolutionError, UsageError
from ..identity import Resolver, parse_did, parse_key_url
from ..limits import RESOLVE_TIMEOUT_S
from ..types import Did
from .keys import VerificationKey

__all__ = ["FoundKey", "KeyLookup"]


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key, and whose it is.

    Attributes:
        key: what verifies.
        did: the agent whose current record holds it; ``None`` for a key that was
            configured by hand.
    """

    key: VerificationKey
    did: Did | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLookup:
    """Finds keys in a table first, and then in the records of agents.

    Attributes:
        resolver: where the records of ``did:sage`` agents are read; every lookup
            reads anew, as far as the resolver does.
        keys: key id → key, for everybody without a DID (RSA, HMAC, …).
        peer: the only agent whose records count, where that is known.

    Raises:
        UsageError: neither a resolver nor keys; ``peer`` without a resolver; or what
            should verify is no key for that, such as the private one.
    """

    resolver: Resolver | None = None
    keys: Mapping[str, VerificationKey] = field(default_factory=dict)
    peer: str | None = None

    def __post_init__(self) -> None:
        """Refuse a lookup that could never find anything."""
        if self.resolver is None and not self.keys:
            raise UsageError("a resolver or keys: nobody could be verified otherwise")
        for key in self.keys.values():
            if not hasattr(key, "verify"):
                raise UsageError(
                    "a key verifies, such as an HttpKey's verification_key(), not"
                    f" {type(key).__name__}"
                )
        if self.peer is not None:
            if self.resolver is None:
                raise UsageError("a peer's record needs a resolver")
            parse_did(self.peer)

    async def find(self, keyid: str | None) -> FoundKey:
        """Return the key of that id.

        Raises:
            ResolutionError: nobody has such a key, or its record is not usable; see
                `Resolver.resolve` and `AgentRecord.find_signing_key`.
            DecodeError: not a key URL (``id.malformed``, ``id.unknown-kind``).
            AuthenticationError: the key of another agent than ``peer``
                (``sig.binding``), or one that does not sign (``sig.alg-mismatch``).
        """
        configured = None if keyid is None else self.keys.get(keyid)
        if configured is not None:
            return FoundKey(configured, None)
        if self.resolver is None or keyid is None:
            raise ResolutionError("no key of that id", code=Code.KEY_NOT_IN_RECORD)
        did = parse_key_url(keyid).did.did
        if self.peer not in (None, did):
            raise AuthenticationError(code=Code.SIG_BINDING)
        key = await self._resolve(self.resolver, did, keyid)
        return FoundKey(key, did)

    async def _resolve(
        self, resolver: Resolver, did: Did, keyid: str
    ) -> VerificationKey:
        now = time.monotonic()
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                observation = await resolver.resolve(did, now=now)
        except TimeoutError as exc:
            raise ResolutionError(
                f"no answer within {RESOLVE_TIMEOUT_S:g} s",
                code=Code.RECORD_UNREACHABLE,
            ) from exc
        observation.require_fresh(time.monotonic())
        return observation.record.find_signing_key(keyid, unix_time=int(time.time()))
