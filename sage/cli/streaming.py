"""The sending end of the file application on a stream: parts out, receipts in.

Each record is a part, as in a request, of at most 64 KiB. Nobody waits for an answer
to go on: the receiver answers the last part of each file, in order.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from ..encoding import b64u_encode
from ..errors import ConfigError, DecodeError, TransportError
from ..service import Stream
from .files import Found, SourceFile
from .receipts import Part, check_path
from .sending import FileFailure, Progress, check_receipt

__all__ = ["Streamed", "stream_files"]

_PART_BYTES: Final = 64 * 1024


@dataclass(slots=True)
class Streamed:
    """What became of everything.

    Attributes:
        files: how many have a good receipt.
        failures: path → why, of each file without.
        records: how many were sent.
        total_bytes: the size of all files with a receipt.
        seconds: from the first read to the last receipt.
    """

    files: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    records: int = 0
    total_bytes: int = 0
    seconds: float = 0.0


async def stream_files(
    stream: Stream, files: Iterable[Found], *, progress: Progress
) -> Streamed:
    """Send files as records, one after the other, and check every receipt.

    A file that cannot be read to its end is a failure of that file; the receiver
    gives it up by itself.

    Raises:
        TransportError, PeerError, ResourceError: the connection failed.
    """
    streamed, started = Streamed(), time.perf_counter()
    # What was sent whole and waits for its receipt: the last part, the SHA-256.
    sent: asyncio.Queue[tuple[Part, str] | None] = asyncio.Queue()
    checking = asyncio.create_task(_check_receipts(stream, sent, streamed, progress))
    try:
        for found in files:
            if found.note is not None:
                continue
            try:
                sent.put_nowait(await _send(stream, found, streamed))
            except (OSError, ConfigError, DecodeError) as exc:
                if isinstance(exc, TransportError):  # one of them is a TimeoutError
                    raise
                reason = getattr(exc, "strerror", None) or str(exc)
                streamed.failures[found.path] = reason
                progress.finish(found.path)
        sent.put_nowait(None)
        await stream.end()
        await checking
    finally:
        checking.cancel()
        await asyncio.gather(checking, return_exceptions=True)
    streamed.seconds = time.perf_counter() - started
    return streamed


async def _send(stream: Stream, found: Found, streamed: Streamed) -> tuple[Part, str]:
    """Send one file; return its last part and the SHA-256 of all."""
    transfer, digest, offset = b64u_encode(os.urandom(16)), hashlib.sha256(), 0
    check_path(found.path)
    with SourceFile(found) as source:
        while True:
            # Reading lets go of the GIL; the receipts come in meanwhile.
            data = await asyncio.to_thread(source.read)
            digest.update(data)
            for start in range(0, max(len(data), 1), _PART_BYTES):
                part = Part(
                    transfer=transfer,
                    path=found.path,
                    offset=offset,
                    size=source.size,
                    data=data[start : start + _PART_BYTES],
                )
                await stream.send(part.encode())
                streamed.records += 1
                offset = part.end
            if part.is_last:
                return part, digest.hexdigest()


async def _check_receipts(
    stream: Stream,
    sent: asyncio.Queue[tuple[Part, str] | None],
    streamed: Streamed,
    progress: Progress,
) -> None:
    while (expected := await sent.get()) is not None:
        part, sha256 = expected
        try:
            check_receipt(await stream.receive(), part, sha256)
        except FileFailure as exc:
            streamed.failures[part.path] = str(exc)
        else:
            streamed.files += 1
            streamed.total_bytes += part.size
            progress.advance(part.size)
        progress.finish(part.path)
