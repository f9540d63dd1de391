"""The signed envelope around every request and response, and what refuses it twice.

`Request` and `Response` are the closed schema, `sign` puts the signature on them,
`decode_envelope` reads what arrives. `check_request`, `verify_request` and their two
siblings take it through the receive order; a `ReplayGuard` lets it pass once.
"""

from .base import Envelope, sign
from .decode import decode_envelope
from .replay_guard import ReplayGuard, Reservation
from .replay_guard_memory import MemoryReplayGuard
from .replay_guard_sqlite import SqliteReplayGuard
from .request import Request
from .response import Response
from .schema import ENCODINGS, FAILURES, VERSION
from .sealed import (
    authenticate_payload,
    check_pinned,
    seal_request,
    seal_response,
)
from .verify import (
    VerifiedRequest,
    VerifiedResponse,
    check_request,
    check_response,
    verify_request,
    verify_response,
)

__all__ = [
    "ENCODINGS",
    "FAILURES",
    "VERSION",
    "Envelope",
    "MemoryReplayGuard",
    "ReplayGuard",
    "Request",
    "Reservation",
    "Response",
    "SqliteReplayGuard",
    "VerifiedRequest",
    "VerifiedResponse",
    "authenticate_payload",
    "check_pinned",
    "check_request",
    "check_response",
    "decode_envelope",
    "seal_request",
    "seal_response",
    "sign",
    "verify_request",
    "verify_response",
]
