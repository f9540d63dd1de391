"""From a name to a record: the interface, and two registries without a network.

A resolution is an observation: it says what an authoritative source held at one
moment, and is good for one operation that began before that moment (REG-05). So
nothing here caches, and every observation carries the time when its read started.
(`sage.transport.CachingResolver` does, for whoever asks for it.)
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from ..errors import Code, ConfigError, DecodeError, ResolutionError, UsageError
from ..limits import AGENT_RECORD_MAX_BYTES, OBSERVATION_MAX_AGE_S
from ..runtime.parts import check_can, check_kind
from ..types import Did
from .did import ParsedDid, parse_did
from .files import as_path, exclusive, read_regular, reason, write_atomic
from .record import AgentRecord
from .record_schema import parse_record
from .successor import check_successor
from .version_floor import VersionFloor

__all__ = [
    "FileResolver",
    "MemoryResolver",
    "Observation",
    "Resolver",
    "observe",
    "parse_web_did",
    "record_file",
    "write_record_file",
]


@dataclass(frozen=True, slots=True)
class Observation:
    """What a source said about an agent, and when it was asked.

    Attributes:
        record: the record, checked.
        version: its version.
        source: who said so, for the log.
        observed_at: monotonic seconds at which the read started.
        observed_time: wall seconds that the source gave, or ``None``.
    """

    record: AgentRecord
    version: int
    source: str
    observed_at: float
    observed_time: int | None = None

    def require_fresh(self, now: float) -> None:
        """Refuse to act on this any longer than 5 s after the read started.

        Raises:
            ResolutionError: too old, or the clock went back (``record.stale``).
        """
        # Written so that a time that is not a number is refused.
        if not 0 <= now - self.observed_at <= OBSERVATION_MAX_AGE_S:
            raise ResolutionError("the observation is too old", code=Code.RECORD_STALE)


class Resolver(Protocol):
    """Whatever can observe agent records."""

    async def resolve(self, did: str, *, now: float) -> Observation:
        """Ask the authoritative source, now.

        Args:
            did: the agent.
            now: monotonic seconds, read before the question goes out.

        Raises:
            ResolutionError: ``id.malformed``, ``id.unknown-kind``,
                ``record.not-found``, ``record.unreachable``, ``record.stale``,
                ``record.invalid``, ``size.exceeded``, ``pop.bad`` or
                ``key.unproven``. Never an earlier answer instead.
        """
        ...


class MemoryResolver:
    """A registry in this process: for tests, for one's own agents, for gateways."""

    def __init__(self, records: Iterable[AgentRecord] = ()) -> None:
        """Publish some records at once; see `publish`."""
        check_can(records, "__iter__", "records")
        self._records: dict[Did, AgentRecord] = {}
        for record in records:
            self.publish(record)

    def publish(self, record: AgentRecord) -> None:
        """Hold a record, or the next version of one that is held.

        The first one may have any version: what came before it is not known here.
        The same record again changes nothing.

        Raises:
            ResolutionError: it does not follow from the one that is held, or is not
                valid (`check_successor`, `parse_record`).
            UsageError: it is no `AgentRecord`.
        """
        check_kind(record, AgentRecord, "record")
        if not record.proven:
            record = parse_record(record.encode())
        held = self._records.get(record.id)
        if held == record:
            return
        if held is not None:
            check_successor(held, record)
        self._records[record.id] = record

    async def resolve(self, did: str, *, now: float) -> Observation:
        """Return the record that is held now; see `Resolver.resolve`."""
        return self.look_up(did, now=now)

    def look_up(self, did: str, *, now: float) -> Observation:
        """Do the same without a coroutine, because nothing is waited for.

        Raises:
            ResolutionError: as `Resolver.resolve`.
        """
        parsed = parse_web_did(did)
        record = self._records.get(parsed.did)
        if record is None:
            raise _not_found()
        return observe(record, parsed, source="memory", now=now)


class FileResolver:
    """A registry in a folder: ``<folder>/<locator>/<agent-id>.json``.

    Whoever can write the folder is the registry. Files are read when asked for, at
    most 64 KiB each, without handing the event loop back in between.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, floor: VersionFloor | None = None
    ) -> None:
        """Read from a folder.

        Args:
            folder: its top.
            floor: where given, refuses versions lower than any seen before.
        """
        self._folder = as_path(folder)
        self._floor = floor

    async def resolve(self, did: str, *, now: float) -> Observation:
        """Read and check the file of one agent; see `Resolver.resolve`."""
        parsed = parse_web_did(did)
        record = parse_record(_read(self._folder, parsed))
        return observe(
            record, parsed, source=f"file:{self._folder}", now=now, floor=self._floor
        )


def record_file(folder: str | os.PathLike[str], did: str) -> Path:
    """Return where `write_record_file` keeps an agent's record, if it is there.

    Raises:
        UsageError: not a ``did:sage:web`` agent.
    """
    return _path(as_path(folder), _parse_kept(did))


def write_record_file(folder: str | os.PathLike[str], record: AgentRecord) -> Path:
    """Publish a record, or its next version, where `FileResolver` finds it.

    Comparing with the version that is there and replacing it are one step among
    the processes that publish through this function (POSIX). The first file may
    have any version; the same record again changes nothing.

    Returns:
        The path of the file, readable by everyone.

    Raises:
        ResolutionError: it does not follow from the one that is there, or one of
            the two is not valid (`check_successor`, `parse_record`).
        ConfigError: the folder cannot be written, or another process writes it.
        UsageError: not the record of a ``did:sage:web`` agent.
    """
    parsed = _parse_kept(record.id)
    top = as_path(folder)
    path = _path(top, parsed)
    record = parse_record(record.encode())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(path.parent):
            if not _follows(top, parsed, record):
                write_atomic(path, record.encode(), mode=0o644)
    except OSError as exc:
        raise ConfigError(f"cannot write {path}: {reason(exc)}") from exc
    return path


def observe(
    record: AgentRecord,
    asked: ParsedDid,
    *,
    source: str,
    now: float,
    floor: VersionFloor | None = None,
    observed_time: int | None = None,
) -> Observation:
    """Accept a checked record as the answer to a question.

    Every resolver ends here.

    Args:
        record: from `parse_record`.
        asked: who was asked for.
        source: who answered.
        now: monotonic seconds at which the read started.
        floor: where given, neither the version nor a revocation may go back.
        observed_time: wall seconds that the source gave.

    Raises:
        ResolutionError: the record of another agent, or one that presents as good
            what was revoked before (``record.invalid``); an older one than seen
            before (``record.stale``).
    """
    if record.id != asked.did:
        raise ResolutionError(
            "the answer is the record of another agent", code=Code.RECORD_INVALID
        )
    if floor is not None:
        floor.admit(record)
    return Observation(record, record.version, source, now, observed_time)


def parse_web_did(did: str) -> ParsedDid:
    """Parse an identifier that somebody wants resolved.

    Raises:
        ResolutionError: ``id.malformed``; or ``id.unknown-kind`` for every registry
            kind but ``web``, which is the only one that we can read.
        UsageError: ``did`` is not a ``str``.
    """
    try:
        parsed = parse_did(did)
    except DecodeError as exc:
        raise ResolutionError(str(exc), code=exc.code) from exc
    if parsed.kind != "web":
        raise ResolutionError(
            f"no resolver for registries of kind {parsed.kind}",
            code=Code.ID_UNKNOWN_KIND,
        )
    return parsed


_SUFFIX: Final = ".json"


def _parse_kept(did: str) -> ParsedDid:
    try:
        return parse_web_did(did)
    except ResolutionError as exc:
        raise UsageError("only did:sage:web records are kept in files") from exc


def _path(folder: Path, did: ParsedDid) -> Path:
    """Return the file of an agent.

    The grammar leaves no separator, no "..", and no drive in either part; should
    it ever, this still does not leave the folder.
    """
    path = folder / did.locator / (did.agent_id + _SUFFIX)
    if path.parent.parent != folder or path.name != did.agent_id + _SUFFIX:
        raise ResolutionError("not a file name", code=Code.ID_MALFORMED)
    return path


def _read(folder: Path, did: ParsedDid) -> bytes:
    path = _path(folder, did)
    try:
        # A link could leave the folder: neither part below it may be one.
        if path.parent.is_symlink():
            raise ConfigError(f"{path.parent} is a symbolic link")
        return read_regular(path, AGENT_RECORD_MAX_BYTES, follow=False)
    except FileNotFoundError:
        if folder.is_dir():
            raise _not_found() from None
        raise _unreachable(f"{folder} is not a folder") from None
    except (OSError, ConfigError) as exc:
        raise _unreachable(str(exc)) from exc


def _follows(folder: Path, did: ParsedDid, record: AgentRecord) -> bool:
    """Whether the very same record is there already; raises where it may not follow."""
    try:
        held = parse_record(_read(folder, did))
    except ResolutionError as exc:
        if exc.code is Code.RECORD_NOT_FOUND:
            return False
        raise
    if held == record:
        return True
    check_successor(held, record)
    return False


def _not_found() -> ResolutionError:
    return ResolutionError("there is no such record", code=Code.RECORD_NOT_FOUND)


def _unreachable(message: str) -> ResolutionError:
    return ResolutionError(message, code=Code.RECORD_UNREACHABLE)
