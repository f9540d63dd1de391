"""The request envelope (TRANSPORT-01, TRANSPORT-02)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from .base import Envelope
from .schema import COMMON_OPTIONAL, COMMON_REQUIRED

__all__ = ["Request"]


@dataclass(frozen=True, kw_only=True)
class Request(Envelope):
    """One request: the common members and a payload.

    A request in a session is built in this order, because the record's AAD is the
    envelope around it: ``Request(...)``, `caller_aad`, seal, `with_payload`, `sign`.

    Attributes:
        payload: up to 8 MiB; a record where ``encoding`` is ``session``.
    """

    payload: bytes = field(default=b"", repr=False)

    _LABEL: ClassVar[bytes] = b"sage-wire-request|0.10.0\n"
    _BODY: ClassVar[str] = "payload"
    _REQUIRED: ClassVar[tuple[str, ...]] = (*COMMON_REQUIRED, "payload")
    _OPTIONAL: ClassVar[tuple[str, ...]] = COMMON_OPTIONAL

    def with_payload(self, payload: bytes) -> Request:
        """Return an unsigned copy with another payload.

        Raises:
            UsageError: not ``bytes``, or more than 8 MiB.
        """
        return self._with_body(payload)

    def hash(self) -> bytes:
        """Return the 32 bytes that the response must carry as ``request_hash``.

        H(JCS(complete signed request)): it covers the signature too (TRANSPORT-02).

        Raises:
            UsageError: the request is not signed.
        """
        return self._digest
