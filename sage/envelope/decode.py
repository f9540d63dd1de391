"""From the bytes of a stranger to an envelope that keeps the schema."""

from __future__ import annotations

from ..types import Buffer
from .base import parse_envelope
from .request import Request
from .response import Response

__all__ = ["decode_envelope"]


def decode_envelope(data: Buffer | str) -> Request | Response:
    """Decode one signed envelope: size, strict JSON, version, schema (TRANSPORT-03).

    The received text need not be canonical; hashes and signatures are over the
    canonical form of what it says. Nothing is authentic yet: `check_request` and
    `verify_request`, or `check_response` and `verify_response`, come next.

    Raises:
        DecodeError: longer than 16 MiB, or a member too long (``size.exceeded``);
            not strict JSON (``json.malformed``); a member unknown, missing, null or
            of another shape (``envelope.malformed``, ``base64.malformed``,
            ``sig.missing``, ``sig.malformed``, ``id.malformed``,
            ``id.unknown-kind``).
        ProtocolError: another version (``version.unsupported``); ``kid`` is not a
            key of ``did`` (``sig.binding``).
        UsageError: ``data`` is neither a buffer nor ``str``.
    """
    members = parse_envelope(data)
    kind = Response if "message_id" in members else Request
    return kind.from_json(members)
