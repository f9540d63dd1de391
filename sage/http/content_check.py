"""What a content that arrives in parts must pass, and who decides it: the signature."""

from __future__ import annotations

from typing import Protocol

from ..errors import Code, DecodeError, ProtocolError
from .policy import Policy
from .verify import VerifiedSignature

__all__ = ["AnyContent", "ContentCheck", "NoContent", "content_check"]


class ContentCheck(Protocol):
    """Sees a content pass, and judges it at its end."""

    def update(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            DecodeError: too many of them (``size.exceeded``).
            ProtocolError: there should be none (``digest.missing``).
        """
        ...

    def finish(self) -> None:
        """Judge the whole.

        Raises:
            AuthenticationError: it is not what was signed (``digest.mismatch``).
        """
        ...


class NoContent:
    """The check of a message whose signature speaks of no content."""

    def update(self, chunk: bytes) -> None:
        """Refuse any byte."""
        if chunk:
            raise ProtocolError("content without a digest", code=Code.DIGEST_MISSING)

    def finish(self) -> None:
        """Accept."""


class AnyContent:
    """The check for a policy that requires no digest: a length, and nothing else."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes

    def update(self, chunk: bytes) -> None:
        """Refuse what is too long."""
        self._left -= len(chunk)
        if self._left < 0:
            raise DecodeError("the content is too long", code=Code.SIZE_EXCEEDED)

    def finish(self) -> None:
        """Accept."""


def content_check(proof: VerifiedSignature, policy: Policy) -> ContentCheck:
    """Return the check for the content behind a verified head.

    A digest counts where the signature covers it, and then always.
    """
    if proof.digests:
        return proof.content_digester()
    if policy.require_digest:
        return NoContent()
    return AnyContent(policy.max_content_bytes)
