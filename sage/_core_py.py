"""The kernels of a session, in Python: the specification of the compiled twin.

Here are the replay window, and the session core with its key block, its counters
and its one path each for sealing and opening. `_core.pyx` repeats every name, every
result and every text; `_accel` chooses between the two.

Layout. All secret material of a session is one block of 192 bytes, wiped by
``close()``::

    0 seed | 32 bound | 64 key out | 96 key in | 128 before | 160 unused

"Bound" is the transcript hash; of draft1, whose keys are bound to the session id, it
is the first key in, and "seed" the pseudorandom key. "Key in" and "before" belong to
the two newest generations from which a record was accepted. The key of any other
generation lies outside, and is wiped, once the engine has taken it over; that of one
which a record only claims, once the record proves genuine or forged. (The compiled
twin has it in the last 32 bytes.)

Warmth. The engine's contexts are a cache: 2 KB each, made when they are needed. The
last `WARM_SESSIONS` sessions that needed one keep theirs, so that a million idle
sessions hold keys in their blocks and nowhere else.

Order. Whatever a record claims moves nothing until its tag verifies; then the
window, the counters and the idle clock move in one step. A sequence number is
reserved before the AEAD runs and never given back.

Threads. One lock a session guards all of its state. The AEAD runs outside of it: it
works on values that belong to one call, and what it gives is refused if the session
was closed meanwhile. The lock lets its own thread in again, so a signal handler or
finaliser must not use a session that may be at work below it.

Ahead. Under its lock a session sets numbers aside for the records that come next, and
these take theirs without it: `seal` by ``next`` of an iterator, `open` by ``remove``
from a bytearray. Each is one call into the interpreter, which CPython does not divide
as long as it has its global lock: a number goes to one taker, whatever races with it,
interrupts or traces it. Elsewhere nothing is set aside.

Interrupts. A signal handler may raise between any two calls. So the lock is taken
within ``try``, and ``finally`` releases it whatever happened; where it was not even
taken, releasing it raises. In Python 3.14 a ``with`` may leave it taken for ever
(python/cpython#148874).

Processes. A session belongs to the process that made it. A fork copies it, and the
copy closes when it is used: it would seal with the numbers that the other uses.
"""

from __future__ import annotations

import binascii
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from math import inf, isfinite
from operator import length_hint
from os import urandom
from struct import Struct
from threading import RLock
from time import monotonic
from typing import Any, Final, NoReturn, Self, TypeVar, TypeVarTuple
from weakref import ref

from ._arguments import (
    check_profile,
    flat,
    listed,
    matrix,
    matrix_like,
    matrix_out,
    note,
    workers,
    writable,
)
from ._crypto import (
    AESGCM,
    ChaCha20Poly1305,
    InvalidTag,
    hkdf_expand_into,
    hkdf_extract,
    sha256,
)
from .errors import (
    AuthenticationError,
    BatchError,
    Code,
    DecodeError,
    LimitReached,
    ProtocolError,
    ReplayError,
    SageError,
    SessionClosed,
    SessionExpired,
    StaleError,
    UsageError,
)
from .limits import (
    HEADERS_READY,
    KEY_BLOCK_BYTES,
    PROFILES_READY_MAX,
    RECORD_MIN_BYTES,
    REPLAY_WINDOW_BITS,
    SESSION_ID_BYTES,
    WARM_SESSIONS,
)
from .types import Buffer, Role

__all__ = [
    "ReplayWindow",
    "SessionCore",
    "base64url_decode",
    "base64url_encode",
    "untrack",
]

_SEQ_MAX: Final = 2**64 - 1
_WINDOW_MASK: Final = REPLAY_WINDOW_BITS - 1
_UNSEEN: Final = bytes(REPLAY_WINDOW_BITS)

_SEED: Final = slice(0, 32)
_BOUND: Final = slice(32, 64)
_KEY_OUT: Final = slice(64, 96)
_KEY_IN: Final = slice(96, 128)
_KEY_BEFORE: Final = slice(128, 160)
_NO_GENERATION: Final = -1

# Directions: who sends. Draft1's shared keys serve both ends.
_C2S: Final = 0
_S2C: Final = 1
_SHARED: Final = 2

_ZERO32: Final = bytes(4)
# Arrays, for assigning bytes would take memory.
_ZERO_KEY: Final = bytearray(32)
_ZERO_BLOCK: Final = bytearray(KEY_BLOCK_BYTES)
_ENDED: Final = -inf
_pack_header: Final = Struct(">Q4xQ").pack  # seq, then nonce: 0000, seq
_unpack_header: Final = Struct(">QIQ").unpack_from

_HEADERS: Final = tuple(_pack_header(seq, seq) for seq in range(HEADERS_READY))
_NONCES: Final = tuple(seq.to_bytes(12) for seq in range(HEADERS_READY))

# Of a record. Made once, they cost nothing where they are used.
_NONCE: Final = slice(8, 20)
_BODY: Final = slice(20, None)
_NO_AAD: Final = b""

_Args = TypeVarTuple("_Args")
_R = TypeVar("_R")

# Below this, copying a record's ciphertext is cheaper than two memoryviews.
_COPY_MAX_BYTES: Final = 2048

# Between two looks at whether whoever holds a lock is in this process at all.
_LOOK_S: Final = 1.0

# Whether a call of what is not written in Python is one step for all threads.
_CALLS_ARE_STEPS: Final = (
    sys.implementation.name == "cpython"
    and getattr(sys, "_is_gil_enabled", lambda: True)()
)
# Of the numbers that a window sets aside, from its highest on; zero is none's.
_OFFSETS: Final = bytes(range(1, 256))
_NONE_LEFT: Final = bytearray()
_WHOLE: Final = slice(None)


class ReplayWindow:
    """Which of the last 1,024 sequence numbers were seen (SESSION-05).

    ``accept`` is not atomic across threads on its own; a session calls it under its
    lock.
    """

    __slots__ = ("_accepted", "_ahead", "_highest", "_left", "_seen")

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._highest = self._accepted = 0
        self._seen = bytearray(REPLAY_WINDOW_BITS)  # at seq mod 1,024
        # How many numbers above the highest are set aside, and the offsets of those
        # that were not accepted, among zeros. Who removes an offset from `_left` has
        # accepted its number.
        self._ahead, self._left = 0, _NONE_LEFT

    def check(self, seq: int) -> None:
        """Refuse a sequence number that was seen or is too old; move nothing.

        Args:
            seq: 0 .. 2^64 - 1.

        Raises:
            ReplayError: seen before (``session.replay``).
            StaleError: 1,024 or more below the highest (``session.window``).
            UsageError: not an ``int`` in range.
        """
        self._check(_sequence(seq))

    def accept(self, seq: int) -> None:
        """Check a sequence number and mark it as seen.

        Raises:
            ReplayError: seen before (``session.replay``).
            StaleError: 1,024 or more below the highest (``session.window``).
            UsageError: not an ``int`` in range.
        """
        self._accept(_sequence(seq))

    def _check(self, seq: int) -> None:
        behind = self._highest - seq
        if behind < 0:
            if -behind > self._ahead or -behind in self._left:
                return
            raise ReplayError("record seen before", code=Code.SESSION_REPLAY)
        if behind + self._ahead >= REPLAY_WINDOW_BITS > behind:
            # Looked at only where it decides: strangers choose what is checked.
            taken = self._taken_ahead()
            behind += taken[-1] if taken else 0
        if behind >= REPLAY_WINDOW_BITS:
            raise StaleError("record too old", code=Code.SESSION_WINDOW)
        if self._seen[seq & _WINDOW_MASK]:
            raise ReplayError("record seen before", code=Code.SESSION_REPLAY)

    def _accept(self, seq: int) -> None:
        while self._ahead:
            if self._take(seq):
                return
        before, highest, seen = self._accepted, self._highest, self._seen
        accepted, ahead = before + 1, seq - highest
        if ahead <= 0:
            self._check(seq)
        elif ahead >= REPLAY_WINDOW_BITS:
            seen = bytearray(REPLAY_WINDOW_BITS)
        elif ahead > 1:
            # In a copy: there may be no memory for its second half.
            seen = seen.copy()
            first, last = (highest + 1) & _WINDOW_MASK, seq & _WINDOW_MASK
            if first < last:
                seen[first:last] = _UNSEEN[first:last]
            else:
                seen[first:] = _UNSEEN[first:]
                seen[:last] = _UNSEEN[:last]
        if ahead > 0:
            highest = seq
        # From here on nothing is called, nor fails: all of it happens or nothing.
        if self._accepted != before or self._ahead:  # a signal's handler was quicker
            return self._accept(seq)
        seen[seq & _WINDOW_MASK] = 1
        # In one line, between whose parts not even a tracer is called.
        self._highest, self._seen, self._accepted = highest, seen, accepted

    def _set_aside(self, end: int) -> None:
        """Set up to 255 of the numbers before an end aside, if none are yet."""
        highest = self._highest
        count = min(max(end - highest - 1, 0), len(_OFFSETS))
        # As many zeros, so that what `remove` leaves is never less than half: it would
        # be moved elsewhere, and where no memory is, `remove` fails half done.
        left = bytearray(_OFFSETS[:count] + bytes(count))
        # From here on nothing is called.
        if count and self._highest == highest and not self._ahead:
            self._left, self._ahead = left, count

    def _take(self, seq: int) -> bool:
        """Accept a number if it is set aside; if not, recall all that are left.

        Interrupted or short of memory, it has moved nothing.
        """
        left, offset = self._left, seq - self._highest
        if left is _NONE_LEFT:  # a signal's handler was quicker
            return False
        if 0 < offset <= self._ahead:
            try:
                left.remove(offset)
            except (ValueError, BufferError):  # not any more, or recalled in vain
                pass
            else:
                return True
        recalled = memoryview(left)  # as long as it lives, `remove` fails
        taken, seen = self._taken_ahead(), self._seen.copy()
        marks = bytearray(b"\1" * (taken[-1] if taken else 0))
        for other in left:
            if not 0 < other <= len(marks):
                break
            marks[other - 1] = 0
        start = (self._highest + 1) & _WINDOW_MASK
        first_part = REPLAY_WINDOW_BITS - start
        seen[start : start + len(marks)] = marks[:first_part]
        seen[: len(marks[first_part:])] = marks[first_part:]
        highest, accepted = self._highest + len(marks), self._accepted + len(taken)
        none_left = bytes(len(left))
        # From here on nothing is called, nor fails: all of it happens or nothing.
        if self._left is left:  # and no signal's handler was quicker
            recalled[_WHOLE] = none_left
            self._seen, self._highest, self._accepted = seen, highest, accepted
            self._ahead, self._left = 0, _NONE_LEFT
        return False

    def _taken_ahead(self) -> bytes:
        """Return the offsets of what is set aside and was accepted, in order."""
        return _OFFSETS[: self._ahead].translate(None, self._left)

    def _count(self) -> int:
        """Return how many numbers were accepted."""
        return self._accepted + len(self._taken_ahead())

    def __reduce__(self) -> NoReturn:
        """Refuse pickling and copying: a copy would take every record twice."""
        raise TypeError("a replay window cannot be pickled or copied")


class SessionCore:
    """One end of a session: seals what it sends, opens what it receives.

    The profile, a `sage.session.Profile`, supplies labels and limits; the code is
    the same for all. Times are monotonic seconds; where ``now`` is not given, the
    session reads ``time.monotonic()``. A clock that runs backwards prolongs
    nothing and breaks nothing.

    Wire: be64(seq) | nonce: 0000 be64(seq) (12 B) | ciphertext | tag (16 B).
    """

    __slots__ = (
        "__weakref__",
        "_block",
        "_bound_in",
        "_bound_out",
        "_closed",
        "_deadline",
        "_direction_in",
        "_direction_out",
        "_expires",
        "_failed_opens",
        "_generation_before",
        "_generation_in",
        "_generation_out",
        "_id",
        "_lock",
        "_open_ahead",
        "_openers",
        "_plan",
        "_process",
        "_seal_ahead",
        "_sealers",
        "_sent",
        "_streams",
        "_tried",
        "_usable_in",
        "_used",
        "_warm",
        "_window",
    )

    def __init__(
        self,
        profile: Any,
        seed: Buffer,
        transcript_hash: Buffer | None,
        role: Role | None,
        *,
        session_id: Buffer | None = None,
        deadline: float | None = None,
        now: float | None = None,
    ) -> None:
        """Derive the first keys of both directions.

        Args:
            profile: a `sage.session.Profile`.
            seed: 32 bytes, copied; wipe yours. Of a stream, its session's.
            transcript_hash: 32 bytes, both ends' handshake transcript; of a stream,
                its session's; ``None`` for draft1.
            role: which end this is; the initiator sends in direction c2s. ``None``,
                where the profile allows it, for keys that both ends share.
            session_id: 16 bytes where the profile does not derive them.
            deadline: when the session ends whatever its age, monotonic seconds.
            now: when the keys came into being, monotonic seconds; both ages count
                from here.

        Raises:
            UsageError: an argument of the wrong type or size.
        """
        plan = _plan(profile)
        self._block = bytearray(KEY_BLOCK_BYTES)
        self._block[_SEED] = _exactly(seed, 32, "seed")
        bound, raw_id = _identity(plan, transcript_hash, session_id)
        self._direction_out, self._direction_in = _directions(plan, role)
        created = _seconds(now)
        self._deadline = created + plan.max_age_s
        if deadline is not None:
            self._deadline = min(self._deadline, _seconds(deadline))
        self._expires = min(created + plan.idle_s, self._deadline)
        self._used = -inf  # when last; `expires_at` is what follows from both
        self._id = base64url_encode(raw_id)
        self._closed = self._warm = False
        self._process = self._usable_in = _process  # until it is closed
        self._lock = RLock()
        self._plan = plan
        # The numbers that are set aside, and the one that follows them.
        self._sent = _NONE_SENT
        self._failed_opens = 0
        self._window = ReplayWindow()
        self._seal_ahead, self._open_ahead = _SEAL_NONE_AHEAD, _OPEN_NONE_AHEAD
        self._sealers: dict[int, _Engine] = {}  # of "out"
        self._openers: dict[int, _Engine] = {}  # of "in" and "before"
        self._streams: set[str] | None = None  # the ids of those that were derived
        self._generation_out = self._generation_in = 0
        self._generation_before = _NO_GENERATION
        self._tried = _NONE_TRIED  # a generation's key, until it proves real or forged
        self._bound_out = plan.aad_label + bound + bytes([self._direction_out])
        self._bound_in = plan.aad_label + bound + bytes([self._direction_in])
        if plan.is_draft1:
            self._derive_draft1()
            return
        self._block[_BOUND] = bound
        keys = memoryview(self._block)
        if plan.is_stream:
            self._expand(plan.root_label + bound, keys[_SEED])
        self._expand(self._key_info(self._direction_out, 0), keys[_KEY_OUT])
        self._expand(self._key_info(self._direction_in, 0), keys[_KEY_IN])

    @property
    def id(self) -> str:
        """The session id: 22 characters of canonical base64url."""
        return self._id

    @property
    def role(self) -> Role | None:
        """Which end this is; ``None`` where both ends share their keys."""
        return _ROLES[self._direction_out]

    @property
    def profile(self) -> Any:
        """The profile that the session was made with."""
        return self._plan.profile

    @property
    def sent(self) -> int:
        """How many sequence numbers were used, failed sends included."""
        numbers, end = self._sent
        return end - length_hint(numbers)

    @property
    def received(self) -> int:
        """How many records were accepted."""
        if self._process is not _process:  # nobody here holds the lock, nor lets it go
            return self._window._count()
        return self._locked(self._window._count)

    @property
    def failed_opens(self) -> int:
        """How many records failed to verify: the one count that strangers move."""
        return self._failed_opens

    @property
    def closed(self) -> bool:
        """Whether the keys are gone: by ``close()`` or by too many failures."""
        return self._closed

    @property
    def records_left(self) -> int:
        """How many records this end may still seal."""
        return self._plan.max_records - self.sent

    @property
    def expires_at(self) -> float:
        """When the session expires as things stand, monotonic seconds.

        The earlier of both ages' ends; minus infinity once closed. Records move it
        on. Read without a lock.
        """
        if self._closed:
            return -inf
        used_until = self._used + self._plan.idle_s
        if used_until > self._deadline:
            used_until = self._deadline
        return used_until if used_until > self._expires else self._expires

    def seal(
        self, plaintext: Buffer, aad: Buffer = b"", now: float | None = None
    ) -> bytes:
        """Encrypt one record under the next sequence number.

        Args:
            plaintext: at most 8,388,572 bytes (V10, draft1) or 1 MiB (stream).
            aad: what the record is bound to but does not carry, at most 4,033 bytes
                (V10), 4,088 (draft1) or 255 (stream).
            now: monotonic seconds.

        Raises:
            LimitReached: the profile's last record was sealed; start a new session.
            SessionClosed: ``close()`` was called, maybe while this was under way.
            SessionExpired: the age or idle limit was reached.
            UsageError: an argument of the wrong type or size; no number is used.
        """
        plan = self._plan
        if (
            now is None
            and aad is _NO_AAD
            and type(plaintext) is bytes
            and len(plaintext) <= plan.plaintext_max_bytes
        ):
            now = monotonic()
        else:
            if self._usable_in is not _process:
                self._refuse()
            plaintext = self._plaintext(plaintext, "plaintext")
            aad, now = self._aad_out(aad), _seconds(now)
        numbers, encrypt = self._seal_ahead
        if now >= self._expires or (seq := next(numbers, None)) is None:
            return self._encrypt(self._locked(self._reserve, now, 1), plaintext, aad)
        if now > self._used:
            self._used = now
        # `_encrypt` in line: the call would be dearer.
        if aad is _NO_AAD:
            pack_bound = plan.pack_bound_alone
            bound = pack_bound(self._bound_out, seq)
        else:
            pack_bound = plan.pack_bound
            bound = pack_bound(self._bound_out, seq, len(aad)) + aad
        if seq < HEADERS_READY:
            header, nonce = _HEADERS[seq], _NONCES[seq]
        else:
            header, nonce = _pack_header(seq, seq), seq.to_bytes(12)
        sealed = encrypt(nonce, plaintext, bound)
        if self._usable_in is not _process:  # not before: it may change meanwhile
            self._refuse()
        return header + sealed

    def seal_into(
        self,
        plaintext: Buffer,
        out: Buffer,
        aad: Buffer = b"",
        *,
        now: float | None = None,
    ) -> int:
        """Encrypt one record into a buffer of the caller's, which may be the same.

        Args:
            plaintext: as for `seal`; it may overlap ``out``. Nobody else may write into
                either meanwhile.
            out: a writable, contiguous buffer with 36 bytes more than the plaintext.
            aad: as for `seal`.
            now: monotonic seconds.

        Returns:
            How many bytes of ``out`` the record takes.

        Raises:
            The same errors as `seal`, and UsageError for an unfit ``out``.
        """
        if self._usable_in is not _process:
            self._refuse()
        plaintext = self._plaintext(plaintext, "plaintext")
        aad = self._aad_out(aad)
        record_bytes = len(plaintext) + RECORD_MIN_BYTES
        with writable(out, record_bytes) as view:
            view[:record_bytes] = SessionCore.seal(self, plaintext, aad, now)
        return record_bytes

    def seal_many(
        self,
        plaintexts: Iterable[Buffer],
        aad: Buffer = b"",
        *,
        threads: int = 1,
        now: float | None = None,
    ) -> list[bytes]:
        """Encrypt records under consecutive sequence numbers.

        Args:
            plaintexts: each as for `seal`; all are looked at before a number is used.
            aad: bound to each of the records.
            threads: how many may work on it, 1 to 64; more than one pay from a
                megabyte. The engine `cryptography` works in one.
            now: monotonic seconds.

        Raises:
            The same errors as `seal`; LimitReached if not all of them fit, and then
            none is sealed.
        """
        if self._usable_in is not _process:
            self._refuse()
        rows = [
            row
            if type(row) is bytes and len(row) <= self._plan.plaintext_max_bytes
            # The size limit, or another type's way to one row of bytes.
            else self._plaintext(row, f"plaintexts[{index}]")
            for index, row in enumerate(listed(plaintexts, "plaintexts"))
        ]
        aad = self._aad_out(aad)
        workers(threads)
        first = self._locked(self._reserve, _seconds(now), len(rows))
        encrypt = self._encrypt
        return [encrypt(seq, row, aad) for seq, row in enumerate(rows, first)]

    def seal_batch(
        self,
        rows: Any,
        out: Any = None,
        aad: Buffer = b"",
        *,
        threads: int = 1,
        now: float | None = None,
    ) -> Any:
        """Encrypt equal-sized plaintexts, the rows of one array, into another.

        Args:
            rows: a contiguous 2-D array of bytes (``uint8``), one plaintext a row.
            out: a writable one of as many rows, each 36 bytes longer, that does not
                overlap ``rows``; ``None`` to make it. Nobody else may write into either
                meanwhile.
            aad: bound to each of the records.
            threads: how many may work on it, 1 to 64; more than one pay from a
                megabyte. The engine `cryptography` works in one.
            now: monotonic seconds.

        Returns:
            ``out``; where there was none, a ``numpy`` array if ``rows`` is one, else
            a 2-D ``memoryview``.

        Raises:
            The same errors as `seal_many`, and UsageError for unfit arrays.
        """
        if self._usable_in is not _process:
            self._refuse()
        source, count, size = matrix(rows, "rows")
        with source:
            if size > self._plan.plaintext_max_bytes:
                _refuse_plaintext(self._plan)
            aad, width = self._aad_out(aad), size + RECORD_MIN_BYTES
            out = matrix_like(rows, count, width) if out is None else out
            with matrix_out(out, count, width) as target:
                workers(threads)
                first = self._locked(self._reserve, _seconds(now), count)
                for row in range(count):
                    target[row * width : (row + 1) * width] = self._encrypt(
                        first + row, source[row * size : (row + 1) * size], aad
                    )
        return out

    def open(
        self, record: Buffer, aad: Buffer = b"", now: float | None = None
    ) -> bytes:
        """Authenticate one record, accept it and return its plaintext.

        Args:
            record: 36 .. 8,388,608 bytes (V10, draft1) or .. 1 MiB + 36 (stream).
            aad: the bytes that the sender bound the record to.
            now: monotonic seconds.

        Raises:
            AuthenticationError: forged, damaged or bound to something else
                (``session.aead``); carries no detail.
            DecodeError: ``record`` or ``aad`` has an impossible size
                (``session.malformed``, ``size.exceeded``).
            ProtocolError: a sequence number beyond the profile's last
                (``session.window``).
            ReplayError: seen before (``session.replay``).
            StaleError: 1,024 or more below the highest (``session.window``).
            LimitReached: the session ended because too many records were forged.
            SessionClosed: ``close()`` was called.
            SessionExpired: the age or idle limit was reached.
            UsageError: an argument of the wrong type.
        """
        plan = self._plan
        if (
            now is None
            and aad is _NO_AAD
            and type(record) is bytes
            and RECORD_MIN_BYTES <= len(record) <= plan.record_max_bytes
        ):
            now, looked = monotonic(), False
        else:
            if self._usable_in is not _process:
                self._refuse()
            now, looked = _seconds(now), True
            if type(record) is not bytes:
                record = bytes(flat(record, "record"))
            aad = self._aad_in(aad)
            if not RECORD_MIN_BYTES <= len(record) <= plan.record_max_bytes:
                _refuse_size(len(record), plan)
        seq, zero, again = _unpack_header(record)
        highest, left, decrypt = self._open_ahead
        offset = seq - highest
        if (
            offset < 1
            or offset > 255
            or offset not in left
            or again != seq
            or zero
            or now >= self._expires
        ):
            if not looked and self._usable_in is not _process:
                self._refuse()
            return self._open(record, aad, now)
        # `_open` for one that is set aside, in line: the calls would be dearer.
        if aad is _NO_AAD:
            pack_bound = plan.pack_bound_alone
            bound = pack_bound(self._bound_in, seq)
        else:
            pack_bound = plan.pack_bound
            bound = pack_bound(self._bound_in, seq, len(aad)) + aad
        nonce = _NONCES[seq] if seq < HEADERS_READY else record[_NONCE]
        body = record if len(record) <= _COPY_MAX_BYTES else memoryview(record)
        try:
            plaintext = decrypt(nonce, body[_BODY], bound)
        except InvalidTag:
            self._refuse_forged()
        try:
            left.remove(offset)
        except (ValueError, BufferError):  # others took it meanwhile, or recall it
            self._locked(self._accept, seq, now)
        if self._usable_in is not _process:  # not before: it may change meanwhile
            self._refuse()
        if now > self._used:
            self._used = now
        return plaintext

    def open_into(
        self,
        record: Buffer,
        out: Buffer,
        aad: Buffer = b"",
        *,
        now: float | None = None,
    ) -> int:
        """Authenticate one record, accept it and write its plaintext into a buffer.

        Args:
            record: as for `open`; it may overlap ``out``. Nobody else may write into
                either meanwhile.
            out: a writable, contiguous buffer with room for the plaintext, which is
                36 bytes shorter than the record. Whatever is not accepted leaves
                nothing of itself there; the room may be zero then.
            aad: as for `open`.
            now: monotonic seconds.

        Returns:
            How many bytes of ``out`` the plaintext takes.

        Raises:
            The same errors as `open`, and UsageError for an unfit ``out``.
        """
        if self._usable_in is not _process:
            self._refuse()
        now = _seconds(now)
        record = bytes(flat(record, "record"))
        size = len(record) - RECORD_MIN_BYTES
        with writable(out, max(size, 0)) as view:
            try:
                plaintext = self._open_one(record, aad, now)
            except SageError:
                view[: max(size, 0)] = bytes(max(size, 0))
                raise
            view[:size] = plaintext
        return size

    def open_many(
        self,
        records: Iterable[Buffer],
        aad: Buffer = b"",
        *,
        threads: int = 1,
        now: float | None = None,
    ) -> list[bytes]:
        """Authenticate records, accept each and return their plaintexts.

        Args:
            records: each as for `open`, in any order.
            aad: the bytes that each of the records is bound to.
            threads: how many may work on it, 1 to 64; more than one pay from a
                megabyte. The engine `cryptography` works in one.
            now: monotonic seconds.

        Raises:
            BatchError: some records did not open; the error says which and why, and
                carries the plaintexts of the others, which were accepted.
            The errors of `open` that concern the session or the arguments; then
            nothing was accepted.
        """
        if self._usable_in is not _process:
            self._refuse()
        rows = [
            row if type(row) is bytes else bytes(flat(row, f"records[{index}]"))
            for index, row in enumerate(listed(records, "records"))
        ]
        aad = self._aad_in(aad)
        workers(threads)
        now = _seconds(now)
        opened: list[bytes | None] = [None] * len(rows)
        errors: dict[int, SageError] = {}
        for index, row in enumerate(rows):
            try:
                opened[index] = self._open_one(row, aad, now)
            except SageError as exc:
                note(errors, index, exc)
        if errors:
            raise BatchError(errors, opened)
        return opened  # type: ignore[return-value]

    def open_batch(
        self,
        wire: Any,
        out: Any = None,
        aad: Buffer = b"",
        *,
        threads: int = 1,
        now: float | None = None,
    ) -> Any:
        """Open equal-sized records, the rows of one array, into another.

        Args:
            wire: a contiguous 2-D array of bytes (``uint8``), one record a row.
            out: a writable one of as many rows, each 36 bytes shorter, that does not
                overlap ``wire``; ``None`` to make it. Nobody else may write into either
                meanwhile.
            aad: the bytes that each of the records is bound to.
            threads: how many may work on it, 1 to 64; more than one pay from a
                megabyte. The engine `cryptography` works in one.
            now: monotonic seconds.

        Returns:
            ``out``; where there was none, a ``numpy`` array if ``wire`` is one, else
            a 2-D ``memoryview``.

        Raises:
            BatchError: some records did not open; the error says which and why, and
                carries the array, in which their rows are zero. The others were
                accepted.
            The errors of `open` that concern the session or the arguments; then
            nothing was accepted.
        """
        if self._usable_in is not _process:
            self._refuse()
        source, count, width = matrix(wire, "wire")
        errors: dict[int, SageError] = {}
        with source:
            if not RECORD_MIN_BYTES <= width <= self._plan.record_max_bytes:
                _refuse_size(width, self._plan)
            aad, size = self._aad_in(aad), width - RECORD_MIN_BYTES
            workers(threads)
            now = _seconds(now)
            out = matrix_like(wire, count, size) if out is None else out
            with matrix_out(out, count, size) as target:
                for row in range(count):
                    record = bytes(source[row * width : (row + 1) * width])
                    try:
                        plaintext = self._open_one(record, aad, now)
                    except SageError as exc:
                        plaintext = bytes(size)
                        note(errors, row, exc)
                    target[row * size : (row + 1) * size] = plaintext
        if errors:
            raise BatchError(errors, out)
        return out

    def authenticate(
        self, record: Buffer, aad: Buffer = b"", *, now: float | None = None
    ) -> tuple[int, bytes]:
        """Authenticate one record without accepting it; no state moves.

        The caller must not act on the plaintext before ``accept(seq)`` has returned:
        until then the same record may be presented again.

        Returns:
            The record's sequence number and its plaintext.

        Raises:
            The same errors as `open`, for the same reasons.
        """
        if self._usable_in is not _process:
            self._refuse()
        now = _seconds(now)
        if type(record) is not bytes:
            record = bytes(flat(record, "record"))
        plaintext = self._open(record, aad, now, accept=False)
        return int.from_bytes(record[:8], "big"), plaintext

    def accept(self, seq: int, *, now: float | None = None) -> None:
        """Accept the record with this sequence number, once.

        Checks the window again and moves it, the count of received records and the
        idle clock in one step. The caller guarantees that `authenticate` returned
        ``seq`` for this session.

        Raises:
            ProtocolError: beyond the profile's last record (``session.window``).
            ReplayError: accepted before (``session.replay``).
            StaleError: 1,024 or more below the highest (``session.window``).
            SessionClosed: ``close()`` was called.
            SessionExpired: the age or idle limit was reached.
            UsageError: ``seq`` is not an ``int`` in 0 .. 2^64 - 1.
        """
        if self._usable_in is not _process:
            self._refuse()
        if _sequence(seq) >= self._plan.max_records:
            _refuse_seq()
        self._locked(self._accept, seq, _seconds(now))

    def derive(
        self, profile: Any, session_id: Buffer, *, now: float | None = None
    ) -> Self:
        """Derive a stream from this session, without its seed leaving it.

        Args:
            profile: one with layout ``"stream"``.
            session_id: 16 bytes, never used in this session before.
            now: monotonic seconds.

        Raises:
            SessionClosed: ``close()`` was called.
            SessionExpired: the age or idle limit was reached.
            UsageError: an argument of the wrong type or size, a session whose
                layout is not ``"transcript"``, or an id that was used before.
        """
        if self._usable_in is not _process:
            self._refuse()
        now = _seconds(now)
        if self._plan.layout != "transcript" or not _plan(profile).is_stream:
            raise UsageError("only a transcript's session derives, and only a stream")
        session_id = bytes(flat(session_id, "session_id"))  # may run anything
        return self._locked(self._derived, profile, session_id, now)

    def close(self) -> None:
        """Wipe the key block and refuse all further work; calling again does nothing.

        What other threads have under way is refused when it is done. Best effort:
        the engine's own copies of the keys go with its objects, which are dropped
        here, and Python may have copied what it was given.
        """
        if self._process is not _process:
            self._leave_to_the_other_process()
        self._locked(self._wipe)

    def __repr__(self) -> str:
        """Name the session without its keys."""
        role = self.role
        return (
            f"<{type(self).__name__} {self._plan.name} "
            f"{'shared' if role is None else role.value} {self._id}, "
            f"{self.sent} sent, {self.received} received"
            f"{', closed' if self._closed else ''}>"
        )

    def __reduce__(self) -> NoReturn:
        """Refuse pickling and copying: two copies would reuse nonces."""
        raise TypeError("a session cannot be pickled or copied")

    # --- arguments ----------------------------------------------------------------

    def _plaintext(self, data: Buffer, name: str) -> bytes | memoryview:
        if type(data) is not bytes:
            data = flat(data, name)
        if len(data) > self._plan.plaintext_max_bytes:
            _refuse_plaintext(self._plan)
        return data

    def _aad_out(self, aad: Buffer) -> bytes:
        if type(aad) is not bytes:
            aad = bytes(flat(aad, "aad"))
        if len(aad) > self._plan.caller_aad_max_bytes:
            _refuse_aad(self._plan)
        return aad

    def _aad_in(self, aad: Buffer) -> bytes:
        if type(aad) is not bytes:
            aad = bytes(flat(aad, "aad"))
        if len(aad) > self._plan.caller_aad_max_bytes:
            text = f"aad exceeds {self._plan.caller_aad_max_bytes} bytes"
            raise DecodeError(text, code=Code.SIZE_EXCEEDED)
        return aad

    # --- sealing ----------------------------------------------------------------

    def _encrypt(self, seq: int, plaintext: Buffer, aad: bytes) -> bytes:
        """Make the record of a number that `_reserve` gave."""
        plan = self._plan
        generation = seq // plan.generation_records
        aead = self._sealers.get(generation) or self._sealer(generation)
        be64 = seq.to_bytes(8, "big")
        nonce = _ZERO32 + be64 if self._direction_out != _SHARED else urandom(12)
        if plan.is_draft1:
            bound = be64 + aad
        else:
            bound = plan.pack_bound(self._bound_out, seq, len(aad)) + aad
        sealed = aead.encrypt(nonce, plaintext, bound)
        if self._usable_in is not _process:  # since this began
            self._refuse()
        return be64 + nonce + sealed

    def _sealer(self, generation: int) -> _Engine:
        """Make the engine for what is sent, and keep it if it is of the newest key."""
        _keep_warm(self)
        engine = self._locked(self._make_sealer, generation)
        self._cool_if_displaced()
        return engine

    # --- opening ----------------------------------------------------------------

    def _open_one(self, record: bytes, aad: Buffer, now: float) -> bytes:
        """Do what `open` does behind its look at whether the session is usable.

        Reading the arguments may have closed it.
        """
        if self._usable_in is not _process:
            return self._open(record, aad, now)
        return SessionCore.open(self, record, aad, now)

    def _open(
        self, record: bytes, aad: Buffer, now: float, accept: bool = True
    ) -> bytes:
        """Authenticate a record, then accept it unless `accept` will be called.

        Until the lock is taken nothing is certain but the tag: what was checked
        before it is checked again.
        """
        plan, size = self._plan, len(record)
        if aad is not _NO_AAD:
            aad = self._aad_in(aad)
        if not RECORD_MIN_BYTES <= size <= plan.record_max_bytes:
            _refuse_size(size, plan)
        seq, zero, again = _unpack_header(record)
        if (zero or again != seq) and not plan.is_draft1:
            raise AuthenticationError(code=Code.SESSION_AEAD)
        if now >= self._expires and now >= self.expires_at:
            self._refuse()
        if seq >= plan.max_records:
            _refuse_seq()
        window = self._window
        if seq <= window._highest + window._ahead:
            self._locked(window._check, seq)
        generation = seq // plan.generation_records
        aead = self._openers.get(generation) or self._opener(generation)
        if plan.is_draft1:
            bound = record[:8] + aad
        else:
            bound = plan.pack_bound(self._bound_in, seq, len(aad)) + aad
        body = record if size <= _COPY_MAX_BYTES else memoryview(record)
        try:
            plaintext = aead.decrypt(record[_NONCE], body[_BODY], bound)
        except InvalidTag:
            self._refuse_forged()
        if accept:
            self._locked(self._accept, seq, now, aead)
        if self._usable_in is not _process:  # since this began
            self._refuse()
        return plaintext

    def _refuse_forged(self) -> NoReturn:
        self._locked(self._count_failure)
        raise AuthenticationError(code=Code.SESSION_AEAD) from None

    def _opener(self, generation: int) -> _Engine:
        """Make the engine for a generation, and keep it only if its key is kept."""
        _keep_warm(self)
        engine = self._locked(self._make_opener, generation)
        self._cool_if_displaced()
        return engine

    # --- what is done under the lock ------------------------------------------------

    def _locked(self, act: Callable[[*_Args], _R], *args: *_Args) -> _R:
        if self._process is not _process:  # nobody here holds the lock, nor lets it go
            self._refuse()
        lock = self._lock
        try:
            while not lock.acquire(timeout=_LOOK_S):
                if self._process is not _process:  # a signal's handler has forked
                    self._refuse()
            return act(*args)
        finally:
            try:  # noqa: SIM105  # `suppress` lets interrupts in
                lock.release()
            except RuntimeError:  # an interrupt came first
                pass

    def _expired(self, now: float) -> bool:
        """Return whether a session has expired; catch up with when it was used."""
        if now >= self._expires:
            self._expires = self.expires_at
        return now >= self._expires

    def _reserve(self, now: float, count: int) -> int:
        """Take sequence numbers for good, restart the idle clock; return the first."""
        sent, max_records = self._sent, self._plan.max_records
        numbers, end = sent
        if self._expired(now) or count > max_records - end + length_hint(numbers):
            self._refuse_to_seal(now)
        if not count:
            return end
        taken = list(islice(numbers, count))  # in one step
        if len(taken) < count:
            after = end + count - len(taken)
            if after > max_records:  # others were faster
                self._refuse_to_seal(now)
            successor = _NO_NUMBERS, after
            if self._sent is not sent:  # a signal's handler was quicker
                return self._reserve(now, count)
            self._sent = successor  # nothing is called in between
            self._set_aside_out()
        if now > self._used:
            self._used = now
        return taken[0] if taken else end

    def _set_aside_out(self) -> None:
        """Set aside what is left of a generation, if its engine is at hand."""
        plan, sent = self._plan, self._sent
        numbers, end = sent
        left = length_hint(numbers)
        generation = (end - 1 if left else end) // plan.generation_records
        aead = self._sealers.get(generation)
        if aead is None or not _CALLS_ARE_STEPS or plan.is_draft1:
            return
        if not left:
            first = end
            end = min((generation + 1) * plan.generation_records, plan.max_records)
            numbers = iter(range(first, end))
        successor, ready = (numbers, end), (numbers, aead.encrypt)
        # Nothing is called in between.
        if self._sent is sent and self._usable_in is _process:
            self._sent, self._seal_ahead = successor, ready
        self._cool_if_displaced()

    def _refuse_to_seal(self, now: float) -> NoReturn:
        if now >= self._expires:
            self._refuse()
        raise LimitReached(f"a session carries {self._plan.max_records} records")

    def _accept(self, seq: int, now: float, aead: _Engine | None = None) -> None:
        """Move the window, the count, the idle clock and the keys, or nothing.

        With the record's engine, set aside what comes next.
        """
        plan, window = self._plan, self._window
        if self._expired(now):
            self._refuse()
        generation = seq // plan.generation_records
        if generation != self._generation_in:
            window._check(seq)
            self._retain(generation)  # first: there may be no memory for it
        window._accept(seq)
        if now > self._used:
            self._used = now
        if seq and aead is not None and generation == self._generation_in:
            try:  # noqa: SIM105  # `suppress` needs memory itself
                self._set_aside_in(generation, aead)
            except MemoryError:  # the record is accepted all the same
                pass

    def _set_aside_in(self, generation: int, aead: _Engine) -> None:
        """Set aside what comes next of the newest generation, whose engine this is."""
        plan, window = self._plan, self._window
        if not _CALLS_ARE_STEPS or plan.is_draft1:
            return
        end = min((generation + 1) * plan.generation_records, plan.max_records)
        window._set_aside(end)
        left = window._left
        ready = window._highest, left, aead.decrypt
        # What is set aside is of the newest generation; nothing is called in between,
        # nor made.
        if generation == self._generation_in and self._usable_in is _process:
            self._openers[generation] = aead
            if window._ahead and window._left is left:
                self._open_ahead = ready
        self._cool_if_displaced()

    def _count_failure(self) -> None:
        """Count a tag that did not verify; the last that is allowed ends it all."""
        if self._closed:  # a signal's handler took the key from under it
            self._refuse()
        self._forget_tried()
        self._failed_opens += 1
        if self._failed_opens >= self._plan.max_failed_opens:
            self._wipe()

    # A signal's handler may use or close the session beneath these. So each works with
    # a key of its own, and moves what belongs together where nothing is called.

    def _make_sealer(self, generation: int) -> _Engine:
        if self._closed:
            self._refuse()
        if generation == self._generation_out:
            key = self._block[_KEY_OUT]
        else:  # newer, or others went on meanwhile
            key = self._derived_key(self._direction_out, generation)
        try:
            engine = self._engine(key)
            sealers = {generation: engine}
            # From here on nothing is called, nor made.
            if self._usable_in is _process and generation >= self._generation_out:
                self._block[_KEY_OUT], self._generation_out = key, generation
                self._sealers, self._seal_ahead = sealers, _SEAL_NONE_AHEAD
        finally:
            key[_WHOLE] = _ZERO_KEY
        self._set_aside_out()
        return engine

    def _make_opener(self, generation: int) -> _Engine:
        if self._closed:
            self._refuse()
        if generation == self._generation_in:
            key = self._block[_KEY_IN]
        elif generation == self._generation_before:
            key = self._block[_KEY_BEFORE]
        else:
            return self._try_key(generation)
        try:
            engine = self._engine(key)
        finally:
            key[_WHOLE] = _ZERO_KEY
        if self._usable_in is not _process:
            self._refuse()
        self._openers[generation] = engine
        return engine

    def _try_key(self, generation: int) -> _Engine:
        """Make the engine of a key that is kept until it proves real, or forged."""
        key = self._derived_key(self._direction_in, generation)
        tried = generation, key
        try:
            engine = self._engine(key)
            self._forget_tried()
            # From here on nothing is called, nor made.
            if self._usable_in is _process:
                self._tried = tried
        finally:
            if self._tried is not tried:
                key[_WHOLE] = _ZERO_KEY
        return engine

    def _retain(self, generation: int) -> None:
        """Keep the key of a generation that proved real, if it is among the newest."""
        while self._generation_before < generation != self._generation_in:
            self._move_in(generation)
        self._forget_tried()
        kept = {self._generation_in, self._generation_before}
        # In place: what `_cool` drops meanwhile does not come back.
        for other in self._openers.keys() - kept:
            self._openers.pop(other, None)

    def _move_in(self, generation: int) -> None:
        """Put a key into the block, unless a signal's handler was quicker."""
        block = self._block
        newest, before = self._generation_in, self._generation_before
        key = self._proven_key(generation)
        older = block[_KEY_IN]
        try:
            # From here on nothing is called, nor made.
            if self._usable_in is not _process:
                self._refuse()
            if (
                self._generation_in == newest
                and self._generation_before == before < generation != newest
            ):
                if generation > newest:
                    self._open_ahead = _OPEN_NONE_AHEAD
                    block[_KEY_BEFORE], self._generation_before = older, newest
                    block[_KEY_IN], self._generation_in = key, generation
                else:
                    block[_KEY_BEFORE], self._generation_before = key, generation
        finally:
            key[_WHOLE] = older[_WHOLE] = _ZERO_KEY

    def _proven_key(self, generation: int) -> bytearray:
        """Return a key to keep: a copy of the one that was tried, if that is it."""
        tried = self._tried
        if tried[0] == generation:
            key = tried[1][:]
            if self._tried is tried:  # and so was not wiped meanwhile
                return key
        return self._derived_key(self._direction_in, generation)

    def _forget_tried(self) -> None:
        tried, self._tried = self._tried, _NONE_TRIED
        if tried is not _NONE_TRIED:
            tried[1][_WHOLE] = _ZERO_KEY

    def _derived(self, profile: Any, session_id: bytes, now: float) -> Self:
        if self._expired(now):
            self._refuse()
        derived = type(self)(
            profile,
            self._block[_SEED],
            self._block[_BOUND],
            self.role,
            session_id=session_id,
            deadline=self._deadline,
            now=now,
        )
        if self._streams is None:
            self._streams = set()
        if derived.id in self._streams:  # the same keys, and nonces from 0 again
            derived.close()
            raise UsageError("a stream of this id was derived before")
        self._streams.add(derived.id)
        return derived

    def _derived_key(self, direction: int, generation: int) -> bytearray:
        """Return a direction's key for a generation, for the caller to wipe."""
        if self._plan.is_draft1 and not generation:
            return self._first_key(direction)
        key = bytearray(32)
        self._expand(self._key_info(direction, generation), key)
        return key

    def _key_info(self, direction: int, generation: int) -> bytes:
        """Return what a key is expanded with (SESSION-02)."""
        info: bytes = self._plan.labels[direction]
        if not self._plan.is_draft1:
            info += self._block[_BOUND]
        return info + generation.to_bytes(8, "big")

    def _derive_draft1(self) -> None:
        """Expand the draft's six keys over the block, and keep what is used of them.

        The order of the six: shared encrypt and sign, c2s encrypt and sign, s2c
        encrypt and sign.
        """
        block, plan = self._block, self._plan
        prk = hkdf_extract(self._id.encode("ascii"), block[_SEED])
        with memoryview(block) as six, six[:64] as shared, six[64:] as directional:
            hkdf_expand_into(prk, plan.block_labels[0], shared)
            hkdf_expand_into(prk, plan.block_labels[1], directional)
        out, in_ = (
            bytes(block[_DRAFT1_KEYS[direction]])
            for direction in (self._direction_out, self._direction_in)
        )
        block[:] = prk + in_ + out + in_ + bytes(64)

    def _first_key(self, direction: int) -> bytearray:
        """Return the draft's key of a direction before any rekeying."""
        if direction == self._direction_in:
            return self._block[_BOUND]
        # A sender that others overtook: the block holds its newer key alone.
        six = bytearray(KEY_BLOCK_BYTES)
        with memoryview(six) as view, view[64:] as directional:
            prk = self._block[_SEED]
            hkdf_expand_into(prk, self._plan.block_labels[1], directional)
        key = six[_DRAFT1_KEYS[direction]]
        six[:] = bytes(KEY_BLOCK_BYTES)
        prk[:] = _ZERO_KEY
        return key

    def _expand(self, info: bytes, key: bytearray | memoryview) -> None:
        hkdf_expand_into(memoryview(self._block)[_SEED], info, key)

    def _engine(self, key: bytearray) -> _Engine:
        # The engine's object would keep the key alive; of a view that is released
        # nothing is left to keep.
        make = AESGCM if self._plan.is_aes else ChaCha20Poly1305
        with memoryview(key) as view:
            return make(view)

    def _wipe(self) -> None:
        # Nothing of this needs memory, so that it never fails half done.
        self._closed, self._usable_in, self._expires = True, None, _ENDED
        self._seal_ahead, self._open_ahead = _SEAL_NONE_AHEAD, _OPEN_NONE_AHEAD
        self._block[_WHOLE] = _ZERO_BLOCK
        self._forget_tried()
        self._sealers.clear()
        self._openers.clear()

    def _leave_to_the_other_process(self) -> None:
        """Close what a fork copied.

        Two that seal with the same numbers would use each nonce twice. Whoever holds
        the lock does so in the other process.
        """
        self._process, self._lock = _process, RLock()
        self._wipe()

    def _cool(self) -> None:
        """Drop the engines; the next record makes the one that it needs.

        Without the lock: whoever holds it may be this very thread, in a signal's
        handler or a finaliser. An engine that is made from now on joins again.
        """
        self._warm = False
        self._sealers, self._openers = {}, {}
        self._seal_ahead, self._open_ahead = _SEAL_NONE_AHEAD, _OPEN_NONE_AHEAD

    def _cool_if_displaced(self) -> None:
        """Drop the engines that came after `_cool`, at work elsewhere or beneath."""
        if not self._warm:
            self._cool()

    def _refuse(self) -> NoReturn:
        """Say why ``now >= self._expires``; closing sets that to minus infinity."""
        if self._process is not _process:
            self._leave_to_the_other_process()
        if not self._closed:
            raise SessionExpired("session expired")
        limit = self._plan.max_failed_opens
        if self._failed_opens >= limit:
            raise LimitReached(f"a session ends at {limit} failed opens")
        raise SessionClosed("session closed")


_Engine = ChaCha20Poly1305 | AESGCM
# `encrypt` or `decrypt` of one.
_Aead = Callable[[Buffer, Buffer, Buffer | None], bytes]


def _nothing_ahead(nonce: Buffer, data: Buffer, aad: Buffer | None) -> NoReturn:
    raise AssertionError("no number was set aside")


# What `seal` and `open` look at: numbers that are set aside, and whose key they are of.
_NO_NUMBERS: Final[Iterator[int]] = iter(())
_NONE_SENT: Final = _NO_NUMBERS, 0
_SEAL_NONE_AHEAD: Final[tuple[Iterator[int], _Aead]] = _NO_NUMBERS, _nothing_ahead
_NONE_TRIED: Final = _NO_GENERATION, bytearray()
_OPEN_NONE_AHEAD: Final[tuple[int, bytearray, _Aead]] = 0, bytearray(), _nothing_ahead
_ROLES: Final = (Role.INITIATOR, Role.RESPONDER, None)
_DRAFT1_KEYS: Final = (slice(64, 96), slice(128, 160), slice(0, 32))  # by direction

# The sessions that keep their engines: whoever joins displaces the one that joined
# `WARM_SESSIONS` before it. There is no lock: a signal handler or finaliser may use
# another session in the middle of this, and would wait for its own thread.
_warm_sessions: Final[deque[ref[SessionCore]]] = deque()


_process = object()  # which one this is: another object after each fork


def _after_fork() -> None:
    global _process
    _process = object()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _keep_warm(session: SessionCore) -> None:
    """Let a session keep its engines for now; the caller does not hold its lock."""
    if session._warm:
        return
    session._warm = True
    _warm_sessions.append(ref(session))
    if len(_warm_sessions) > WARM_SESSIONS:
        other = _warm_sessions.popleft()()
        if other is not None:
            other._cool()


def base64url_encode(data: Buffer) -> str:
    """Return the 4 characters for each 3 bytes of a contiguous buffer, unpadded.

    Raises:
        TypeError, ValueError, BufferError: it is none.
    """
    standard = binascii.b2a_base64(data, newline=False)
    return standard.translate(_TO_URL, b"=").decode("ascii")


def base64url_decode(text: object) -> bytes | None:
    """Return the bytes whose one text this is, or ``None`` where it is none."""
    if not isinstance(text, str):
        return None
    text = str.__str__(text)  # whatever a subclass says of itself
    rest = len(text) % 4
    try:
        standard = text.encode("ascii").translate(_FROM_URL) + b"=" * (-rest % 4)
        data = binascii.a2b_base64(standard, strict_mode=True)
    except ValueError:  # binascii.Error and UnicodeEncodeError
        return None
    return data if not rest or text[-1] in _LAST[rest] else None


# `binascii` itself: the wrappers of `base64` cost as much again as the work.
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
# The other alphabet's characters and padding become what neither alphabet has.
_FROM_URL: Final = bytes.maketrans(b"-_+/=", b"+/!!!")

# The characters that may come last behind whole groups of four, by how many of them
# there are: those whose bits beyond the last byte are zero.
_LAST: Final = {
    2: frozenset("AQgw"),
    3: frozenset("AEIMQUYcgkosw048"),
}


def untrack(container: dict[Any, Any]) -> None:
    """Take a table out of the garbage collector's sight; compiled kernels only.

    A collection visits every entry of a table that it tracks. For a table of
    sessions that is wasted: no session leads back to the table. Python tracks a
    table again when an entry is added, so this is called after each.

    The pure twin does nothing. Its sessions are tracked one by one, and the table
    is then the least of the collector's work.

    Raises:
        UsageError: not a ``dict``.
    """
    if not isinstance(container, dict):
        raise UsageError(f"container must be a dict, not {type(container).__name__}")


class _Plan:
    """A profile's labels and limits, read once."""

    __slots__ = (
        "aad_label",
        "aead",
        "block_labels",
        "caller_aad_max_bytes",
        "generation_records",
        "idle_s",
        "is_aes",
        "is_draft1",
        "is_stream",
        "labels",
        "layout",
        "max_age_s",
        "max_failed_opens",
        "max_records",
        "name",
        "pack_bound",
        "pack_bound_alone",
        "plaintext_max_bytes",
        "profile",
        "record_max_bytes",
        "root_label",
        "session_label",
    )

    def __init__(self, profile: Any) -> None:
        check_profile(profile)
        self.profile = profile
        self.name: str
        self.layout: str
        self.session_label: bytes
        self.root_label: bytes
        self.block_labels: tuple[bytes, bytes]
        self.aad_label: bytes
        self.generation_records: int
        self.max_records: int
        self.max_age_s: float
        self.idle_s: float
        self.record_max_bytes: int
        self.caller_aad_max_bytes: int
        self.max_failed_opens: int
        for name in _PROFILE_FIELDS:
            setattr(self, name, getattr(profile, name))
        self.aead: Final[bytes] = profile.aead.encode("ascii")
        self.labels: Final = (*profile.key_labels, profile.shared_key_label)
        self.is_aes: Final = profile.aead == "aes-256-gcm"
        self.is_stream: Final = profile.layout == "stream"
        self.is_draft1: Final = profile.layout == "draft1"
        self.plaintext_max_bytes: int = self.record_max_bytes - RECORD_MIN_BYTES
        # What a record is bound to, but for the caller's AAD: what the session's
        # records share (label, hash, direction), seq, the length of the AAD.
        shared_bytes = len(self.aad_label) + 32 + 1
        self.pack_bound: Final = Struct(f">{shared_bytes}sQI").pack
        self.pack_bound_alone: Final = Struct(f">{shared_bytes}sQ4x").pack


_PROFILE_FIELDS: Final = (
    "name",
    "layout",
    "session_label",
    "root_label",
    "block_labels",
    "aad_label",
    "generation_records",
    "max_records",
    "max_age_s",
    "idle_s",
    "record_max_bytes",
    "caller_aad_max_bytes",
    "max_failed_opens",
)
_plans: Final[dict[Any, _Plan]] = {}


def _plan(profile: Any) -> _Plan:
    try:
        return _plans[profile]
    except (KeyError, TypeError):  # new, or not even hashable
        pass
    if len(_plans) >= PROFILES_READY_MAX:
        _plans.clear()
    try:
        plan = _plans[profile] = _Plan(profile)
    except (AttributeError, TypeError):
        name = type(profile).__name__
        raise UsageError(f"profile must be a sage Profile, not {name}") from None
    return plan


def _identity(
    plan: _Plan, transcript_hash: Buffer | None, session_id: Buffer | None
) -> tuple[bytes, bytes]:
    """Return what the keys are bound to, and the session id's 16 bytes."""
    if plan.is_draft1:
        if transcript_hash is not None:
            raise UsageError("draft1 has no transcript_hash")
        return b"", _exactly(session_id, SESSION_ID_BYTES, "session_id")
    th = _exactly(transcript_hash, 32, "transcript_hash")
    if plan.is_stream:
        stream_id = _exactly(session_id, SESSION_ID_BYTES, "session_id")
        return sha256(plan.session_label + th + stream_id + plan.aead), stream_id
    if session_id is not None:
        raise UsageError("session_id follows from the transcript_hash")
    return th, sha256(plan.session_label + th)[:SESSION_ID_BYTES]


def _directions(plan: _Plan, role: Role | None) -> tuple[int, int]:
    if role is None and plan.labels[_SHARED]:
        return _SHARED, _SHARED
    if not isinstance(role, Role):
        raise UsageError(f"role must be a sage.Role, not {type(role).__name__}")
    return (_C2S, _S2C) if role is Role.INITIATOR else (_S2C, _C2S)


def _sequence(seq: object) -> int:
    if not isinstance(seq, int) or isinstance(seq, bool):
        raise UsageError(f"seq must be an int, not {type(seq).__name__}")
    if not 0 <= seq <= _SEQ_MAX:
        raise UsageError(f"seq must be within 0..{_SEQ_MAX}")
    return seq


def _seconds(now: object) -> float:
    if now is None:
        return monotonic()
    if not isinstance(now, (int, float)) or isinstance(now, bool):
        raise UsageError(f"now must be seconds, not {type(now).__name__}")
    try:
        seconds = float(now)
    except OverflowError:
        seconds = inf
    if not isfinite(seconds):  # a NaN would never expire
        raise UsageError("now must be finite")
    return seconds


def _exactly(data: Buffer | None, size: int, name: str) -> bytes:
    plain = flat(data, name)
    if len(plain) != size:
        raise UsageError(f"{name} must be {size} bytes, not {len(plain)}")
    return bytes(plain)


def _refuse_plaintext(plan: _Plan) -> NoReturn:
    raise UsageError(f"plaintext exceeds {plan.plaintext_max_bytes} bytes")


def _refuse_aad(plan: _Plan) -> NoReturn:
    raise UsageError(f"aad exceeds {plan.caller_aad_max_bytes} bytes")


def _refuse_seq() -> NoReturn:
    text = "sequence number beyond the last record"
    raise ProtocolError(text, code=Code.SESSION_WINDOW)


def _refuse_size(size: int, plan: _Plan) -> NoReturn:
    limit = plan.record_max_bytes
    text = f"a record is {RECORD_MIN_BYTES}..{limit} bytes, not {size}"
    code = Code.SIZE_EXCEEDED if size > limit else Code.SESSION_MALFORMED
    raise DecodeError(text, code=code)
