"""The ``web`` registry without its sockets (REG-08).

A domain vouches for its agents by serving their records over TLS, each produced
for the one who asks and valid for a few seconds. Whoever fetches must allow only
configured origins, follow no redirect, take no answer but 200, and send
``Cache-Control: no-cache, no-store``; what came back is judged here.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..encoding import jcs, parse_strict
from ..errors import Code, DecodeError, ResolutionError, UsageError
from ..limits import (
    WEB_RECORD_LIFETIME_MAX_S,
    WEB_RECORD_LIFETIME_MIN_S,
    WEB_RESPONSE_MAX_BYTES,
)
from ..types import Buffer
from .record import AgentRecord
from .record_schema import parse_record
from .resolver import parse_web_did

__all__ = [
    "check_lifetime",
    "check_media",
    "encode_web_response",
    "parse_web_response",
    "well_known_url",
]


def well_known_url(did: str) -> tuple[str, str]:
    """Return the host and the path at which an agent's record is served.

    Raises:
        ResolutionError: not a ``did:sage:web`` identifier (``id.malformed``,
            ``id.unknown-kind``).
        UsageError: ``did`` is not a ``str``.
    """
    parsed = parse_web_did(did)
    return parsed.locator, f"/.well-known/sage/agents/{parsed.agent_id}"


def check_media(
    header_lines: Iterable[tuple[str, str]],
    trailer_lines: Iterable[tuple[str, str]] = (),
) -> None:
    """Check what a response says about its body, before the body is looked at.

    Exactly one ``Content-Type: application/json``, in any case, without
    parameters; no ``Content-Encoding``, not even ``identity``; neither of them in
    the trailers. Lines are counted, not joined.

    Args:
        header_lines: names and values as received, repeated ones apart.
        trailer_lines: likewise.

    Raises:
        ResolutionError: anything else (``record.invalid``).
    """
    types = []
    for name, value in header_lines:
        if name.lower() == "content-type":
            types.append(value.strip(" \t").lower())
        elif name.lower() == "content-encoding":
            raise _invalid("the response has a content coding")
    if types != ["application/json"]:
        raise _invalid("the response is not exactly application/json")
    for name, _ in trailer_lines:
        if name.lower() in {"content-type", "content-encoding"}:
            raise _invalid("the response changes its media type in a trailer")


def parse_web_response(body: Buffer, did: str, *, unix_time: int) -> AgentRecord:
    """Read and check the body of a response.

    Args:
        body: at most 69,632 bytes; a reader stops there, one byte later.
        did: who was asked for.
        unix_time: wall seconds on arrival.

    Raises:
        ResolutionError: too long (``size.exceeded``); not the closed object of
            ``record``, ``issued`` and ``expires``, not within its time, a lifetime
            other than 1 to 5 s, or another agent's record (``record.invalid``); or
            as `parse_record`.
        UsageError: ``body`` is not a buffer, or ``did`` not a ``str``.
    """
    asked = parse_web_did(did)
    members = _decode(body)
    issued, expires = members["issued"], members["expires"]
    # `type`, because True is an int.
    if type(issued) is not int or type(expires) is not int or issued < 0:
        raise _invalid("a time is not an integer")
    if not _lifetime_is_allowed(expires - issued):
        raise _invalid("the lifetime is not 1 to 5 s")
    if not issued <= unix_time < expires:
        raise _invalid("the response is not of this moment")
    if not isinstance(members["record"], dict):
        raise _invalid("the record is not an object")
    record = parse_record(members["record"])
    if record.id != asked.did:
        raise _invalid("the record is another agent's")
    return record


def encode_web_response(
    record: AgentRecord, *, unix_time: int, lifetime_s: int
) -> bytes:
    """Return the body that a registry answers with, as canonical JSON.

    It is to be sent with ``Content-Type: application/json`` and ``Cache-Control:
    no-store``, and to be made anew for each request.

    Args:
        record: what is held at this moment.
        unix_time: wall seconds.
        lifetime_s: 1 to 5.

    Raises:
        UsageError: another lifetime.
    """
    check_lifetime(lifetime_s)
    return jcs(
        {
            "record": record.to_json(),
            "issued": unix_time,
            "expires": unix_time + lifetime_s,
        }
    )


def check_lifetime(lifetime_s: int) -> None:
    """Refuse a lifetime that no web record may have.

    Raises:
        UsageError: not an int from 1 to 5.
    """
    if type(lifetime_s) is not int or not _lifetime_is_allowed(lifetime_s):
        raise UsageError(f"a web record lives 1 to 5 s, not {lifetime_s!r}")


def _decode(body: Buffer) -> dict[str, object]:
    try:
        value = parse_strict(body, max_bytes=WEB_RESPONSE_MAX_BYTES)
    except DecodeError as exc:
        if exc.code is Code.SIZE_EXCEEDED:
            raise ResolutionError(str(exc), code=exc.code) from exc
        raise _invalid(str(exc)) from exc
    if not isinstance(value, dict) or value.keys() != {"record", "issued", "expires"}:
        raise _invalid("not an object of record, issued and expires")
    return dict(value)


def _lifetime_is_allowed(lifetime_s: int) -> bool:
    return WEB_RECORD_LIFETIME_MIN_S <= lifetime_s <= WEB_RECORD_LIFETIME_MAX_S


def _invalid(message: str) -> ResolutionError:
    return ResolutionError(message, code=Code.RECORD_INVALID)
