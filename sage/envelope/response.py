"""The response envelope, bound to one request (TRANSPORT-01, TRANSPORT-02)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from ..types import KeyUrl
from .base import Envelope
from .request import Request
from .schema import COMMON_OPTIONAL, COMMON_REQUIRED

__all__ = ["Response"]


@dataclass(frozen=True, kw_only=True)
class Response(Envelope):
    """One response: the common members, the request it answers, and the outcome.

    Attributes:
        message_id: the request's ``id``.
        request_hash: 32 bytes; the request's `Request.hash`.
        success: whether the request did what it asked for.
        error: without success, and only then: ``authentication_failed``,
            ``policy_denied``, ``operation_failed`` or ``unavailable``.
        data: up to 8 MiB; a record where ``encoding`` is ``session``.
    """

    message_id: str
    request_hash: bytes
    success: bool
    error: str | None = None
    data: bytes = field(default=b"", repr=False)

    _LABEL: ClassVar[bytes] = b"sage-wire-response|0.10.0\n"
    _BODY: ClassVar[str] = "data"
    _REQUIRED: ClassVar[tuple[str, ...]] = (
        *COMMON_REQUIRED,
        *("message_id", "request_hash", "success", "data"),
    )
    _OPTIONAL: ClassVar[tuple[str, ...]] = (*COMMON_OPTIONAL, "error")

    @classmethod
    def answer(
        cls,
        request: Request,
        *,
        id: str,
        kid: KeyUrl,
        created: int,
        expires: int,
        nonce: str,
        data: bytes = b"",
        error: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Response:
        """Build the response to a request: everything that must match it, does.

        In a session, seal ``data`` with `caller_aad` and set it by `with_data`.

        Args:
            request: the signed request.
            id: a fresh UUIDv4.
            kid: the answering agent's signing key.
            created: wall seconds.
            expires: wall seconds; 1 to 300 after ``created``.
            nonce: 16 fresh random bytes as base64url.
            data: what a plain response carries.
            error: the reason of a failure; ``None`` is success.
            metadata: texts for the caller.

        Raises:
            UsageError: the request is not signed, or a member breaks the schema.
        """
        self = object.__new__(cls)
        # At once: a frozen class would be given its twenty members one by one.
        self.__dict__.update(
            id=id,
            did=request.recipient,
            recipient=request.did,
            kid=kid,
            created=created,
            expires=expires,
            nonce=nonce,
            encoding=request.encoding,
            context_id=request.context_id,
            task_id=request.task_id,
            session_id=request.session_id,
            role=None if request.role is None else request.role.other,
            metadata=metadata,
            version=request.version,
            signature=None,
            message_id=request.id,
            request_hash=request.hash(),
            success=error is None,
            error=error,
            data=data,
        )
        self.__post_init__()
        return self

    def with_data(self, data: bytes) -> Response:
        """Return an unsigned copy with other data.

        Raises:
            UsageError: not ``bytes``, or more than 8 MiB.
        """
        return self._with_body(data)
