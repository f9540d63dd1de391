"""``Content-Digest``: what ties a body to the signature over its fields (RFC 9530).

A signature covers fields, never the body itself. The digest field is the bridge, and
it holds only where it is covered *and* compared.

``Repr-Digest`` has the same syntax and another meaning: the representation before
content coding or range. `encode_digest` writes either; only ``Content-Digest`` is
compared here, because only the content is here.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from ..errors import AuthenticationError, Code, DecodeError, ProtocolError, UsageError
from ..limits import HTTP_CONTENT_MAX_BYTES
from ..types import Buffer
from .structured import parse_structured

__all__ = [
    "DIGEST_ALGORITHMS",
    "ContentDigester",
    "check_digest",
    "digest_text",
    "encode_digest",
    "parse_digest",
]

DIGEST_ALGORITHMS: Final[Mapping[str, int]] = MappingProxyType(
    {"sha-256": 32, "sha-512": 64}
)
"""The active algorithms of RFC 9530, section 5, and their sizes in bytes. The others
of the registry (``md5``, ``sha``, checksums) are broken and ignored."""

_HASHES: Final[Mapping[str, Callable[[], Any]]] = {
    "sha-256": hashlib.sha256,
    "sha-512": hashlib.sha512,
}
_ONE: Final = re.compile(r"(sha-256|sha-512)=:([A-Za-z0-9+/]+={0,2}):\Z")


def encode_digest(content: Buffer, algorithm: str = "sha-256") -> str:
    """Return the value of ``Content-Digest`` (or ``Repr-Digest``) for some bytes.

    Raises:
        UsageError: an algorithm that is not in `DIGEST_ALGORITHMS`.
    """
    if algorithm not in _HASHES:
        raise UsageError(f"{algorithm!r} is not one of {', '.join(DIGEST_ALGORITHMS)}")
    running = _HASHES[algorithm]()
    running.update(content)
    return digest_text(algorithm, running.digest())


def digest_text(algorithm: str, digest: bytes) -> str:
    """Return the value of a field that holds this one digest."""
    return f"{algorithm}=:{b64encode(digest).decode('ascii')}:"


def parse_digest(value: str) -> dict[str, bytes]:
    """Return the digests of a field that we can check, by algorithm.

    Args:
        value: of one field line, or several joined.

    Raises:
        DecodeError: not a dictionary of byte sequences, a name in it twice, or a
            digest of the wrong size (``digest.mismatch``).
        ProtocolError: none that we can check (``digest.missing``).
    """
    found = _ONE.match(value)
    if found is not None and len(found[2]) % 4 == 0:
        digest = b64decode(found[2])
        if len(digest) == DIGEST_ALGORITHMS[found[1]]:
            return {found[1]: digest}
    members = parse_structured(value, "dictionary", code=Code.DIGEST_MISMATCH)
    digests = {
        name: _digest(name, member)
        for name, member in members.items()
        if name in DIGEST_ALGORITHMS
    }
    if not digests:
        raise ProtocolError("no digest that can be checked", code=Code.DIGEST_MISSING)
    return digests


def check_digest(content: Buffer, digests: Mapping[str, bytes]) -> None:
    """Compare content with every digest of `parse_digest`.

    Raises:
        AuthenticationError: one of them is another content's (``digest.mismatch``).
    """
    digester = ContentDigester(digests, max_bytes=None)
    digester.update(content)
    digester.finish()


class ContentDigester:
    """Compares a streamed body with its digests, chunk by chunk.

    Feed what arrives, after transfer framing is removed, to `update`, and hand it on
    only as something that is not yet verified; `finish` decides.

    Args:
        digests: from `parse_digest`, or `VerifiedSignature.digests`.
        max_bytes: how much it takes; ``None`` for no limit.

    Raises:
        UsageError: nothing to compare with.
    """

    __slots__ = ("_digests", "_hashes", "_left", "_max_bytes")

    def __init__(
        self,
        digests: Mapping[str, bytes],
        *,
        max_bytes: int | None = HTTP_CONTENT_MAX_BYTES,
    ) -> None:
        if not digests:
            raise UsageError("there is no digest to compare with")
        self._digests = dict(digests)
        self._hashes = {name: _HASHES[name]() for name in self._digests}
        self._max_bytes = self._left = max_bytes

    def update(self, chunk: Buffer) -> None:
        """Take the next bytes, any number of them.

        Raises:
            DecodeError: more than ``max_bytes`` together (``size.exceeded``).
        """
        if self._left is not None:
            self._left -= memoryview(chunk).nbytes
            if self._left < 0:
                raise DecodeError(
                    f"content: more than {self._max_bytes} bytes",
                    code=Code.SIZE_EXCEEDED,
                )
        for running in self._hashes.values():
            running.update(chunk)

    def finish(self) -> None:
        """Compare what came with every digest.

        Raises:
            AuthenticationError: another content (``digest.mismatch``).
        """
        for name, digest in self._digests.items():
            if not hmac.compare_digest(self._hashes[name].digest(), digest):
                raise AuthenticationError(code=Code.DIGEST_MISMATCH)


def _digest(name: str, member: tuple[Any, dict[str, Any]]) -> bytes:
    value = member[0]
    if type(value) is not bytes or len(value) != DIGEST_ALGORITHMS[name]:
        raise DecodeError(f"not a {name} digest", code=Code.DIGEST_MISMATCH)
    return value
