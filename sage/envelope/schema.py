"""The members of an envelope: which there are, and what each may hold (TRANSPORT-01).

One table of checks serves both directions. What a stranger sends and what the
caller builds pass the same functions; only the kind of error differs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from ..encoding import b64u_decode, jcs
from ..errors import Code, DecodeError, ProtocolError
from ..identity.did import parse_did, parse_key_url
from ..limits import (
    FRESHNESS_WINDOW_S,
    JSON_INTEGER_MAX,
    METADATA_JCS_MAX_BYTES,
    METADATA_MAX_KEYS,
    METADATA_VALUE_MAX_BYTES,
    NONCE_BYTES,
    PAYLOAD_MAX_BYTES,
    SESSION_ID_BYTES,
)
from ..types import Json, JsonObject, Role

__all__ = [
    "COMMON_OPTIONAL",
    "COMMON_REQUIRED",
    "DECODERS",
    "ENCODINGS",
    "FAILURES",
    "VERSION",
    "check_member",
    "check_members",
    "check_names",
    "check_version",
    "decode_member",
]

VERSION: Final = "0.10.0"
"""The only version there is: no negotiation, no fallback."""

ENCODINGS: Final = ("plain", "session")
"""What the payload is: the bytes themselves, or a record of a session."""

FAILURES: Final = (
    "authentication_failed",
    "policy_denied",
    "operation_failed",
    "unavailable",
)
"""All that a failed response may say about its reason."""

COMMON_REQUIRED: Final = (
    *("version", "id", "did", "recipient", "kid"),
    *("created", "expires", "nonce", "encoding", "signature"),
)
COMMON_OPTIONAL: Final = ("context_id", "task_id", "session_id", "role", "metadata")

_HASH_BYTES = 32
_SIGNATURE_MAX_BYTES = 65  # r | s | v, the longest of the suites: 87 characters
_PAYLOAD_MAX_CHARS = (PAYLOAD_MAX_BYTES * 4 + 2) // 3

_UUID4 = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
)
_ROLES = {role.value: role for role in Role}
_METADATA_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


def check_version(members: JsonObject) -> None:
    """Refuse every version but ours, before its other members mean anything.

    Raises:
        DecodeError: no version, or not text (``envelope.malformed``).
        ProtocolError: another version (``version.unsupported``).
    """
    _version("version", members.get("version"))


def check_names(
    members: JsonObject, *, required: Collection[str], optional: Collection[str]
) -> None:
    """Hold an object against a closed schema: nothing missing, unknown or null.

    Raises:
        DecodeError: ``sig.missing`` where only the signature is missing or null,
            else ``envelope.malformed``.
    """
    for name, value in members.items():
        if name not in required and name not in optional:
            raise _malformed("the envelope has a member that is not in the schema")
        if value is None and name != "signature":
            raise _malformed(f"{name} is null")
    missing = [name for name in required if members.get(name) is None]
    if missing == ["signature"]:
        raise DecodeError("the envelope is not signed", code=Code.SIG_MISSING)
    if missing:
        raise _malformed(f"the envelope has no {missing[0]}")


def decode_member(name: str, value: Json) -> Any:
    """Turn one JSON member into what the attribute of that name holds.

    Raises:
        DecodeError: not canonical base64url (``base64.malformed``), too long
            (``size.exceeded``), or the wrong type (``envelope.malformed``; for the
            signature always ``sig.malformed``).
    """
    decode = DECODERS.get(name)
    return value if decode is None else decode(name, value)


def check_member(name: str, value: object) -> None:
    """Check one attribute of an envelope by itself.

    Raises:
        DecodeError, ProtocolError: as for `check_members`.
    """
    _CHECKS[name](name, value)


def check_members(
    values: Mapping[str, Any], *, names: Iterable[str], optional: Collection[str]
) -> None:
    """Check the attributes of an envelope, each alone and then together.

    Args:
        values: attribute values by member name; ``None`` is an absent member.
        names: the members, in the order in which they are checked.
        optional: the members that may be absent.

    Raises:
        DecodeError: a member does not have the shape that the schema gives it.
        ProtocolError: another version (``version.unsupported``), or ``kid`` is not
            a key of ``did`` (``sig.binding``).
    """
    for name in names:
        value = values[name]
        if value is not None or name not in optional:
            _CHECKS[name](name, value)
    _check_times(values["created"], values["expires"])
    if not values["kid"].startswith(values["did"] + "#"):
        raise ProtocolError("kid is not a key of did", code=Code.SIG_BINDING)
    _check_encoding(values)
    if "success" in values and values["success"] != (values["error"] is None):
        raise _malformed("error belongs to a response without success, and only there")


# --- relations between members --------------------------------------------------


def _check_times(created: int, expires: int) -> None:
    if not 0 < expires - created <= FRESHNESS_WINDOW_S:
        raise _malformed(f"expires is not 1 to {FRESHNESS_WINDOW_S} s after created")


def _check_encoding(values: Mapping[str, Any]) -> None:
    if values["encoding"] == "plain":
        if values["session_id"] is not None:
            raise _malformed("a plain envelope has a session_id")
        return
    for name in ("session_id", "context_id", "role"):
        if values[name] is None:
            raise _malformed(f"a session envelope has no {name}")


# --- one member ------------------------------------------------------------------


def _version(name: str, value: object) -> None:
    if type(value) is not str:
        raise _not_text(name)
    if value != VERSION:
        raise ProtocolError("unsupported version", code=Code.VERSION_UNSUPPORTED)


def _uuid4(name: str, value: object) -> None:
    if type(value) is not str:
        raise _not_text(name)
    if not _UUID4.fullmatch(value):
        raise _malformed(f"{name} is not a lower-case UUIDv4")


def _did(name: str, value: object) -> None:
    if type(value) is not str:
        raise _not_text(name)
    parse_did(value)


def _key_url(name: str, value: object) -> None:
    if type(value) is not str:
        raise _not_text(name)
    parse_key_url(value)


def _time(name: str, value: object) -> None:
    # A bool is an int to Python, and nothing of the kind in JSON.
    if type(value) is not int or not 0 <= value <= JSON_INTEGER_MAX:
        raise _malformed(f"{name} is not an integer from 0 to 2^53 - 1")


def _nonce(name: str, value: object) -> None:
    b64u_decode(_text(name, value), size=NONCE_BYTES)


def _session_id(name: str, value: object) -> None:
    b64u_decode(_text(name, value), size=SESSION_ID_BYTES)


def _encoding(name: str, value: object) -> None:
    if type(value) is not str:
        raise _not_text(name)
    if value not in ENCODINGS:
        raise _malformed(f"{name} is neither plain nor session")


def _role(name: str, value: object) -> None:
    if type(value) is not Role:
        raise _malformed(f"{name} is neither initiator nor responder")


def _metadata(name: str, value: object) -> None:
    if not isinstance(value, Mapping) or len(value) > METADATA_MAX_KEYS:
        raise _malformed(f"{name} is not an object of {METADATA_MAX_KEYS} members")
    for key, text in value.items():
        if type(key) is not str or not _METADATA_NAME.fullmatch(key):
            raise _malformed(f"{name} has a name outside [a-z][a-z0-9_]{{0,31}}")
        # "surrogatepass": a lone surrogate is for `jcs` to refuse, in its words.
        size = len(_text(name, text).encode("utf-8", "surrogatepass"))
        if size > METADATA_VALUE_MAX_BYTES:
            raise _too_long(f"{name} has a value", METADATA_VALUE_MAX_BYTES)
    if len(jcs(dict(value))) > METADATA_JCS_MAX_BYTES:
        raise _too_long(name, METADATA_JCS_MAX_BYTES)


def _bool(name: str, value: object) -> None:
    if type(value) is not bool:
        raise _malformed(f"{name} is neither true nor false")


def _failure(name: str, value: object) -> None:
    if _text(name, value) not in FAILURES:
        raise _malformed(f"{name} is not one of the permitted reasons")


def _body(name: str, value: object) -> None:
    if type(value) is not bytes:
        raise _malformed(f"{name} is not bytes")
    if len(value) > PAYLOAD_MAX_BYTES:
        raise _too_long(name, PAYLOAD_MAX_BYTES)


def _hash(name: str, value: object) -> None:
    if type(value) is not bytes or len(value) != _HASH_BYTES:
        raise _malformed(f"{name} is not {_HASH_BYTES} bytes")


def _signature(name: str, value: object) -> None:
    if type(value) is not bytes or not 0 < len(value) <= _SIGNATURE_MAX_BYTES:
        raise DecodeError(
            f"{name} is not 1 to {_SIGNATURE_MAX_BYTES} bytes", code=Code.SIG_MALFORMED
        )


_CHECKS: Final[Mapping[str, Callable[[str, object], None]]] = {
    "version": _version,
    "id": _uuid4,
    "did": _did,
    "recipient": _did,
    "kid": _key_url,
    "created": _time,
    "expires": _time,
    "nonce": _nonce,
    "encoding": _encoding,
    "context_id": _uuid4,
    "task_id": _uuid4,
    "session_id": _session_id,
    "role": _role,
    "metadata": _metadata,
    "payload": _body,
    "message_id": _uuid4,
    "request_hash": _hash,
    "success": _bool,
    "error": _failure,
    "data": _body,
    "signature": _signature,
}


# --- from JSON -------------------------------------------------------------------


def _decode_role(name: str, value: Json) -> Role:
    role = _ROLES.get(_text(name, value))
    if role is None:
        raise _malformed(f"{name} is neither initiator nor responder")
    return role


def _decode_body(name: str, value: Json) -> bytes:
    text = _text(name, value)
    # The length first: nothing is decoded that would be refused for its size.
    if len(text) > _PAYLOAD_MAX_CHARS:
        raise _too_long(name, PAYLOAD_MAX_BYTES)
    return b64u_decode(text)


def _decode_hash(name: str, value: Json) -> bytes:
    return b64u_decode(_text(name, value), size=_HASH_BYTES)


def _decode_signature(name: str, value: Json) -> bytes:
    if type(value) is str and len(value) <= (_SIGNATURE_MAX_BYTES * 4 + 2) // 3:
        try:
            return b64u_decode(value)
        except DecodeError:
            pass
    raise DecodeError(f"{name} is not canonical base64url", code=Code.SIG_MALFORMED)


DECODERS: Final[Mapping[str, Callable[[str, Json], Any]]] = {
    "role": _decode_role,
    "payload": _decode_body,
    "data": _decode_body,
    "request_hash": _decode_hash,
    "signature": _decode_signature,
}
"""How the JSON of a member becomes its attribute, where it is not the same."""


# --- helpers ---------------------------------------------------------------------


def _text(name: str, value: object) -> str:
    if type(value) is not str:
        raise _not_text(name)
    return value


def _not_text(name: str) -> DecodeError:
    return _malformed(f"{name} is not text")


def _malformed(message: str) -> DecodeError:
    return DecodeError(message, code=Code.ENVELOPE_MALFORMED)


def _too_long(what: str, limit: int) -> DecodeError:
    return DecodeError(f"{what} is longer than {limit} bytes", code=Code.SIZE_EXCEEDED)
