"""Every private key that an agent holds, and how an agent file writes them.

Outside of a rotation there is one pair. During one there are two: the pair in use, and
either the one that follows it or the one that it took over from::

    format "sage-agent-1"   record, signing, kem
    format "sage-agent-2"   the same, with following or retired, and moved_at;
                            with announced, once that is so

A file without a rotation has the first format, which every version reads. A version
that knows the first alone refuses the second, and so cannot lose a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

from ..encoding import b64u_decode, b64u_encode, jcs
from ..errors import UsageError
from ..identity import AgentRecord, KemKey, SigningKey, parse_record
from ..types import JsonObject

__all__ = ["KeyPair", "KeyRing"]


class KeyPair(NamedTuple):
    """A signing key and the X25519 key that goes with it."""

    signing_key: SigningKey
    kem_key: KemKey

    def wipe(self) -> None:
        """Drop both private keys; see `SigningKey.wipe`."""
        self.signing_key.wipe()
        self.kem_key.wipe()

    def to_json(self) -> JsonObject:
        """Return both with their secrets, for an encrypted file."""
        return {
            "signing": _private_json(self.signing_key),
            "kem": _private_json(self.kem_key),
        }

    @classmethod
    def from_json(cls, value: Any, did: str) -> Self:
        """Read what `to_json` made.

        Raises:
            SageError, KeyError, TypeError: it is not such an object.
        """
        signing, kem = value["signing"], value["kem"]
        return cls(
            SigningKey.from_private_bytes(
                f"{did}#{signing['name']}",
                signing["alg"],
                b64u_decode(signing["private"]),
            ),
            KemKey.from_private_bytes(
                f"{did}#{kem['name']}", b64u_decode(kem["private"])
            ),
        )


@dataclass(frozen=True, slots=True, eq=False)
class KeyRing:
    """An agent's record and keys at one moment. A change is another ring.

    Attributes:
        record: the agent record to publish.
        current: the pair in use.
        following: the pair that will take over, or ``None``.
        retired: the pair that it took over from, or ``None``.
        moved_at: wall seconds of a rotation's last step; 0 without one.
        announced: the record with the pair that will take over is known to be
            published, at ``moved_at`` at the latest.
    """

    record: AgentRecord
    current: KeyPair
    following: KeyPair | None = None
    retired: KeyPair | None = None
    moved_at: int = 0
    announced: bool = False

    @property
    def pairs(self) -> tuple[KeyPair, ...]:
        """Every pair that is held, the one in use first."""
        others = (self.following, self.retired)
        return (self.current, *(pair for pair in others if pair is not None))

    def encode(self) -> bytes:
        """Return the content of an agent file, to be encrypted."""
        members: JsonObject = {
            "format": _PLAIN,
            "record": b64u_encode(self.record.encode()),
            **self.current.to_json(),
        }
        for name, pair in (("following", self.following), ("retired", self.retired)):
            if pair is not None:
                members |= {
                    "format": _ROTATING,
                    name: pair.to_json(),
                    "moved_at": self.moved_at,
                }
        if self.announced and self.following is not None:
            members["announced"] = True
        return jcs(members)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what `encode` made.

        Raises:
            SageError, KeyError, TypeError: it is not such an object.
        """
        known = (_PLAIN, _ROTATING)
        if not isinstance(value, dict) or value.get("format") not in known:
            raise UsageError(f"its format is not one of {', '.join(known)}")
        record = parse_record(b64u_decode(value["record"]))
        current = KeyPair.from_json(value, record.id)
        if value["format"] == _PLAIN:
            return cls(record, current)
        moved_at = value["moved_at"]
        if not isinstance(moved_at, int):
            raise UsageError("moved_at is not a time")
        # Files from before it was saved lack it: then nobody knows, and asks again.
        announced = value.get("announced", False)
        if not isinstance(announced, bool):
            raise UsageError("announced is not true or false")
        others = {
            name: KeyPair.from_json(value[name], record.id)
            for name in ("following", "retired")
            if name in value
        }
        return cls(record, current, moved_at=moved_at, announced=announced, **others)


_PLAIN: Final = "sage-agent-1"
_ROTATING: Final = "sage-agent-2"


def _private_json(key: SigningKey | KemKey) -> JsonObject:
    return {
        "name": key.kid.partition("#")[2],
        "alg": key.algorithm,
        "private": b64u_encode(key.private_bytes()),
    }
