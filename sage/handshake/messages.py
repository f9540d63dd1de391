"""The two messages: initiation and completion, closed JSON objects (HPKE-02, 04).

Both travel as JCS in the payload of a plain envelope. Decoding takes any strict JSON
text of up to 16 KiB, as the specification's bounds cases do; signatures and hashes
are over the JCS of what was read, so white space and order carry nothing. It refuses
in this order: size, JSON, members, values. It looks at no key and at no other
message: whether a completion answers *our* initiation is the initiator's question.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from .._kept import kept
from ..encoding import b64u_decode, b64u_encode, parse_strict
from ..errors import Code, DecodeError, ProtocolError
from ..identity.did import parse_did, parse_key_url
from ..identity.signature import as_bytes
from ..limits import (
    ACK_TAG_BYTES,
    HANDSHAKE_MAX_BYTES,
    NONCE_BYTES,
    X25519_KEY_BYTES,
)
from ..types import Buffer, Did, Json, JsonObject, KeyUrl
from .canonical import INITIATION, TRANSCRIPT
from .identifiers import is_uuid4

__all__ = ["COMBINER", "SUITE", "VERSION", "Completion", "Initiation", "Terms"]

VERSION: Final = "0.10.0"
SUITE: Final = "hpke-base+x25519+hkdf-sha256"
COMBINER: Final = "e2e-x25519-hkdf-v1"

_INIT_TASK: Final = "hpke/init@0.10.0"
_COMPLETE_TASK: Final = "hpke/complete@0.10.0"
_COMPLETE_LABEL: Final = b"sage-hpke-complete|0.10.0\n"
_SIGNATURE_SIZES: Final = (64, 65)  # Ed25519 and P-256; secp256k1 with its v


@dataclass(frozen=True, kw_only=True)
class Terms:
    """B: what both ends are bound to before there is any secret; 10 members.

    Attributes:
        ctx: the context, a fresh UUIDv4; also the envelope's ``context_id``.
        init_did: the initiator.
        resp_did: the responder.
        init_kid: the key that signs the initiation's envelope.
        resp_kid: the key that must sign the completion.
        kem_kid: the responder's X25519 key.
        nonce: 16 bytes as 22 characters; also the envelope's nonce.
        v: the protocol version.
        suite: the HPKE suite's name.
        combiner: the combiner's name.
    """

    ctx: str
    init_did: Did
    resp_did: Did
    init_kid: KeyUrl
    resp_kid: KeyUrl
    kem_kid: KeyUrl
    nonce: str
    v: str = VERSION
    suite: str = SUITE
    combiner: str = COMBINER

    def binding(self) -> JsonObject:
        """Return B as the JSON object that goes into HPKE's ``info``."""
        return {
            "v": self.v,
            "ctx": self.ctx,
            "initDid": self.init_did,
            "respDid": self.resp_did,
            "initKid": self.init_kid,
            "respKid": self.resp_kid,
            "kemKid": self.kem_kid,
            "suite": self.suite,
            "combiner": self.combiner,
            "nonce": self.nonce,
        }


_BINDING: Final = frozenset(
    (
        *("v", "ctx", "initDid", "respDid", "initKid", "respKid", "kemKid"),
        *("suite", "combiner", "nonce"),
    )
)
_INITIATION: Final = _BINDING | {"task", "enc", "ephC"}
_TRANSCRIPT: Final = _INITIATION | {"ephS", "kid"}
_COMPLETION: Final = frozenset(("v", "task", "transcript", "ackTagB64", "sigB64"))


@dataclass(frozen=True, kw_only=True)
class Initiation(Terms):
    """The initiator's message: B, and both of its ephemeral keys; 13 members.

    Wire: JCS of the object, at most 16,384 bytes; ``enc`` and ``ephC`` base64url.

    Attributes:
        enc: HPKE's encapsulated key, 32 bytes.
        eph_c: the initiator's ephemeral X25519 key, 32 bytes.
        task: what the message is.
    """

    enc: bytes
    eph_c: bytes
    task: str = _INIT_TASK

    @classmethod
    def of(cls, terms: Terms, *, enc: bytes, eph_c: bytes) -> Self:
        """Return the message that proposes these terms."""
        self = object.__new__(cls)
        self.__dict__.update(terms.__dict__, enc=enc, eph_c=eph_c, task=_INIT_TASK)
        return self

    def to_json(self) -> JsonObject:
        """Return the 13 members."""
        return self._members.copy()

    @kept
    def _members(self) -> JsonObject:
        return self.binding() | {
            "task": self.task,
            "enc": b64u_encode(self.enc),
            "ephC": b64u_encode(self.eph_c),
        }

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return INITIATION.write(self._members)

    @classmethod
    def decode(cls, data: Buffer) -> Self:
        """Read an initiation.

        What is returned is well formed; who sent it is not known yet.

        Raises:
            DecodeError: longer than 16,384 bytes (``handshake.bounds``); not strict
                JSON, or a member is missing, of the wrong type, length or form
                (``handshake.schema``).
            ProtocolError: another version, suite or combiner, other members in B
                than the ten, or a key of another DID (``handshake.binding``).
            UsageError: ``data`` is not a buffer.
        """
        members = _members(data)
        if members.keys() - {"task", "enc", "ephC"} != _BINDING:
            raise _binding("other members than the ten of B")
        if (
            members["v"] != VERSION
            or members["suite"] != SUITE
            or members["combiner"] != COMBINER
        ):
            raise _binding("another version, suite or combiner")
        if members.get("task") != _INIT_TASK:
            raise _schema("another task than an initiation")
        init_did, resp_did = _did(members, "initDid"), _did(members, "respDid")
        _binary(members, "nonce", NONCE_BYTES)
        initiation = cls(
            ctx=_uuid4(members, "ctx"),
            init_did=init_did,
            resp_did=resp_did,
            init_kid=_key_url(members, "initKid", init_did),
            resp_kid=_key_url(members, "respKid", resp_did),
            kem_kid=_key_url(members, "kemKid", resp_did),
            nonce=_text(members, "nonce"),
            enc=_binary(members, "enc", X25519_KEY_BYTES),
            eph_c=_binary(members, "ephC", X25519_KEY_BYTES),
        )
        # All is canonical, so it is what writing the attributes would give.
        initiation.__dict__["_members"] = members
        return initiation


@dataclass(frozen=True, kw_only=True)
class Completion:
    """The responder's message: the transcript T, the tag and its signature.

    Wire: JCS of ``v``, ``task``, ``transcript`` (the 13 members echoed, ``ephS``
    and ``kid``), ``ackTagB64``, ``sigB64``; at most 16,384 bytes.

    Attributes:
        echo: the 13 members of the initiation as they came back, not judged.
        eph_s: the responder's ephemeral X25519 key, 32 bytes.
        kid: the session's handle, a fresh UUIDv4; not a key URL.
        ack_tag: the proof that the responder holds the seed, 32 bytes.
        signature: by the initiation's ``resp_kid``, 64 or 65 bytes.
    """

    echo: JsonObject
    eph_s: bytes
    kid: str
    ack_tag: bytes
    signature: bytes = b""

    def transcript(self) -> JsonObject:
        """Return T, 15 members."""
        return self.echo | {"ephS": b64u_encode(self.eph_s), "kid": self.kid}

    @kept
    def canonical_transcript(self) -> bytes:
        """The canonical bytes of T, which are hashed, signed and sent alike."""
        return TRANSCRIPT.write(self.transcript())

    def signing_input(self) -> bytes:
        """Return what the responder signs: the label and all but ``sigB64``."""
        return _COMPLETE_LABEL + self._join("")

    def encode(self) -> bytes:
        """Return the canonical bytes of the signed message."""
        return self._join(f'"sigB64":"{b64u_encode(self.signature)}",')

    def with_ack_tag(self, ack_tag: bytes) -> Self:
        """Return a copy with another tag."""
        return self._copy({"ack_tag": ack_tag})

    def with_signature(self, signature: bytes) -> Self:
        """Return a copy with another signature."""
        return self._copy({"signature": signature})

    @classmethod
    def decode(cls, data: Buffer) -> Self:
        """Read a completion.

        What is returned is well formed; it is not known yet whether it answers our
        initiation, nor who made it.

        Raises:
            DecodeError: longer than 16,384 bytes (``handshake.bounds``); not strict
                JSON, or a member is unknown, missing or of the wrong type, length or
                form (``handshake.schema``).
            UsageError: ``data`` is not a buffer.
        """
        members = _members(data)
        if members.keys() != _COMPLETION:
            raise _schema("other members than the five of a completion")
        if members["v"] != VERSION or members["task"] != _COMPLETE_TASK:
            raise _schema("another version or task than a completion")
        transcript = members["transcript"]
        if not isinstance(transcript, dict) or transcript.keys() != _TRANSCRIPT:
            raise _schema("other members than the fifteen of a transcript")
        echo = transcript.copy()
        del echo["ephS"], echo["kid"]
        return cls(
            echo=echo,
            eph_s=_binary(transcript, "ephS", X25519_KEY_BYTES),
            kid=_uuid4(transcript, "kid"),
            ack_tag=_binary(members, "ackTagB64", ACK_TAG_BYTES),
            signature=_binary(members, "sigB64", *_SIGNATURE_SIZES),
        )

    def _join(self, signature: str) -> bytes:
        """Write the five members as RFC 8785 sorts them, around T as it is."""
        before = (
            f'{{"ackTagB64":"{b64u_encode(self.ack_tag)}",{signature}'
            f'"task":"{_COMPLETE_TASK}","transcript":'
        )
        return b'%b%b,"v":"%b"}' % (
            before.encode("ascii"),
            self.canonical_transcript,
            VERSION.encode("ascii"),
        )

    def _copy(self, changes: Mapping[str, bytes]) -> Self:
        """Return a copy that keeps T, and the bytes that were written of it."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__, **changes)
        return copy


def _members(data: Buffer) -> JsonObject:
    raw = as_bytes(data, "handshake message")
    if len(raw) > HANDSHAKE_MAX_BYTES:
        raise DecodeError(
            f"a handshake message is at most {HANDSHAKE_MAX_BYTES} bytes",
            code=Code.HANDSHAKE_BOUNDS,
        )
    try:
        value = parse_strict(raw)
    except DecodeError as exc:
        raise _schema("a handshake message that is not strict JSON") from exc
    if not isinstance(value, dict):
        raise _schema("a handshake message that is not an object")
    return value


def _text(members: JsonObject, name: str) -> str:
    value: Json = members.get(name)
    if not isinstance(value, str):
        raise _schema(f"{name} is not text")
    return value


def _binary(members: JsonObject, name: str, *sizes: int) -> bytes:
    try:
        value = b64u_decode(_text(members, name))
    except DecodeError as exc:
        raise _schema(f"{name} is not canonical base64url") from exc
    if len(value) not in sizes:
        raise _schema(f"{name} has another length")
    return value


def _uuid4(members: JsonObject, name: str) -> str:
    value = _text(members, name)
    if not is_uuid4(value):
        raise _schema(f"{name} is not a lower-case UUIDv4")
    return value


def _did(members: JsonObject, name: str) -> Did:
    try:
        return parse_did(_text(members, name)).did
    except DecodeError as exc:
        raise _schema(f"{name} is not a DID that we know") from exc


def _key_url(members: JsonObject, name: str, owner: Did) -> KeyUrl:
    try:
        parsed = parse_key_url(_text(members, name))
    except DecodeError as exc:
        raise _schema(f"{name} is not a key URL that we know") from exc
    if parsed.did.did != owner:
        raise _binding(f"{name} is a key of another DID")
    return parsed.url


def _schema(message: str) -> DecodeError:
    return DecodeError(message, code=Code.HANDSHAKE_SCHEMA)


def _binding(message: str) -> ProtocolError:
    return ProtocolError(message, code=Code.HANDSHAKE_BINDING)
