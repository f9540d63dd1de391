# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The kernels of a session, compiled: the twin of `_core_py`, which is the specification.

Same names, same results, same errors, same texts. Public functions take untyped
arguments and check them in the words of the twin; typed kernels stand behind.

A session is one object that the garbage collector does not track. Its key block,
window, counters and clocks lie inline in it; ``close()`` and deallocation wipe the
block through a pointer that the C compiler cannot see through. The engine's objects
are made from a view over the block, never from a ``bytes`` of the key.

One lock a session guards its state, with and without the GIL: deriving a key runs
Python code, in the middle of which another thread may get its turn. The AEAD runs
outside of the lock, on values that belong to one call. The lock is not re-entrant.
A `ReplayWindow` alone relies on the GIL. The module does not declare itself ready for
free-threaded builds: the interpreter then keeps the GIL on, which is always right.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.buffer cimport PyBUF_READ, PyBUF_WRITE
from cpython.memoryview cimport PyMemoryView_FromMemory, PyMemoryView_GET_BUFFER
from libc.math cimport INFINITY, isfinite
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset

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
from . import limits
from .types import Role

__all__ = ["ReplayWindow", "SessionCore", "untrack"]

cdef extern from *:
    """
    /* A call through a volatile pointer cannot be dropped as a dead store. */
    static void *(*volatile sage_memset)(void *, int, size_t) = memset;
    static CYTHON_INLINE void sage_wipe(void *where, size_t bytes) {
        sage_memset(where, 0, bytes);
    }

    /* What time.monotonic() returns, without the call and the float object. */
    static CYTHON_INLINE double sage_monotonic(void) {
    #if PY_VERSION_HEX >= 0x030D0000
        PyTime_t now = 0;
        (void)PyTime_MonotonicRaw(&now);
        return PyTime_AsSecondsDouble(now);
    #else
        return _PyTime_AsSecondsDouble(_PyTime_GetMonotonicClock());
    #endif
    }

    /* Python makes every subclass a client of the garbage collector. One that adds
       neither attributes nor a __dict__ holds nothing that could form a cycle. */
    static CYTHON_INLINE void sage_untrack(PyObject *self, Py_ssize_t bytes) {
        PyTypeObject *type = Py_TYPE(self);
        if (PyObject_IS_GC(self) && type->tp_dictoffset == 0
                && type->tp_basicsize == bytes)
            PyObject_GC_UnTrack(self);
    }
    """
    void sage_wipe(void *where, size_t bytes) noexcept nogil
    void sage_untrack(object self, Py_ssize_t bytes) noexcept
    double sage_monotonic() noexcept nogil
    void PyObject_GC_UnTrack(object container) noexcept

cdef enum:
    BLOCK_BYTES = 192
    KEY_BYTES = 32
    SEED = 0
    TRANSCRIPT_HASH = 32
    KEY_OUT = 64
    KEY_IN = 96
    KEY_BEFORE = 128
    SCRATCH = 160

    WINDOW_BITS = 1024
    WINDOW_WORDS = 16
    HEADER_BYTES = 20
    TAG_BYTES = 16
    RECORD_MIN_BYTES = 36
    SESSION_ID_BYTES = 16
    COPY_MAX_BYTES = 2048  # below, copying beats making a memoryview
    NO_GENERATION = -1

if (limits.KEY_BLOCK_BYTES, limits.REPLAY_WINDOW_BITS, limits.RECORD_MIN_BYTES) != (
    BLOCK_BYTES, WINDOW_BITS, RECORD_MIN_BYTES
):
    raise ImportError("sage._core was compiled for other limits; build it again")

cdef object _SEQ_MAX = 2**64 - 1
cdef object _INITIATOR = Role.INITIATOR
cdef object _SESSION_AEAD = Code.SESSION_AEAD
# The engine's methods, found once: a look-up a record is dearer than the lock.
cdef object _encrypt = ChaCha20Poly1305.encrypt
cdef object _encrypt_into = ChaCha20Poly1305.encrypt_into
cdef object _decrypt = ChaCha20Poly1305.decrypt


# --- the window -------------------------------------------------------------------

cdef struct Window:
    uint64_t highest
    uint64_t seen[WINDOW_WORDS]  # a bit at seq mod 1,024

cdef enum Verdict:
    FRESH
    SEEN
    TOO_OLD


cdef inline Verdict window_check(const Window *window, uint64_t seq) noexcept nogil:
    if seq > window.highest:
        return FRESH
    if window.highest - seq >= WINDOW_BITS:
        return TOO_OLD
    if window.seen[seq >> 6 & (WINDOW_WORDS - 1)] >> (seq & 63) & 1:
        return SEEN
    return FRESH


cdef inline void window_mark(Window *window, uint64_t seq) noexcept nogil:
    cdef uint64_t skipped
    if seq > window.highest:
        if seq - window.highest >= WINDOW_BITS:
            memset(window.seen, 0, sizeof(window.seen))
        else:
            for skipped in range(window.highest + 1, seq):
                window.seen[skipped >> 6 & (WINDOW_WORDS - 1)] &= ~(
                    <uint64_t>1 << (skipped & 63)
                )
        window.highest = seq
    window.seen[seq >> 6 & (WINDOW_WORDS - 1)] |= <uint64_t>1 << (seq & 63)


cdef int refuse_verdict(Verdict verdict) except -1:
    if verdict == SEEN:
        raise ReplayError("record seen before", code=Code.SESSION_REPLAY)
    raise StaleError("record too old", code=Code.SESSION_WINDOW)


cdef class ReplayWindow:
    """Which of the last 1,024 sequence numbers were seen (SESSION-05)."""

    cdef Window window

    def check(self, seq):
        """Refuse a sequence number that was seen or is too old; move nothing."""
        cdef Verdict verdict = window_check(&self.window, sequence(seq))
        if verdict != FRESH:
            refuse_verdict(verdict)

    def accept(self, seq):
        """Check a sequence number and mark it as seen."""
        cdef uint64_t number = sequence(seq)
        cdef Verdict verdict = window_check(&self.window, number)
        if verdict != FRESH:
            refuse_verdict(verdict)
        window_mark(&self.window, number)

    def __reduce__(self):
        """Refuse pickling and copying: a copy would take every record twice."""
        raise TypeError("a replay window cannot be pickled or copied")


# --- the session ------------------------------------------------------------------

@cython.no_gc
cdef class SessionCore:
    """One end of a session: seals what it sends, opens what it receives.

    Wire: be64(seq) | nonce: 0000 be64(seq) (12 B) | ciphertext | tag (16 B).
    """

    cdef uint8_t block[BLOCK_BYTES]
    cdef uint8_t session_id[SESSION_ID_BYTES]
    cdef Window window
    cdef uint64_t records_sent
    cdef uint64_t records_received
    cdef int64_t generation_out
    cdef int64_t generation_in
    cdef int64_t generation_before
    cdef double deadline
    cdef double expires
    cdef Plan plan
    cdef object sealer
    cdef object opener_in
    cdef object opener_before
    cdef cython.pymutex lock
    cdef bint is_closed
    cdef uint8_t direction_out
    cdef uint8_t direction_in

    def __cinit__(self, profile, seed, transcript_hash, role, *, now=None):
        """Derive the first keys of both directions."""
        sage_untrack(self, _session_bytes)
        cdef Plan plan = plan_of(profile)
        cdef bytes secret = key_material(seed, "seed")
        cdef bytes public = key_material(transcript_hash, "transcript_hash")
        if not isinstance(role, Role):
            raise UsageError(f"role must be a sage.Role, not {type(role).__name__}")
        cdef double created = seconds(now)
        memcpy(&self.block[SEED], PyBytes_AS_STRING(secret), KEY_BYTES)
        memcpy(&self.block[TRANSCRIPT_HASH], PyBytes_AS_STRING(public), KEY_BYTES)
        self.plan = plan
        self.direction_out = 0 if role is _INITIATOR else 1
        self.direction_in = 1 - self.direction_out
        cdef bytes digest = sha256(plan.session_label + public)
        memcpy(self.session_id, PyBytes_AS_STRING(digest), SESSION_ID_BYTES)
        self.deadline = created + plan.max_age_s
        self.expires = min(created + plan.idle_s, self.deadline)
        self.generation_before = NO_GENERATION
        self.derive(self.direction_out, 0, KEY_OUT)
        self.derive(self.direction_in, 0, KEY_IN)

    def __dealloc__(self):
        sage_wipe(self.block, BLOCK_BYTES)

    @property
    def id(self):
        """The session id: 22 characters of canonical base64url."""
        raw = PyBytes_FromStringAndSize(<char *>self.session_id, SESSION_ID_BYTES)
        return urlsafe_b64encode(raw)[:22].decode("ascii")

    @property
    def role(self):
        """Which end this is."""
        return Role.RESPONDER if self.direction_out else Role.INITIATOR

    @property
    def profile(self):
        """The profile that the session was made with."""
        return self.plan.profile

    @property
    def sent(self):
        """How many sequence numbers were used, failed sends included."""
        return self.records_sent

    @property
    def received(self):
        """How many records were accepted."""
        return self.records_received

    @property
    def closed(self):
        """Whether ``close()`` was called."""
        return bool(self.is_closed)

    @property
    def records_left(self):
        """How many records this end may still seal."""
        return self.plan.max_records - self.records_sent

    def seal(self, plaintext, aad=b"", *, now=None):
        """Encrypt one record under the next sequence number."""
        cdef Plan plan = self.plan
        cdef uint64_t seq
        cdef object aead
        cdef bytes bound
        if self.is_closed:
            refuse_closed()
        if not PyBytes_CheckExact(plaintext):
            plaintext = flat(plaintext, "plaintext")
        cdef bytes extra = aad if PyBytes_CheckExact(aad) else bytes(flat(aad, "aad"))
        cdef Py_ssize_t size = len(plaintext)
        if size > plan.plaintext_max_bytes:
            raise UsageError(f"plaintext exceeds {plan.plaintext_max_bytes} bytes")
        if PyBytes_GET_SIZE(extra) > plan.caller_aad_max_bytes:
            raise UsageError(f"aad exceeds {plan.caller_aad_max_bytes} bytes")
        cdef double at = sage_monotonic() if now is None else seconds(now)
        with self.lock:
            if at >= self.expires:
                self.refuse()
            seq = self.records_sent
            if seq >= plan.max_records:
                raise LimitReached(f"a session carries {plan.max_records} records")
            self.records_sent = seq + 1
            aead = self.sealer
            if aead is None or (
                <int64_t>(seq // plan.generation_records) != self.generation_out
            ):
                aead = self.next_sealer(seq // plan.generation_records)
            self.touch(at)
            bound = self.bind(self.direction_out, seq, extra)
        record = PyBytes_FromStringAndSize(NULL, HEADER_BYTES + size + TAG_BYTES)
        cdef char *wire = PyBytes_AS_STRING(record)
        store_be64(wire, seq)
        memset(wire + 8, 0, 4)
        store_be64(wire + 12, seq)
        nonce = PyBytes_FromStringAndSize(wire + 8, 12)
        cdef bytes sealed
        if size <= COPY_MAX_BYTES:
            sealed = _encrypt(aead, nonce, plaintext, bound)
            memcpy(wire + HEADER_BYTES, PyBytes_AS_STRING(sealed), size + TAG_BYTES)
        else:
            out = PyMemoryView_FromMemory(
                wire + HEADER_BYTES, size + TAG_BYTES, PyBUF_WRITE
            )
            _encrypt_into(aead, nonce, plaintext, bound, out)
        return record

    def open(self, record, aad=b"", *, now=None):
        """Authenticate one record, accept it and return its plaintext."""
        cdef uint64_t seq
        if self.is_closed:
            refuse_closed()
        cdef double at = sage_monotonic() if now is None else seconds(now)
        plaintext = self.unseal(record, aad, at, &seq)
        self.take(seq, at)
        return plaintext

    def authenticate(self, record, aad=b"", *, now=None):
        """Authenticate one record without accepting it; no state moves."""
        cdef uint64_t seq
        if self.is_closed:
            refuse_closed()
        plaintext = self.unseal(record, aad, seconds(now), &seq)
        return seq, plaintext

    def accept(self, seq, *, now=None):
        """Accept the record with this sequence number, once."""
        if self.is_closed:
            refuse_closed()
        cdef uint64_t number = sequence(seq)
        if number >= self.plan.max_records:
            refuse_seq()
        self.take(number, seconds(now))

    def close(self):
        """Wipe the key block and refuse all further work; calling again does nothing."""
        with self.lock:
            self.is_closed = True
            self.expires = -INFINITY
            sage_wipe(self.block, BLOCK_BYTES)
            dropped = (self.sealer, self.opener_in, self.opener_before)
            self.sealer = self.opener_in = self.opener_before = None
        del dropped  # outside of the lock: freeing may run anything

    def __repr__(self):
        """Name the session without its keys."""
        return (
            f"<{type(self).__name__} {self.plan.name} {self.role.value} {self.id}, "
            f"{self.sent} sent, {self.received} received"
            f"{', closed' if self.is_closed else ''}>"
        )

    def __reduce__(self):
        """Refuse pickling and copying: two copies would reuse nonces."""
        raise TypeError("a session cannot be pickled or copied")

    cdef object next_sealer(self, int64_t generation):
        """Make the engine for what is sent next; the caller holds the lock."""
        if generation != self.generation_out:
            self.sealer = None
            self.generation_out = NO_GENERATION
            self.derive(self.direction_out, generation, KEY_OUT)
            self.generation_out = generation
        self.sealer = self.engine(KEY_OUT)
        return self.sealer

    cdef object unseal(self, record, aad, double at, uint64_t *number):
        """Open a record and move nothing: `take` checks all of it again."""
        cdef Plan plan = self.plan
        cdef uint64_t seq
        cdef Verdict verdict
        cdef const char *wire
        cdef object aead
        cdef bytes bound
        if PyBytes_CheckExact(record):
            wire = PyBytes_AS_STRING(record)
        else:
            record = flat(record, "record")
            if PyBytes_CheckExact(record):
                wire = PyBytes_AS_STRING(record)
            else:
                wire = <const char *>PyMemoryView_GET_BUFFER(record).buf
        cdef bytes extra = aad if PyBytes_CheckExact(aad) else bytes(flat(aad, "aad"))
        cdef Py_ssize_t size = len(record)
        if size < RECORD_MIN_BYTES or size > plan.record_max_bytes:
            refuse_size(size, plan)
        if PyBytes_GET_SIZE(extra) > plan.caller_aad_max_bytes:
            text = f"aad exceeds {plan.caller_aad_max_bytes} bytes"
            raise DecodeError(text, code=Code.SIZE_EXCEEDED)
        seq = load_be64(wire)
        nonce = PyBytes_FromStringAndSize(wire + 8, 12)  # a copy: the caller's may change
        if load_be64(PyBytes_AS_STRING(nonce) + 4) != seq or load_be64(
            PyBytes_AS_STRING(nonce)
        ) != seq >> 32:
            raise AuthenticationError(code=_SESSION_AEAD)
        with self.lock:
            if at >= self.expires:
                self.refuse()
            if seq >= plan.max_records:
                refuse_seq()
            verdict = window_check(&self.window, seq)
            if verdict != FRESH:
                refuse_verdict(verdict)
            aead = self.opener(seq // plan.generation_records)
            bound = self.bind(self.direction_in, seq, extra)
        if size <= COPY_MAX_BYTES:
            body = PyBytes_FromStringAndSize(wire + HEADER_BYTES, size - HEADER_BYTES)
        else:
            body = PyMemoryView_FromMemory(
                <char *>wire + HEADER_BYTES, size - HEADER_BYTES, PyBUF_READ
            )
        number[0] = seq
        try:
            return _decrypt(aead, nonce, body, bound)
        except InvalidTag:
            raise AuthenticationError(code=_SESSION_AEAD) from None

    cdef int take(self, uint64_t seq, double at) except -1:
        """Move the window, the count, the idle clock and the keys, or nothing."""
        cdef int64_t generation = seq // self.plan.generation_records
        cdef Verdict verdict
        with self.lock:
            if at >= self.expires:
                self.refuse()
            verdict = window_check(&self.window, seq)
            if verdict != FRESH:
                refuse_verdict(verdict)
            window_mark(&self.window, seq)
            self.records_received += 1
            self.touch(at)
            if generation != self.generation_in:
                self.retain(generation)
        return 0

    cdef int refuse(self) except -1:
        """Say why ``now >= expires``; closing sets that to minus infinity."""
        if self.is_closed:
            refuse_closed()
        raise SessionExpired("session expired")

    cdef inline void touch(self, double at) noexcept:
        """Restart the idle clock; never set it back."""
        cdef double expires = at + self.plan.idle_s
        if expires > self.expires:
            self.expires = expires if expires < self.deadline else self.deadline

    cdef object opener(self, int64_t generation):
        """Return the engine for a generation; the caller holds the lock."""
        if generation == self.generation_in:
            if self.opener_in is None:
                self.opener_in = self.engine(KEY_IN)
            return self.opener_in
        if generation == self.generation_before:
            if self.opener_before is None:
                self.opener_before = self.engine(KEY_BEFORE)
            return self.opener_before
        try:
            self.derive(self.direction_in, generation, SCRATCH)
            return self.engine(SCRATCH)
        finally:
            sage_wipe(&self.block[SCRATCH], KEY_BYTES)

    cdef int retain(self, int64_t generation) except -1:
        """Keep the key of a generation that proved real, if it is among the newest.

        The caller holds the lock.
        """
        if generation > self.generation_in:
            memcpy(&self.block[KEY_BEFORE], &self.block[KEY_IN], KEY_BYTES)
            self.generation_before = self.generation_in
            self.opener_before = self.opener_in
            self.opener_in = None
            self.generation_in = NO_GENERATION
            self.derive(self.direction_in, generation, KEY_IN)
            self.generation_in = generation
        elif generation > self.generation_before:
            self.opener_before = None
            self.generation_before = NO_GENERATION
            self.derive(self.direction_in, generation, KEY_BEFORE)
            self.generation_before = generation
        return 0

    cdef int derive(self, uint8_t direction, uint64_t generation, int where) except -1:
        """Expand a direction's key for a generation into the block (SESSION-02)."""
        cdef char counter[8]
        store_be64(counter, generation)
        label = self.plan.label_s2c if direction else self.plan.label_c2s
        info = (
            label
            + PyBytes_FromStringAndSize(<char *>&self.block[TRANSCRIPT_HASH], KEY_BYTES)
            + PyBytes_FromStringAndSize(counter, 8)
        )
        seed = PyMemoryView_FromMemory(<char *>&self.block[SEED], KEY_BYTES, PyBUF_READ)
        key = PyMemoryView_FromMemory(<char *>&self.block[where], KEY_BYTES, PyBUF_WRITE)
        try:
            hkdf_expand_into(seed, info, key)
        finally:
            seed.release()
            key.release()
        return 0

    cdef object engine(self, int where):
        # The engine's object would keep the view alive; released, it is empty.
        key = PyMemoryView_FromMemory(<char *>&self.block[where], KEY_BYTES, PyBUF_READ)
        try:
            return ChaCha20Poly1305(key)
        finally:
            key.release()

    cdef bytes bind(self, uint8_t direction, uint64_t seq, bytes aad):
        """Write label | th | direction | be64(seq) | be32(length) | caller's AAD."""
        cdef bytes label = self.plan.aad_label
        cdef Py_ssize_t label_bytes = PyBytes_GET_SIZE(label)
        cdef Py_ssize_t aad_bytes = PyBytes_GET_SIZE(aad)
        cdef bytes bound = PyBytes_FromStringAndSize(NULL, label_bytes + 45 + aad_bytes)
        cdef char *at = PyBytes_AS_STRING(bound)
        memcpy(at, PyBytes_AS_STRING(label), label_bytes)
        at += label_bytes
        memcpy(at, &self.block[TRANSCRIPT_HASH], KEY_BYTES)
        # The length's be64 first: its upper, empty half lies under the sequence.
        store_be64(at + 37, <uint64_t>aad_bytes)
        store_be64(at + 33, seq)
        at[32] = <char>direction
        memcpy(at + 45, PyBytes_AS_STRING(aad), aad_bytes)
        return bound


cdef Py_ssize_t _session_bytes = SessionCore.__basicsize__


def untrack(container):
    """Take a table out of the garbage collector's sight; compiled kernels only."""
    if not isinstance(container, dict):
        raise UsageError(f"container must be a dict, not {type(container).__name__}")
    PyObject_GC_UnTrack(container)


# --- profiles and arguments ---------------------------------------------------------

cdef class Plan:
    """A profile's labels and limits, read once."""

    cdef object profile
    cdef object name
    cdef bytes session_label
    cdef bytes label_c2s
    cdef bytes label_s2c
    cdef bytes aad_label
    cdef uint64_t generation_records
    cdef uint64_t max_records
    cdef double max_age_s
    cdef double idle_s
    cdef Py_ssize_t record_max_bytes
    cdef Py_ssize_t plaintext_max_bytes
    cdef Py_ssize_t caller_aad_max_bytes

    def __cinit__(self, profile):
        self.profile = profile
        self.name = profile.name
        self.session_label = profile.session_label
        self.label_c2s, self.label_s2c = profile.key_labels
        self.aad_label = profile.aad_label
        self.generation_records = profile.generation_records
        self.max_records = profile.max_records
        self.max_age_s = profile.max_age_s
        self.idle_s = profile.idle_s
        self.record_max_bytes = profile.record_max_bytes
        self.plaintext_max_bytes = self.record_max_bytes - RECORD_MIN_BYTES
        self.caller_aad_max_bytes = profile.caller_aad_max_bytes


cdef dict _plans = {}


cdef Plan plan_of(profile):
    try:
        return _plans[profile]
    except (KeyError, TypeError):  # new, or not even hashable
        pass
    try:
        plan = _plans[profile] = Plan(profile)
    except (AttributeError, TypeError):
        name = type(profile).__name__
        raise UsageError(f"profile must be a sage Profile, not {name}") from None
    return plan


cdef uint64_t sequence(seq) except? 0xFFFFFFFF:
    if not isinstance(seq, int) or isinstance(seq, bool):
        raise UsageError(f"seq must be an int, not {type(seq).__name__}")
    if not 0 <= seq <= _SEQ_MAX:
        raise UsageError(f"seq must be within 0..{_SEQ_MAX}")
    return seq


cdef double seconds(now) except? -1:
    cdef double value
    if now is None:
        return sage_monotonic()
    if not isinstance(now, (int, float)) or isinstance(now, bool):
        raise UsageError(f"now must be seconds, not {type(now).__name__}")
    try:
        value = float(now)
    except OverflowError:
        value = INFINITY
    if not isfinite(value):  # a NaN would never expire
        raise UsageError("now must be finite")
    return value


cdef object flat(data, name):
    """Return any buffer as one row of bytes, without copying where that is possible."""
    try:
        view = memoryview(data)
    except (TypeError, ValueError, BufferError):
        text = f"{name} must be bytes-like, not {type(data).__name__}"
        raise UsageError(text) from None
    if not view.c_contiguous:
        raise UsageError(f"{name} must be contiguous")
    return view if view.format == "B" and view.ndim == 1 else view.tobytes()


cdef bytes key_material(data, name):
    plain = flat(data, name)
    if len(plain) != KEY_BYTES:
        raise UsageError(f"{name} must be 32 bytes, not {len(plain)}")
    return bytes(plain)


cdef int refuse_closed() except -1:
    raise SessionClosed("session closed")


cdef int refuse_seq() except -1:
    text = "sequence number beyond the last record"
    raise ProtocolError(text, code=Code.SESSION_WINDOW)


cdef int refuse_size(Py_ssize_t size, Plan plan) except -1:
    limit = plan.record_max_bytes
    text = f"a record is {RECORD_MIN_BYTES}..{limit} bytes, not {size}"
    code = Code.SIZE_EXCEEDED if size > limit else Code.SESSION_MALFORMED
    raise DecodeError(text, code=code)


cdef inline void store_be64(char *where, uint64_t value) noexcept nogil:
    cdef int i
    for i in range(8):
        where[i] = <char>(value >> (56 - 8 * i) & 0xFF)


cdef inline uint64_t load_be64(const char *where) noexcept nogil:
    cdef uint64_t value = 0
    cdef int i
    for i in range(8):
        value = value << 8 | <uint8_t>where[i]
    return value
