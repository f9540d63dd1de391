"""The sending end of the file application: parts out, receipts checked."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import math
import os
import time
from array import array
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from ..encoding import b64u_encode
from ..errors import ConfigError, DecodeError, RemoteFailure
from .files import Found, SourceFile
from .receipts import Part, Receipt, check_path

__all__ = ["FileFailure", "Outcome", "Progress", "check_receipt", "send_files"]

Ask = Callable[[bytes], Awaitable[bytes]]

# Reading and hashing less than this is quicker than handing it to a thread.
_INLINE_BYTES: Final = 65_536


class Progress(Protocol):
    """Whoever wants to know how far it is."""

    def advance(self, size: int) -> None:
        """Count bytes that have a good receipt."""

    def finish(self, path: str) -> None:
        """Count one file that is done, one way or the other."""


@dataclass(slots=True)
class Outcome:
    """What became of everything.

    Attributes:
        receipts: path → size and SHA-256, of each file with a good last receipt.
        failures: path → why, of each file without.
        skipped: path → why, of what is not a regular file.
        latencies_s: one for each request, from the call to its checked answer.
        seconds: from the first read to the last receipt.
    """

    receipts: dict[str, tuple[int, str]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    latencies_s: array[float] = field(default_factory=lambda: array("d"))
    seconds: float = 0.0

    @property
    def total_bytes(self) -> int:
        """The size of all files with a receipt."""
        return sum(size for size, _ in self.receipts.values())

    def latency_s(self, quantile: float) -> float:
        """Return the latency that a share of the requests did not exceed."""
        ordered = sorted(self.latencies_s)
        if not ordered:
            return 0.0
        return ordered[max(math.ceil(quantile * len(ordered)) - 1, 0)]


async def send_files(
    ask: Ask, files: Iterable[Found], *, progress: Progress, parallel: int = 8
) -> Outcome:
    """Send files, several at a time, and check every receipt.

    A file that cannot be read, or that the peer does not take, is a failure of that
    file; the others go on.

    Args:
        ask: `Channel.request`.
        files: what to send; an entry with a note is skipped.
        progress: is told.
        parallel: files at once; the parts of one file follow one another.

    Raises:
        TransportError, ResolutionError, PeerError, ResourceError: the channel failed,
            and with it everything.
    """
    outcome = Outcome()
    started = time.perf_counter()
    queue = iter(files)
    tasks = [
        asyncio.create_task(_work(ask, queue, outcome, progress))
        for _ in range(parallel)
    ]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    outcome.seconds = time.perf_counter() - started
    return outcome


class FileFailure(Exception):
    """One file cannot be sent; the others can."""


async def _work(
    ask: Ask, queue: Iterator[Found], outcome: Outcome, progress: Progress
) -> None:
    """Send one file after the other until none is left."""
    for found in queue:
        if found.note is not None:
            outcome.skipped[found.path] = found.note
            continue
        try:
            receipt = await _send(ask, found, outcome.latencies_s, progress)
        except (FileFailure, RemoteFailure) as exc:
            outcome.failures[found.path] = str(exc)
        else:
            outcome.receipts[found.path] = receipt.size, receipt.sha256
        progress.finish(found.path)


async def _send(
    ask: Ask, found: Found, latencies_s: array[float], progress: Progress
) -> Receipt:
    """Send one file and return its last receipt, checked."""
    transfer, digest, offset = b64u_encode(os.urandom(16)), hashlib.sha256(), 0
    with _open(found) as source:
        while True:
            if source.size < _INLINE_BYTES:
                data = _read(source, digest)
            else:
                # Reading and hashing let go of the GIL; the channel goes on.
                data = await asyncio.to_thread(_read, source, digest)
            part = Part(
                transfer=transfer,
                path=found.path,
                offset=offset,
                size=source.size,
                data=data,
            )
            started = time.perf_counter()
            receipt = check_receipt(await ask(part.encode()), part, digest.hexdigest())
            latencies_s.append(time.perf_counter() - started)
            progress.advance(len(data))
            if part.is_last:
                return receipt
            offset = part.end


def _open(found: Found) -> SourceFile:
    try:
        check_path(found.path)
        return SourceFile(found)
    except (OSError, ConfigError, DecodeError) as exc:
        raise FileFailure(_reason(exc)) from exc


def _read(source: SourceFile, digest: hashlib._Hash) -> bytes:
    try:
        data = source.read()
    except (OSError, ConfigError) as exc:
        raise FileFailure(_reason(exc)) from exc
    digest.update(data)
    return data


def check_receipt(answer: bytes, part: Part, sha256: str) -> Receipt:
    """Return a receipt, if it is the one for everything up to a part.

    Raises:
        FileFailure: it is not.
    """
    try:
        receipt = Receipt.decode(answer)
    except DecodeError as exc:
        raise FileFailure(f"the answer is not a receipt: {exc}") from exc
    about = receipt.transfer, receipt.path, receipt.size
    if about != (part.transfer, part.path, part.end):
        raise FileFailure("the receipt is for something else")
    if not hmac.compare_digest(receipt.sha256, sha256):
        raise FileFailure("the receipt's SHA-256 is another")
    return receipt


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
