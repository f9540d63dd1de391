"""From bytes to an agent record: the closed schema of REG-01, then the proofs.

Everything is bounded before the first signature is verified. Members that the
schema does not know, ``null`` for absent ones and values out of order are refused:
two readers of one record must see the same record.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Final, NoReturn, TypeVar, cast

from ..encoding import b64u_decode, jcs, parse_strict
from ..errors import AuthenticationError, Code, DecodeError, ResolutionError
from ..limits import (
    AGENT_RECORD_MAX_BYTES,
    AGENT_RECORD_MAX_KEYS,
    AGENT_RECORD_MAX_SERVICES,
    AGENT_RECORD_VERSION_MAX,
    JSON_INTEGER_MAX,
)
from ..types import Buffer, Did, JsonObject, KeyUrl
from .did import is_key_name, parse_did, parse_key_url
from .proof import check_proofs
from .record import (
    AgentRecord,
    KeyEntry,
    KeyState,
    Proof,
    RecordState,
    ServiceEntry,
)
from .signature import ALGORITHMS, KEM_ALGORITHM, check_public_key

__all__ = ["parse_record"]


def parse_record(data: Buffer | JsonObject) -> AgentRecord:
    """Read and check a record: size, closed schema, keys, proofs of possession.

    Args:
        data: UTF-8 JSON, or the object that `parse_strict` made of it.

    Raises:
        ResolutionError: larger than 65,536 bytes (``size.exceeded``), not a record
            of REG-01 (``record.invalid``), a proof that is wrong (``pop.bad``) or
            cannot be checked here (``key.unproven``).
        UsageError: ``data`` is neither a buffer nor a JSON object.
    """
    if not isinstance(data, dict):
        data = _decode(data)
    elif len(jcs(data)) > AGENT_RECORD_MAX_BYTES:
        _too_large()
    members = _closed(data, _RECORD_MEMBERS)
    record = AgentRecord(
        id=_did(members["id"]),
        controller=_text(members["controller"], _CONTROLLER),
        keys=tuple(_entries(members["keys"], _key, 1, AGENT_RECORD_MAX_KEYS)),
        services=tuple(
            _entries(members["services"], _service, 0, AGENT_RECORD_MAX_SERVICES)
        ),
        state=cast("RecordState", _one_of(members["state"], _RECORD_STATES)),
        version=_version(members["version"]),
    )
    _check_whole(record)
    for entry in record.keys:
        _check_key(entry)
    return check_proofs(record)


_RECORD_MEMBERS: Final = frozenset(
    {"id", "controller", "keys", "services", "state", "version"}
)
_KEY_MEMBERS: Final = frozenset({"name", "alg", "key", "proof", "state"})
_SERVICE_MEMBERS: Final = frozenset({"name", "type", "uri"})
_PROOF_MEMBERS: Final = frozenset({"signer", "value"})
_RECORD_STATES: Final = frozenset({"created", "active", "deactivated"})
_KEY_STATES: Final = frozenset({"accepted", "revoked"})
_ALGORITHMS: Final = frozenset({*ALGORITHMS, KEM_ALGORITHM})

_CONTROLLER: Final = re.compile(r"[ -~]{1,256}")
_SERVICE_TYPE: Final = re.compile(r"[ -~]{1,64}")
_VERSION: Final = re.compile(r"[1-9][0-9]{0,19}")
_SIGNATURE_MAX_CHARS: Final = 87
_URI_MAX_BYTES: Final = 2048
# RFC 3986: a scheme and a host are there; "@" (userinfo) and "#" cannot be.
_URI: Final = re.compile(
    r"(?i:https)://"
    r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=-]+)(?::[0-9]{1,5})?"
    r"(?:[/?](?:[A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)?"
)

_Entry = TypeVar("_Entry", KeyEntry, ServiceEntry)


def _decode(data: Buffer) -> JsonObject:
    try:
        value = parse_strict(data, max_bytes=AGENT_RECORD_MAX_BYTES)
    except DecodeError as exc:
        if exc.code is Code.SIZE_EXCEEDED:
            _too_large()
        raise _invalid(str(exc)) from exc
    if not isinstance(value, dict):
        raise _invalid("a record is a JSON object")
    return value


def _closed(
    value: object, required: frozenset[str], optional: frozenset[str] = frozenset()
) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not required <= value.keys():
        raise _invalid("a member is missing")
    if not value.keys() <= required | optional:
        raise _invalid("a member is not in the schema")
    return value


def _entries(
    value: object, read: Callable[[object], _Entry], least: int, most: int
) -> list[_Entry]:
    if not isinstance(value, list) or not least <= len(value) <= most:
        raise _invalid(f"keys or services are not a list of {least} to {most}")
    entries = [read(item) for item in value]
    names = [entry.name for entry in entries]
    if any(first >= second for first, second in pairwise(names)):
        raise _invalid("names are not unique and sorted")
    return entries


def _key(value: object) -> KeyEntry:
    members = _closed(value, _KEY_MEMBERS, frozenset({"expires"}))
    proof = _closed(members["proof"], _PROOF_MEMBERS)
    return KeyEntry(
        name=_name(members["name"]),
        alg=_one_of(members["alg"], _ALGORITHMS),
        key=_binary(members["key"], _SIGNATURE_MAX_CHARS),
        proof=Proof(
            signer=_key_url(proof["signer"]),
            value=_binary(proof["value"], _SIGNATURE_MAX_CHARS),
        ),
        state=cast("KeyState", _one_of(members["state"], _KEY_STATES)),
        expires=_expires(members["expires"]) if "expires" in members else None,
    )


def _service(value: object) -> ServiceEntry:
    members = _closed(value, _SERVICE_MEMBERS)
    uri = _text(members["uri"], _URI)
    if len(uri) > _URI_MAX_BYTES:
        raise _invalid("a service URI is too long")
    return ServiceEntry(
        _name(members["name"]), _text(members["type"], _SERVICE_TYPE), uri
    )


def _check_whole(record: AgentRecord) -> None:
    """Check what concerns more than one entry."""
    names = {entry.name for entry in record.keys}
    if any(service.name in names for service in record.services):
        raise _invalid("a service has the name of a key")
    if len({entry.key for entry in record.keys}) != len(record.keys):
        raise _invalid("a key is there twice")
    # Revoking the last signing key deactivates, so nothing else can be without.
    if record.state != "deactivated" and not any(
        entry.signs and entry.state == "accepted" for entry in record.keys
    ):
        raise _invalid(f"a record that is {record.state} has no signing key")


def _check_key(entry: KeyEntry) -> None:
    try:
        check_public_key(entry.alg, entry.key)
    except AuthenticationError:
        raise _invalid(f"{entry.name!r} is not an {entry.alg} public key") from None


def _did(value: object) -> Did:
    try:
        return parse_did(_text(value)).did
    except DecodeError as exc:
        raise _invalid(f"id: {exc}") from exc


def _key_url(value: object) -> KeyUrl:
    try:
        return parse_key_url(_text(value)).url
    except DecodeError as exc:
        raise _invalid(f"proof signer: {exc}") from exc


def _name(value: object) -> str:
    text = _text(value)
    if not is_key_name(text):
        raise _invalid("a name is not 1 to 32 of A-Z a-z 0-9 - _")
    return text


def _text(value: object, pattern: re.Pattern[str] | None = None) -> str:
    if not isinstance(value, str):
        raise _invalid("a string is expected")
    if pattern is not None and not pattern.fullmatch(value):
        raise _invalid("a string does not have its form")
    return value


def _one_of(value: object, allowed: frozenset[str]) -> str:
    text = _text(value)
    if text not in allowed:
        raise _invalid("a string is not one of those allowed")
    return text


def _binary(value: object, max_chars: int) -> bytes:
    text = _text(value)
    if len(text) > max_chars:
        raise _invalid("a binary value is too long")
    try:
        return b64u_decode(text)
    except DecodeError as exc:
        raise _invalid(str(exc)) from exc


def _expires(value: object) -> int:
    # `type`, because True is an int.
    if type(value) is not int or not 0 <= value <= JSON_INTEGER_MAX:
        raise _invalid("expires is not an integer of 0 or more")
    return value


def _version(value: object) -> int:
    version = int(_text(value, _VERSION))
    if version > AGENT_RECORD_VERSION_MAX:
        raise _invalid("version is beyond 2^64 - 1")
    return version


def _too_large() -> NoReturn:
    raise ResolutionError(
        f"a record is at most {AGENT_RECORD_MAX_BYTES} bytes", code=Code.SIZE_EXCEEDED
    )


def _invalid(message: str) -> ResolutionError:
    return ResolutionError(f"invalid record: {message}", code=Code.RECORD_INVALID)
