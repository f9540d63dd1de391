"""Which payloads of a channel are compressed, and how the other end is told.

Two names of the signed metadata say it. ``content_encoding`` is what a payload or an
answer was compressed with, before it was sealed. ``accept_encoding`` is in a request
whose sender takes compressed answers: what it accepts, with commas. Nobody without a
setting of their own sends either, or accepts the first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, ParamSpec, TypeVar

from ..errors import Code, ProtocolError, UsageError
from ..identity.signature import as_bytes
from ..limits import COMPRESS_INLINE_MAX_BYTES
from ..transport.compress import compress_payload, decompress_payload
from ..types import Buffer

__all__ = [
    "ACCEPT_ENCODING",
    "CONTENT_ENCODING",
    "pack_answer",
    "pack_request",
    "unpack",
    "without_encodings",
]

CONTENT_ENCODING: Final = "content_encoding"
"""The metadata name of what a payload was compressed with."""

ACCEPT_ENCODING: Final = "accept_encoding"
"""The metadata name of what an answer may be compressed with."""

_P = ParamSpec("_P")
_R = TypeVar("_R")


async def pack_request(
    payload: Buffer, metadata: Mapping[str, str], encodings: tuple[str, ...]
) -> tuple[Buffer, Mapping[str, str]]:
    """Return a request's payload and metadata as they will be sealed and signed.

    Args:
        payload: what the application sends.
        metadata: what it says beside it.
        encodings: what we accept; the first is what we compress with.

    Raises:
        UsageError: the metadata has one of the two names, which are ours.
    """
    if CONTENT_ENCODING in metadata or ACCEPT_ENCODING in metadata:
        raise UsageError(
            f"{CONTENT_ENCODING} and {ACCEPT_ENCODING} are set by ClientConfig"
        )
    if not encodings:
        return payload, metadata
    packed, added = await _compressed(as_bytes(payload, "payload"), encodings[0])
    return packed, {**metadata, **added, ACCEPT_ENCODING: ",".join(encodings)}


async def pack_answer(
    answer: bytes, asked: Mapping[str, str], encodings: tuple[str, ...]
) -> tuple[bytes, Mapping[str, str] | None]:
    """Return an answer and its metadata as they will be sealed and signed.

    Args:
        answer: what the handler returned.
        asked: the request's signed metadata.
        encodings: what we use, the best first.
    """
    accepted = asked.get(ACCEPT_ENCODING, "").split(",")
    encoding = next((name for name in encodings if name in accepted), None)
    if encoding is None:
        return answer, None
    packed, added = await _compressed(answer, encoding)
    return packed, added or None


async def unpack(
    data: bytes, metadata: Mapping[str, str], encodings: tuple[str, ...]
) -> bytes:
    """Return a payload, or an answer, as the other end's application gave it.

    Args:
        data: authenticated, opened and accepted.
        metadata: signed by the same sender.
        encodings: what we accept.

    Raises:
        ProtocolError: compressed with what we do not accept (``payload.encoding``).
        DecodeError: see `transport.decompress_payload`.
    """
    encoding = metadata.get(CONTENT_ENCODING)
    if encoding is None:
        return data
    if encoding not in encodings:
        raise ProtocolError(
            "a payload in an encoding that was not agreed to",
            code=Code.PAYLOAD_ENCODING,
        )
    return await _run(len(data), decompress_payload, data, encoding)


def without_encodings(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return metadata without the two names, which mean nothing to a handler."""
    ours = CONTENT_ENCODING, ACCEPT_ENCODING
    return {name: value for name, value in metadata.items() if name not in ours}


async def _compressed(payload: bytes, encoding: str) -> tuple[bytes, dict[str, str]]:
    packed = await _run(len(payload), compress_payload, payload, encoding)
    if packed is None:
        return payload, {}
    return packed, {CONTENT_ENCODING: encoding}


async def _run(
    size: int, work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs
) -> _R:
    """Do what takes long in a thread; both libraries release the GIL."""
    if size <= COMPRESS_INLINE_MAX_BYTES:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
