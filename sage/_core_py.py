"""The kernels of a session, in Python: the specification of the compiled twin.

Here are the replay window, and the session core with its key block, its counters
and its one path each for sealing and opening. `_core.pyx` repeats every name, every
result and every text; `_accel` chooses between the two.

Layout. All secret material of a session is one block of 192 bytes, wiped by
``close()``::

    0 seed | 32 transcript hash | 64 key out | 96 key in | 128 before | 160 scratch

"Key in" and "before" belong to the two newest generations from which a record was
accepted. The key of any other generation lives in the scratch slice for as long as
the engine needs to take it over.

Order. Whatever a record claims moves nothing until its tag verifies; then the
window, the counters and the idle clock move in one step. A sequence number is
reserved before the AEAD runs and never given back.

Threads. One lock a session guards all of its state. The AEAD runs outside of it: it
works on values that belong to one call. The lock is not re-entrant, so a signal
handler or finaliser must not use a session that may be at work below it.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from math import inf, isfinite
from struct import Struct
from threading import Lock
from time import monotonic
from typing import Any, Final, NoReturn

from ._crypto import ChaCha20Poly1305, InvalidTag, hkdf_expand_into, sha256
from .errors import (
    AuthenticationError,
    Code,
    DecodeError,
    LimitReached,
    ProtocolError,
    ReplayError,
    SessionClosed,
    SessionExpired,
    StaleError,
    UsageError,
)
from .limits import (
    KEY_BLOCK_BYTES,
    RECORD_MIN_BYTES,
    REPLAY_WINDOW_BITS,
    SESSION_ID_BYTES,
)
from .types import Buffer, Role

__all__ = ["ReplayWindow", "SessionCore", "untrack"]

_SEQ_MAX: Final = 2**64 - 1
_WINDOW_MASK: Final = REPLAY_WINDOW_BITS - 1

_SEED: Final = slice(0, 32)
_TRANSCRIPT_HASH: Final = slice(32, 64)
_KEY_OUT: Final = slice(64, 96)
_KEY_IN: Final = slice(96, 128)
_KEY_BEFORE: Final = slice(128, 160)
_SCRATCH: Final = slice(160, 192)
_NO_GENERATION: Final = -1

_pack_header: Final = Struct(">QIQ").pack  # be64(seq), then nonce: 0000, be64(seq)
_unpack_header: Final = Struct(">QIQ").unpack_from

# Below this, copying a record's ciphertext is cheaper than two memoryviews.
_COPY_MAX_BYTES: Final = 2048


class ReplayWindow:
    """Which of the last 1,024 sequence numbers were seen (SESSION-05).

    ``accept`` is not atomic across threads on its own; a session calls it under its
    lock.
    """

    __slots__ = ("_highest", "_seen")

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._highest = 0
        self._seen = bytearray(REPLAY_WINDOW_BITS)  # at seq mod 1,024

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
        if behind >= REPLAY_WINDOW_BITS:
            raise StaleError("record too old", code=Code.SESSION_WINDOW)
        if behind >= 0 and self._seen[seq & _WINDOW_MASK]:
            raise ReplayError("record seen before", code=Code.SESSION_REPLAY)

    def _accept(self, seq: int) -> None:
        highest = self._highest
        if seq <= highest:
            self._check(seq)
        else:
            if seq - highest >= REPLAY_WINDOW_BITS:
                self._seen[:] = bytes(REPLAY_WINDOW_BITS)
            elif seq - highest > 1:
                for skipped in range(highest + 1, seq):
                    self._seen[skipped & _WINDOW_MASK] = 0
            self._highest = seq
        self._seen[seq & _WINDOW_MASK] = 1

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
        "_block",
        "_closed",
        "_deadline",
        "_expires",
        "_generation_before",
        "_generation_in",
        "_generation_out",
        "_id",
        "_lock",
        "_openers",
        "_plan",
        "_prefix_in",
        "_prefix_out",
        "_received",
        "_role",
        "_sealer",
        "_sent",
        "_window",
    )

    def __init__(
        self,
        profile: Any,
        seed: Buffer,
        transcript_hash: Buffer,
        role: Role,
        *,
        now: float | None = None,
    ) -> None:
        """Derive the first keys of both directions.

        Args:
            profile: a `sage.session.Profile`.
            seed: 32 bytes, copied; wipe yours.
            transcript_hash: 32 bytes, both ends' handshake transcript.
            role: which end this is; the initiator sends in direction c2s.
            now: when the keys came into being, monotonic seconds; both ages count
                from here.

        Raises:
            UsageError: an argument of the wrong type or size.
        """
        plan = _plan(profile)
        seed = _key_material(seed, "seed")
        transcript_hash = _key_material(transcript_hash, "transcript_hash")
        if not isinstance(role, Role):
            raise UsageError(f"role must be a sage.Role, not {type(role).__name__}")
        created = _seconds(now)
        self._block = bytearray(KEY_BLOCK_BYTES)
        self._block[_SEED], self._block[_TRANSCRIPT_HASH] = seed, transcript_hash
        self._closed = False
        self._lock = Lock()
        self._plan, self._role = plan, role
        self._prefix_out = plan.aad_label + transcript_hash + _direction(role)
        self._prefix_in = plan.aad_label + transcript_hash + _direction(role.other)
        self._id = _session_id(plan.session_label, transcript_hash)
        self._deadline = created + plan.max_age_s
        self._expires = min(created + plan.idle_s, self._deadline)
        self._sent = self._received = 0
        self._window = ReplayWindow()
        self._sealer: ChaCha20Poly1305 | None = None
        self._openers: dict[int, ChaCha20Poly1305] = {}  # of "in" and "before"
        self._generation_before = _NO_GENERATION
        self._generation_out = self._derive(role, 0, _KEY_OUT)
        self._generation_in = self._derive(role.other, 0, _KEY_IN)

    @property
    def id(self) -> str:
        """The session id: 22 characters of canonical base64url."""
        return self._id

    @property
    def role(self) -> Role:
        """Which end this is."""
        return self._role

    @property
    def profile(self) -> Any:
        """The profile that the session was made with."""
        return self._plan.profile

    @property
    def sent(self) -> int:
        """How many sequence numbers were used, failed sends included."""
        return self._sent

    @property
    def received(self) -> int:
        """How many records were accepted."""
        return self._received

    @property
    def closed(self) -> bool:
        """Whether ``close()`` was called."""
        return self._closed

    @property
    def records_left(self) -> int:
        """How many records this end may still seal."""
        return self._plan.max_records - self._sent

    def seal(
        self, plaintext: Buffer, aad: Buffer = b"", *, now: float | None = None
    ) -> bytes:
        """Encrypt one record under the next sequence number.

        Args:
            plaintext: at most 8,388,572 bytes (V10).
            aad: what the record is bound to but does not carry, at most 4,033 bytes
                (V10).
            now: monotonic seconds.

        Raises:
            LimitReached: the profile's last record was sealed; start a new session.
            SessionClosed: ``close()`` was called.
            SessionExpired: the age or idle limit was reached.
            UsageError: an argument of the wrong type or size; no number is used.
        """
        if self._closed:
            _refuse_closed()
        if type(plaintext) is not bytes:
            plaintext = _flat(plaintext, "plaintext")
        if type(aad) is not bytes:
            aad = _flat(aad, "aad")
        plan, aad_bytes = self._plan, len(aad)
        if len(plaintext) > plan.plaintext_max_bytes:
            raise UsageError(f"plaintext exceeds {plan.plaintext_max_bytes} bytes")
        if aad_bytes > plan.caller_aad_max_bytes:
            raise UsageError(f"aad exceeds {plan.caller_aad_max_bytes} bytes")
        now = monotonic() if now is None else _seconds(now)
        lock = self._lock
        lock.acquire()  # half the price of a with statement
        try:
            if now >= self._expires:
                self._refuse()
            seq = self._sent
            if seq >= plan.max_records:
                raise LimitReached(f"a session carries {plan.max_records} records")
            self._sent = seq + 1
            aead = self._sealer
            if aead is None or seq // plan.generation_records != self._generation_out:
                aead = self._next_sealer(seq // plan.generation_records)
            expires = now + plan.idle_s
            if expires > self._expires:
                self._expires = expires if expires < self._deadline else self._deadline
        finally:
            lock.release()
        header = _pack_header(seq, 0, seq)
        full_aad = plan.pack_aad(self._prefix_out, seq, aad_bytes) + aad
        return header + aead.encrypt(header[8:], plaintext, full_aad)

    def open(
        self, record: Buffer, aad: Buffer = b"", *, now: float | None = None
    ) -> bytes:
        """Authenticate one record, accept it and return its plaintext.

        Args:
            record: 36 .. 8,388,608 bytes (V10).
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
            SessionClosed: ``close()`` was called.
            SessionExpired: the age or idle limit was reached.
            UsageError: an argument of the wrong type.
        """
        if self._closed:
            _refuse_closed()
        now = monotonic() if now is None else _seconds(now)
        seq, plaintext = self._authenticate(record, aad, now)
        self._accept(seq, now)
        return plaintext

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
        if self._closed:
            _refuse_closed()
        return self._authenticate(record, aad, _seconds(now))

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
        if self._closed:
            _refuse_closed()
        if _sequence(seq) >= self._plan.max_records:
            _refuse_seq()
        self._accept(seq, _seconds(now))

    def close(self) -> None:
        """Wipe the key block and refuse all further work; calling again does nothing.

        Best effort: the engine's own copies of the keys go with its objects, which
        are dropped here, and Python may have copied what it was given.
        """
        with self._lock:
            self._closed, self._expires = True, -inf
            self._block[:] = bytes(KEY_BLOCK_BYTES)
            self._sealer, self._openers = None, {}

    def __repr__(self) -> str:
        """Name the session without its keys."""
        return (
            f"<{type(self).__name__} {self._plan.name} {self._role.value} {self._id}, "
            f"{self._sent} sent, {self._received} received"
            f"{', closed' if self._closed else ''}>"
        )

    def __reduce__(self) -> NoReturn:
        """Refuse pickling and copying: two copies would reuse nonces."""
        raise TypeError("a session cannot be pickled or copied")

    def _next_sealer(self, generation: int) -> ChaCha20Poly1305:
        """Make the engine for what is sent next; the caller holds the lock."""
        if generation != self._generation_out:
            self._sealer, self._generation_out = None, _NO_GENERATION
            self._generation_out = self._derive(self._role, generation, _KEY_OUT)
        self._sealer = self._engine(_KEY_OUT)
        return self._sealer

    def _authenticate(
        self, record: Buffer, aad: Buffer, now: float
    ) -> tuple[int, bytes]:
        """Open a record without the lock: `_accept` checks all of it again."""
        if type(record) is not bytes:
            record = bytes(_flat(record, "record"))
        if type(aad) is not bytes:
            aad = bytes(_flat(aad, "aad"))
        plan, size, aad_bytes = self._plan, len(record), len(aad)
        if not RECORD_MIN_BYTES <= size <= plan.record_max_bytes:
            _refuse_size(size, plan)
        if aad_bytes > plan.caller_aad_max_bytes:
            text = f"aad exceeds {plan.caller_aad_max_bytes} bytes"
            raise DecodeError(text, code=Code.SIZE_EXCEEDED)
        seq, zero, again = _unpack_header(record)
        if zero or again != seq:
            raise AuthenticationError(code=Code.SESSION_AEAD)
        if now >= self._expires:
            self._refuse()
        if seq >= plan.max_records:
            _refuse_seq()
        window = self._window
        if seq <= window._highest:
            window._check(seq)
        generation = seq // plan.generation_records
        try:
            aead = self._openers[generation]
        except KeyError:
            aead = self._opener(generation)
        body = memoryview(record)[20:] if size > _COPY_MAX_BYTES else record[20:]
        full_aad = plan.pack_aad(self._prefix_in, seq, aad_bytes) + aad
        try:
            return seq, aead.decrypt(record[8:20], body, full_aad)
        except InvalidTag:
            raise AuthenticationError(code=Code.SESSION_AEAD) from None

    def _accept(self, seq: int, now: float) -> None:
        """Move the window, the count, the idle clock and the keys, or nothing."""
        plan, window, lock = self._plan, self._window, self._lock
        lock.acquire()
        try:
            if now >= self._expires:
                self._refuse()
            if seq == window._highest + 1:  # in order: no call
                window._seen[seq & _WINDOW_MASK] = 1
                window._highest = seq
            else:
                window._accept(seq)
            self._received += 1
            expires = now + plan.idle_s
            if expires > self._expires:
                self._expires = expires if expires < self._deadline else self._deadline
            generation = seq // plan.generation_records
            if generation != self._generation_in:
                self._retain(generation)
        finally:
            lock.release()

    def _refuse(self) -> NoReturn:
        """Say why ``now >= self._expires``; closing sets that to minus infinity."""
        if self._closed:
            _refuse_closed()
        raise SessionExpired("session expired")

    def _opener(self, generation: int) -> ChaCha20Poly1305:
        """Make the engine for a generation, and keep it only if its key is kept."""
        with self._lock:
            if self._closed:
                _refuse_closed()
            if generation == self._generation_in:
                return self._openers.setdefault(generation, self._engine(_KEY_IN))
            if generation == self._generation_before:
                return self._openers.setdefault(generation, self._engine(_KEY_BEFORE))
            try:
                self._derive(self._role.other, generation, _SCRATCH)
                return self._engine(_SCRATCH)
            finally:
                self._block[_SCRATCH] = bytes(32)

    def _retain(self, generation: int) -> None:
        """Keep the key of a generation that proved real, if it is among the newest.

        The caller holds the lock.
        """
        block, sender = self._block, self._role.other
        if generation > self._generation_in:
            block[_KEY_BEFORE] = block[_KEY_IN]
            self._generation_before = self._generation_in
            self._generation_in = _NO_GENERATION
            self._generation_in = self._derive(sender, generation, _KEY_IN)
        elif generation > self._generation_before:
            self._generation_before = _NO_GENERATION
            self._generation_before = self._derive(sender, generation, _KEY_BEFORE)
        kept = (self._generation_in, self._generation_before)
        self._openers = {g: e for g, e in self._openers.items() if g in kept}

    def _derive(self, sender: Role, generation: int, where: slice) -> int:
        """Expand a direction's key for a generation into the block (SESSION-02)."""
        label = self._plan.key_labels[sender is Role.RESPONDER]
        with memoryview(self._block) as block:
            info = label + block[_TRANSCRIPT_HASH] + generation.to_bytes(8, "big")
            with block[_SEED] as seed, block[where] as key:
                hkdf_expand_into(seed, info, key)
        return generation

    def _engine(self, where: slice) -> ChaCha20Poly1305:
        # The engine's object would keep the view alive; released, it is empty.
        with memoryview(self._block) as block, block[where] as key:
            return ChaCha20Poly1305(key)


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
        "caller_aad_max_bytes",
        "generation_records",
        "idle_s",
        "key_labels",
        "max_age_s",
        "max_records",
        "name",
        "pack_aad",
        "plaintext_max_bytes",
        "profile",
        "record_max_bytes",
        "session_label",
    )

    def __init__(self, profile: Any) -> None:
        self.profile = profile
        self.name: str
        self.session_label: bytes
        self.key_labels: tuple[bytes, bytes]
        self.aad_label: bytes
        self.generation_records: int
        self.max_records: int
        self.max_age_s: float
        self.idle_s: float
        self.record_max_bytes: int
        self.caller_aad_max_bytes: int
        for name in _PROFILE_FIELDS:
            setattr(self, name, getattr(profile, name))
        # label | th | direction, be64(seq), be32(bytes of the caller's AAD)
        self.pack_aad: Final = Struct(f">{len(self.aad_label) + 33}sQI").pack
        self.plaintext_max_bytes: int = self.record_max_bytes - RECORD_MIN_BYTES


_PROFILE_FIELDS: Final = (
    "name",
    "session_label",
    "key_labels",
    "aad_label",
    "generation_records",
    "max_records",
    "max_age_s",
    "idle_s",
    "record_max_bytes",
    "caller_aad_max_bytes",
)
_plans: Final[dict[Any, _Plan]] = {}


def _plan(profile: Any) -> _Plan:
    try:
        return _plans[profile]
    except (KeyError, TypeError):  # new, or not even hashable
        pass
    try:
        plan = _plans[profile] = _Plan(profile)
    except (AttributeError, TypeError):
        name = type(profile).__name__
        raise UsageError(f"profile must be a sage Profile, not {name}") from None
    return plan


def _session_id(label: bytes, transcript_hash: bytes) -> str:
    digest = sha256(label + transcript_hash)[:SESSION_ID_BYTES]
    return urlsafe_b64encode(digest)[:-2].decode("ascii")


def _direction(sender: Role) -> bytes:
    return b"\x00" if sender is Role.INITIATOR else b"\x01"


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


def _flat(data: Buffer, name: str) -> bytes | memoryview:
    """Return any buffer as one row of bytes, without copying where that is possible."""
    try:
        view = memoryview(data)
    except (TypeError, ValueError, BufferError):
        text = f"{name} must be bytes-like, not {type(data).__name__}"
        raise UsageError(text) from None
    if not view.c_contiguous:
        raise UsageError(f"{name} must be contiguous")
    return view if view.format == "B" and view.ndim == 1 else view.tobytes()


def _key_material(data: Buffer, name: str) -> bytes:
    flat = _flat(data, name)
    if len(flat) != 32:
        raise UsageError(f"{name} must be 32 bytes, not {len(flat)}")
    return bytes(flat)


def _refuse_closed() -> NoReturn:
    raise SessionClosed("session closed")


def _refuse_seq() -> NoReturn:
    text = "sequence number beyond the last record"
    raise ProtocolError(text, code=Code.SESSION_WINDOW)


def _refuse_size(size: int, plan: _Plan) -> NoReturn:
    limit = plan.record_max_bytes
    text = f"a record is {RECORD_MIN_BYTES}..{limit} bytes, not {size}"
    code = Code.SIZE_EXCEEDED if size > limit else Code.SESSION_MALFORMED
    raise DecodeError(text, code=code)
