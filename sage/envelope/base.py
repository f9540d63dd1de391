"""What a request and a response have in common: members, bytes, signature.

An envelope's canonical JSON is needed four times: complete (to send, to hash),
without the signature (to sign), and without payload and signature (the AAD of the
session record). The payload may be megabytes, so its base64url is written once, the
rest is encoded once in three pieces, and each of the four is one join.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Self, TypeVar

from .._crypto import sha256
from .._kept import kept
from ..encoding import b64u_encode, jcs, parse_strict
from ..encoding.strict_json import has_more
from ..errors import Code, DecodeError, PeerError, UsageError
from ..identity.keys import SigningKey
from ..identity.signature import as_bytes
from ..limits import ENVELOPE_MAX_BYTES
from ..types import Buffer, Did, Json, JsonObject, KeyUrl, Role, SessionId
from .schema import (
    DECODERS,
    VERSION,
    check_member,
    check_members,
    check_names,
    check_version,
)

__all__ = ["Envelope", "parse_envelope", "sign"]


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """The members that requests and responses share (TRANSPORT-01).

    Immutable, and always within the schema: an envelope that exists has passed every
    check that needs neither a clock nor a key. ``None`` is an absent member.

    Attributes:
        id: UUIDv4, lower case; fresh for every envelope, never used twice.
        did: the sender.
        recipient: whom it is for.
        kid: the sender's signing key; a key of ``did``.
        created: wall seconds.
        expires: wall seconds; 1 to 300 after ``created``.
        nonce: 16 random bytes as 22 characters of base64url.
        encoding: ``plain`` or ``session``.
        context_id: UUIDv4; the handshake's ``ctx`` in a session.
        task_id: UUIDv4.
        session_id: 22 characters; exactly where ``encoding`` is ``session``.
        role: the sender's end of the handshake; always there in a session.
        metadata: up to 32 texts of up to 1024 bytes; 4096 bytes as canonical JSON.
        version: ``0.10.0``.
        signature: up to 65 bytes; ``None`` until `sign` was here.

    Raises:
        UsageError: a member is missing, or not what the schema says.
    """

    id: str
    did: Did
    recipient: Did
    kid: KeyUrl
    created: int
    expires: int
    nonce: str
    encoding: str = "plain"
    context_id: str | None = None
    task_id: str | None = None
    session_id: SessionId | None = None
    role: Role | None = None
    metadata: Mapping[str, str] | None = field(default=None, hash=False)
    version: str = VERSION
    signature: bytes | None = field(default=None, repr=False)

    _LABEL: ClassVar[bytes]
    _BODY: ClassVar[str]
    _REQUIRED: ClassVar[tuple[str, ...]]
    _OPTIONAL: ClassVar[tuple[str, ...]]
    _OPTIONAL_UNSIGNED: ClassVar[frozenset[str]]
    _NAMES: ClassVar[tuple[str, ...]]
    _NAMES_REQUIRED: ClassVar[frozenset[str]]
    _ABSENT: ClassVar[Mapping[str, None]]
    _HEAD_NAMES: ClassVar[tuple[tuple[str, ...], ...]]
    _BODY_OPEN: ClassVar[bytes]

    def __init_subclass__(cls) -> None:
        """Lay out the members, and the head: sorted by RFC 8785, cut for `_head`."""
        # Until it is signed, an envelope has no signature; decoding demands one.
        cls._OPTIONAL_UNSIGNED = frozenset((*cls._OPTIONAL, "signature"))
        cls._NAMES = tuple(dict.fromkeys((*cls._REQUIRED, *cls._OPTIONAL)))
        cls._NAMES_REQUIRED = frozenset(cls._REQUIRED)
        cls._ABSENT = dict.fromkeys(cls._NAMES)
        cls._BODY_OPEN = f',"{cls._BODY}":"'.encode("ascii")
        names = sorted({*cls._REQUIRED, *cls._OPTIONAL} - {cls._BODY, "signature"})
        cuts = [(name > cls._BODY) + (name > "signature") for name in names]
        cls._HEAD_NAMES = tuple(
            tuple(name for name, cut in zip(names, cuts, strict=True) if cut == part)
            for part in range(3)
        )

    def __post_init__(self) -> None:
        """Hold the caller's members against the schema."""
        try:
            self._check()
        except PeerError as exc:
            raise _callers_fault(exc) from exc

    @classmethod
    def from_json(cls, members: JsonObject) -> Self:
        """Build an envelope from an object that `parse_strict` returned.

        Raises:
            DecodeError, ProtocolError: as for `decode_envelope`.
        """
        check_version(members)
        if (
            not cls._NAMES_REQUIRED <= members.keys() <= cls._ABSENT.keys()
            or None in members.values()
        ):
            check_names(members, required=cls._REQUIRED, optional=cls._OPTIONAL)
        self = object.__new__(cls)
        values = self.__dict__
        values.update(cls._ABSENT)
        for name, value in members.items():
            decode = DECODERS.get(name)
            values[name] = value if decode is None else decode(name, value)
        self._check()
        # It was canonical, so it is what encoding the bytes again would give.
        values["_body_text"] = str(members[cls._BODY]).encode("ascii")
        return self

    @classmethod
    def decode(cls, data: Buffer | str) -> Self:
        """Decode one signed envelope of this kind.

        Raises:
            DecodeError, ProtocolError: as for `decode_envelope`.
            UsageError: ``data`` is neither a buffer nor ``str``.
        """
        return cls.from_json(parse_envelope(data))

    def to_json(self) -> JsonObject:
        """Return the members as a JSON object, absent ones left out."""
        members = self._head_members()
        members[self._BODY] = self._body_text.decode("ascii")
        if self.signature is not None:
            members["signature"] = b64u_encode(self.signature)
        return members

    def encode(self) -> bytes:
        """Return what is sent: the canonical JSON (RFC 8785) of the signed envelope.

        Raises:
            UsageError: it is not signed.
        """
        if self.signature is None:
            raise UsageError("the envelope is not signed")
        return self._join(b"", b'"signature":"%b",' % _ascii_b64u(self.signature))

    def signing_input(self) -> bytes:
        """Return what is signed: a label, and all but the signature (TRANSPORT-02)."""
        return self._join(self._LABEL, b"")

    def caller_aad(self) -> bytes:
        """Return what a session record binds: all but body and signature.

        Every other member must be final before the record is sealed (SESSION-03).
        """
        return b"{%b}" % b",".join(self._head)

    def _join(self, label: bytes, signature: bytes) -> bytes:
        before, between, after = self._head
        opened, body = self._BODY_OPEN, self._body_text
        parts = (label, b"{", before, opened, body, b'",', between, b",", signature)
        return b"".join((*parts, after, b"}"))

    @kept
    def _head(self) -> tuple[bytes, ...]:
        """All but body and signature, cut where those two are sorted in."""
        return tuple(map(self._head_part, self._HEAD_NAMES))

    def _head_part(self, names: tuple[str, ...]) -> bytes:
        members = self.__dict__
        texts = []
        for name in names:
            value = members[name]
            if type(value) is str:
                # Within the schema, none of them has anything to escape.
                texts.append(f'"{name}":"{value}"')
            elif value is not None:
                texts.append(f'"{name}":{_encode(value)}')
        return ",".join(texts).encode("utf-8")

    @kept
    def _body_text(self) -> bytes:
        return _ascii_b64u(getattr(self, self._BODY))

    @kept
    def _digest(self) -> bytes:
        return sha256(self.encode())

    def _head_members(self) -> JsonObject:
        members: JsonObject = {}
        for name in (*self._REQUIRED, *self._OPTIONAL):
            value = getattr(self, name)
            if value is not None and name != self._BODY and name != "signature":
                members[name] = _to_json(value)
        return members

    def _check(self) -> None:
        values, metadata = self.__dict__, self.metadata
        if metadata is not None and isinstance(metadata, Mapping):
            # A copy that nobody can change: signature and AAD depend on it.
            values["metadata"] = MappingProxyType(dict(metadata))
        check_members(values, names=self._NAMES, optional=self._OPTIONAL_UNSIGNED)

    def _with_body(self, body: bytes) -> Self:
        """Return an unsigned copy with another body, and the head it shares."""
        try:
            check_member(self._BODY, body)
        except PeerError as exc:
            raise _callers_fault(exc) from exc
        changed = self._copy({self._BODY: body, "signature": None})
        changed.__dict__.pop("_body_text", None)
        return changed

    def _copy(self, changes: Mapping[str, object]) -> Self:
        """Return a copy with members changed that were checked already."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__, **changes)
        copy.__dict__.pop("_digest", None)
        return copy


_E = TypeVar("_E", bound=Envelope)


def sign(envelope: _E, key: SigningKey) -> _E:
    """Return the envelope with its signature (TRANSPORT-02).

    Raises:
        UsageError: ``key`` is not the key that the envelope names.
    """
    if key.kid != envelope.kid:
        raise UsageError("the envelope names another key")
    return envelope._copy({"signature": key.sign(envelope.signing_input())})


def parse_envelope(data: Buffer | str) -> JsonObject:
    """Parse the JSON object of one envelope: its size first, its members not yet.

    Raises:
        DecodeError: longer than 16 MiB (``size.exceeded``), not strict JSON
            (``json.malformed``), not an object or one of far more values than the
            schema has (``envelope.malformed``).
        UsageError: ``data`` is neither a buffer nor ``str``.
    """
    text = data if isinstance(data, str) else as_bytes(data, "envelope")
    if _COMMAS_MAX < len(text) <= ENVELOPE_MAX_BYTES and (
        has_more(text, ",", _COMMAS_MAX)
        if isinstance(text, str)
        else has_more(text, b",", _COMMAS_MAX)
    ):
        raise DecodeError("more values than an envelope has", code=_MALFORMED)
    members = parse_strict(text, max_bytes=ENVELOPE_MAX_BYTES)
    if not isinstance(members, dict):
        raise DecodeError("the envelope is not an object", code=_MALFORMED)
    return members


_MALFORMED = Code.ENVELOPE_MALFORMED

# The schema has some sixty values at most, and 4 KiB of metadata for texts with
# commas in them. Five million values would be parsed for seconds, to be refused.
_COMMAS_MAX = 8192


def _callers_fault(error: PeerError) -> UsageError:
    """Turn what a stranger would have done wrong into what the caller did."""
    return UsageError(f"not an envelope: {error}")


def _encode(value: Any) -> str:
    """Return one member's canonical JSON: the same as `jcs`, without its search."""
    kind = type(value)
    if kind is int:
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    if kind is Role:
        return f'"{value.value}"'
    if kind is bytes:  # base64url has nothing to escape
        return f'"{b64u_encode(value)}"'
    return jcs(_to_json(value)).decode("utf-8")


def _to_json(value: Any) -> Json:
    if isinstance(value, Role):
        return value.value
    if isinstance(value, bytes):
        return b64u_encode(value)
    if isinstance(value, Mapping):
        return dict(value)
    return value  # type: ignore[no-any-return]  # str, int or bool, as checked


def _ascii_b64u(data: bytes) -> bytes:
    return b64u_encode(data).encode("ascii")
