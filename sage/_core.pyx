# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: binding=False, embedsignature=True, embedsignature.format=clinic
"""The kernels of a session, compiled: the twin of `_core_py`, which is the specification.

Same names, same results, same errors, same texts. Public functions take untyped
arguments and check them in the words of the twin; typed kernels stand behind.

A session is one object that the garbage collector does not track. Its key block,
window, counters and clocks lie inline in it; ``close()`` and deallocation wipe the
block through a pointer that the C compiler cannot see through. Keys go to the engine
straight from the block, never as a ``bytes``.

One lock a session guards its state. It is a flag of whoever holds the GIL, and needed
because some sections run Python code, in the middle of which another thread may get its
turn. It is not re-entrant. The AEAD runs outside of it, on values that belong to one
call, and long records without the GIL: what other threads may meet there (a context, a
buffer) is marked as busy or held. A `ReplayWindow` alone and the ring of warm sessions
rely on the GIL as well, so the module refuses to load where it is switched off.
"""

from __future__ import annotations

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_READ, PyBUF_SIMPLE
from cpython.buffer cimport PyBUF_WRITABLE, PyBUF_WRITE, PyBuffer_IsContiguous
from cpython.buffer cimport PyBuffer_Release
from cpython.buffer cimport PyObject_GetBuffer
from cpython.number cimport PyNumber_Float
from cpython.object cimport PyObject
from cpython.pyport cimport PY_SSIZE_T_MAX
from cpython.memoryview cimport PyMemoryView_FromMemory, PyMemoryView_FromObject
from cpython.memoryview cimport PyMemoryView_GET_BUFFER
from libc.math cimport INFINITY, isfinite
from libc.stdint cimport int64_t, uint8_t, uint64_t, uintptr_t
from libc.string cimport memcpy, memmove, memset

import os
import sys
from _thread import allocate_lock, start_new_thread
from os import urandom
from time import sleep

from ._arguments import check_profile, flat, listed, matrix, matrix_like, matrix_out
from ._arguments import note, workers, writable
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
    ConfigError,
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
from . import limits
from .types import Role

__all__ = [
    "ReplayWindow", "SessionCore", "base64url_decode", "base64url_encode", "untrack"
]

cdef extern from *:
    """
    #include <stdint.h>
    #include <time.h>

    #define SAGE_STACK_BYTES 16384

    /* A call through a volatile pointer cannot be dropped as a dead store. */
    static void *(*volatile sage_memset)(void *, int, size_t) = memset;
    static CYTHON_INLINE void sage_wipe(void *where, size_t bytes) {
        sage_memset(where, 0, bytes);
    }

    /* What calls that have returned left below this frame: ciphers put keys there, and
       OpenSSL's ChaCha20 for AVX2 does not take them away. Called through a pointer, for
       else the frame could be the caller's. */
    static void sage_wipe_below(void) {
        unsigned char below[SAGE_STACK_BYTES];
        sage_memset(below, 0, sizeof below);
    }
    static void (*volatile sage_wipe_stack)(void) = sage_wipe_below;

    /* Spelled out, so that compilers see the one instruction that it is. */
    static CYTHON_INLINE uint64_t load_be64(const char *where) {
        const unsigned char *at = (const unsigned char *)where;
        return (uint64_t)at[0] << 56 | (uint64_t)at[1] << 48 | (uint64_t)at[2] << 40
            | (uint64_t)at[3] << 32 | (uint64_t)at[4] << 24 | (uint64_t)at[5] << 16
            | (uint64_t)at[6] << 8 | (uint64_t)at[7];
    }
    static CYTHON_INLINE void store_be64(char *where, uint64_t value) {
        unsigned char *at = (unsigned char *)where;
        at[0] = (unsigned char)(value >> 56);
        at[1] = (unsigned char)(value >> 48);
        at[2] = (unsigned char)(value >> 40);
        at[3] = (unsigned char)(value >> 32);
        at[4] = (unsigned char)(value >> 24);
        at[5] = (unsigned char)(value >> 16);
        at[6] = (unsigned char)(value >> 8);
        at[7] = (unsigned char)value;
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

    /* The same as of the kernel's last tick, at most 10 ms ago: a fifth of the price. */
    static CYTHON_INLINE double sage_monotonic_coarse(void) {
    #ifdef CLOCK_MONOTONIC_COARSE
        struct timespec at;
        if (clock_gettime(CLOCK_MONOTONIC_COARSE, &at) == 0)
            return (double)at.tv_sec + 1e-9 * (double)at.tv_nsec;
    #endif
        return sage_monotonic();
    }

    /* Whether Python knows of no other thread, so that nobody waits for the GIL. What is
       compared is ours; another thread's state, which may be on its way out, is not
       looked into. */
    static CYTHON_INLINE int sage_alone(void) {
        PyThreadState *ours = PyThreadState_Get();
        return PyInterpreterState_ThreadHead(PyThreadState_GetInterpreter(ours)) == ours
            && PyThreadState_Next(ours) == NULL;
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
    void sage_wipe_stack() noexcept nogil
    uint64_t load_be64(const char *where) noexcept nogil
    void store_be64(char *where, uint64_t value) noexcept nogil
    bint sage_alone() noexcept
    void sage_untrack(object self, Py_ssize_t bytes) noexcept
    double sage_monotonic() noexcept nogil
    double sage_monotonic_coarse() noexcept nogil
    void PyObject_GC_UnTrack(object container) noexcept

cdef enum:
    BLOCK_BYTES = 192
    KEY_BYTES = 32
    SEED = 0
    BOUND = 32  # the transcript hash; of draft1 the first key in
    KEY_OUT = 64
    KEY_IN = 96
    KEY_BEFORE = 128
    SCRATCH = 160

    WINDOW_BITS = 1024
    WINDOW_WORDS = 16
    HEADER_BYTES = 20
    NONCE_BYTES = 12
    TAG_BYTES = 16
    HASH_BLOCK_BYTES = 64
    EXPAND_MAX_BYTES = 255 * 32
    RECORD_MIN_BYTES = 36
    SESSION_ID_BYTES = 16
    COPY_MAX_BYTES = 2048  # below, copying beats making a memoryview
    UNLOCKED_MIN_BYTES = 4096  # from here on, others get the GIL meanwhile
    ALONE_MAX_BYTES = 65536  # up to here, only where there are any
    BULK_MIN_BYTES = 8192  # from here on, `cryptography` may be quicker with AES
    BULK_TRIALS = 5
    UNTRIED = -1
    USUAL_LABEL_BYTES = 32
    USUAL_AAD_BYTES = 192  # what finds room on the stack
    NO_GENERATION = -1

    C2S = 0  # directions: who sends
    S2C = 1
    SHARED = 2  # draft1's shared keys serve both ends

    WARM_SESSIONS = 128
    PROFILES_READY_MAX = 64
    FIRST_PLANS = 6
    COLD = 255  # a session's place in the ring when it has none

cdef double LOCKED_S = 50e-6  # between two looks at a lock
cdef double COARSE_S = 0.25  # longer than the coarse clock ever lags behind

if (
    limits.KEY_BLOCK_BYTES,
    limits.REPLAY_WINDOW_BITS,
    limits.RECORD_MIN_BYTES,
    limits.WARM_SESSIONS,
    limits.PROFILES_READY_MAX,
) != (
    BLOCK_BYTES, WINDOW_BITS, RECORD_MIN_BYTES, WARM_SESSIONS, PROFILES_READY_MAX
):
    raise ImportError("sage._core was compiled for other limits; build it again")

if not getattr(sys, "_is_gil_enabled", lambda: True)():
    raise ImportError("sage._core needs the GIL; SAGE_NO_EXTENSIONS=1 does without")

cdef object _ONE = 1
cdef object _SEQ_MAX = 2**64 - 1
cdef object _INITIATOR = Role.INITIATOR
cdef object _SESSION_AEAD = Code.SESSION_AEAD
cdef tuple _ROLES = (Role.INITIATOR, Role.RESPONDER, None)  # by direction
cdef int[3] _DRAFT1_KEYS = [64, 128, 0]  # by direction, in the draft's own block


include "_engine.pxi"
include "_arguments.pxi"
include "_plan.pxi"
include "_window.pxi"
include "_shares.pxi"
include "_base64url.pxi"
include "_curve25519.pxi"


# --- the session ------------------------------------------------------------------

cdef struct Reserved:
    uint64_t seq  # the first of them
    int64_t generation  # of the engine at hand


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
    cdef uint64_t opens_failed
    cdef int64_t generation_out
    cdef int64_t generation_in
    cdef int64_t generation_before
    cdef double deadline
    cdef double expires
    cdef Plan plan
    cdef object sealer
    cdef object opener_in
    cdef object opener_before
    cdef set streams  # the ids of those that were derived
    cdef object __weakref__
    cdef unsigned int forks  # of the process that it was made in
    cdef uint8_t locked
    cdef uint8_t is_closed
    cdef uint8_t direct  # whether its keys are set in `libcrypto`
    cdef uint8_t direction_out
    cdef uint8_t direction_in
    cdef uint8_t warm_place

    def __cinit__(
        self,
        profile,
        seed,
        transcript_hash,
        role,
        *,
        session_id=None,
        deadline=None,
        now=None,
    ):
        """Derive the first keys of both directions."""
        self.warm_place = COLD
        self.direct = _libcrypto
        self.forks = _forks
        sage_untrack(self, _session_bytes)
        cdef Plan plan = plan_of(profile)
        copy_exactly(&self.block[SEED], KEY_BYTES, seed, "seed")
        self.identify(plan, transcript_hash, session_id)
        if role is None and plan.labels[SHARED]:
            self.direction_out = self.direction_in = SHARED
        elif isinstance(role, Role):
            self.direction_out = C2S if role is _INITIATOR else S2C
            self.direction_in = 1 - self.direction_out
        else:
            raise UsageError(f"role must be a sage.Role, not {type(role).__name__}")
        cdef double created = seconds(now)
        self.deadline = created + plan.max_age_s
        if deadline is not None:
            self.deadline = min(self.deadline, seconds(deadline))
        self.expires = min(created + plan.idle_s, self.deadline)
        self.plan = plan
        self.generation_before = NO_GENERATION
        if plan.is_draft1:
            self.derive_draft1()
            return
        if plan.is_stream:
            bound = PyBytes_FromStringAndSize(<char *>&self.block[BOUND], KEY_BYTES)
            self.expand(plan.root_label + bound, &self.block[SEED], KEY_BYTES)
        self.derive_key(self.direction_out, 0, KEY_OUT)
        self.derive_key(self.direction_in, 0, KEY_IN)

    def __dealloc__(self):
        self.wipe_keys()
        # A constructor that got no arguments has not even set its place.
        if (
            self.warm_place != COLD
            and _warm_ring[self.warm_place] == <PyObject *>self
        ):
            _warm_ring[self.warm_place] = NULL

    @property
    def id(self):
        """The session id: 22 characters of canonical base64url."""
        return text_of(self.session_id, SESSION_ID_BYTES)

    @property
    def role(self):
        """Which end this is; ``None`` where both ends share their keys."""
        return _ROLES[self.direction_out]

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
    def failed_opens(self):
        """How many records failed to verify: the one count that strangers move."""
        return self.opens_failed

    @property
    def closed(self):
        """Whether the keys are gone: by ``close()`` or by too many failures."""
        return bool(self.is_closed)

    @property
    def records_left(self):
        """How many records this end may still seal."""
        return self.plan.max_records - self.records_sent

    @property
    def expires_at(self):
        """When the session expires as things stand, monotonic seconds."""
        return self.expires

    def seal(self, plaintext, aad=b"", now=None):
        """Encrypt one record under the next sequence number."""
        cdef Reserved first
        if not self.is_usable():
            self.refuse()
        cdef Py_ssize_t size
        if PyBytes_CheckExact(plaintext):
            size = PyBytes_GET_SIZE(plaintext)
        else:
            plaintext = row_of(plaintext, "plaintext")
            size = len(plaintext)
        if size > self.plan.plaintext_max_bytes:
            refuse_plaintext(self.plan)
        cdef bytes extra = self.aad_out(aad)
        cdef double at = self.moment(now)
        aead = self.reserve(at, 1, &first)
        record = PyBytes_FromStringAndSize(NULL, size + RECORD_MIN_BYTES)
        self.encrypt(
            aead, &first, 0, plaintext, size, extra,
            PyBytes_AS_STRING(record), size > COPY_MAX_BYTES,
        )
        return record

    def seal_into(self, plaintext, out, aad=b"", *, now=None):
        """Encrypt one record into a buffer of the caller's, which may be the same."""
        cdef Reserved first
        if not self.is_usable():
            self.refuse()
        plaintext = self.plaintext_of(plaintext, "plaintext")
        cdef bytes extra = self.aad_out(aad)
        cdef Py_ssize_t size = len(plaintext)
        cdef Py_buffer held
        borrow(out, size + RECORD_MIN_BYTES, &held)
        cdef char *wire = <char *>held.buf
        try:
            aead = self.reserve(self.moment(now), 1, &first)
            self.encrypt(
                aead, &first, 0, plaintext, size, extra, wire, size > COPY_MAX_BYTES
                and apart(start_of(plaintext), size, wire, size + RECORD_MIN_BYTES),
            )
        finally:
            PyBuffer_Release(&held)
        return size + RECORD_MIN_BYTES

    def seal_many(self, plaintexts, aad=b"", *, threads=1, now=None):
        """Encrypt records under consecutive sequence numbers."""
        cdef Reserved first
        cdef bytes store
        cdef Record *records
        cdef Py_ssize_t index, size, total = 0
        if not self.is_usable():
            self.refuse()
        cdef list rows = listed(plaintexts, "plaintexts")
        for index in range(len(rows)):
            row = rows[index]
            if not PyBytes_CheckExact(row) or (
                PyBytes_GET_SIZE(row) > self.plan.plaintext_max_bytes
            ):
                rows[index] = self.plaintext_of(row, f"plaintexts[{index}]")
            total += len(rows[index])
        cdef bytes extra = self.aad_out(aad)
        cdef int hands = 1 if threads is _ONE else workers(threads)
        aead = self.reserve(self.moment(now), len(rows), &first)
        if self.direct and not self.is_bulk(total // max(len(rows), 1), hands):
            store = records_for(len(rows))
            records = <Record *>PyBytes_AS_STRING(store)
            sealed = [None] * len(rows)
            for index in range(len(rows)):
                row = rows[index]
                size = PyBytes_GET_SIZE(row) if PyBytes_CheckExact(row) else len(row)
                record = PyBytes_FromStringAndSize(NULL, size + RECORD_MIN_BYTES)
                self.place(
                    &records[index], first.seq + <uint64_t>index,
                    start_of(row), size, PyBytes_AS_STRING(record),
                )
                sealed[index] = record
            self.run_batch(True, records, len(rows), extra, hands)
            return sealed
        for index in range(len(rows)):
            row = rows[index]
            size = len(row)
            record = PyBytes_FromStringAndSize(NULL, size + RECORD_MIN_BYTES)
            aead = self.encrypt(
                aead, &first, index, row, size, extra,
                PyBytes_AS_STRING(record), size > COPY_MAX_BYTES,
            )
            rows[index] = record
        return rows

    def seal_batch(self, rows, out=None, aad=b"", *, threads=1, now=None):
        """Encrypt equal-sized plaintexts, the rows of one array, into another."""
        cdef Reserved first
        cdef bytes store
        cdef Record *records
        cdef Py_ssize_t row, count, size, width
        if not self.is_usable():
            self.refuse()
        source = rows_of(rows, "rows", &count, &size)
        if size > self.plan.plaintext_max_bytes:
            refuse_plaintext(self.plan)
        cdef bytes extra = self.aad_out(aad)
        width = size + RECORD_MIN_BYTES
        if out is None:
            out = matrix_like(rows, count, width)
        target = room_for(out, count, width)
        cdef char *plain = start_of(source)
        cdef char *wire = start_of(target)
        cdef int hands = 1 if threads is _ONE else workers(threads)
        aead = self.reserve(self.moment(now), count, &first)
        if self.direct and not self.is_bulk(size, hands):
            store = records_for(count)
            records = <Record *>PyBytes_AS_STRING(store)
            for row in range(count):
                self.place(
                    &records[row], first.seq + <uint64_t>row,
                    plain + row * size, size, wire + row * width,
                )
            self.run_batch(True, records, count, extra, hands)
            return out
        for row in range(count):
            aead = self.encrypt(
                aead, &first, row, piece(plain + row * size, size), size, extra,
                wire + row * width, size > COPY_MAX_BYTES,
            )
        return out

    def open(self, record, aad=b"", now=None):
        """Authenticate one record, accept it and return its plaintext."""
        cdef uint64_t seq
        if not self.is_usable():
            self.refuse()
        cdef double at = self.moment(now)
        cdef Py_ssize_t size
        if PyBytes_CheckExact(record):
            size = PyBytes_GET_SIZE(record)
        else:
            record = bytes(row_of(record, "record"))  # nobody changes this
            size = len(record)
        plaintext = self.unseal(
            start_of(record), size, self.aad_in(aad), at, &seq, NULL
        )
        self.take(seq, at)
        return plaintext

    def open_into(self, record, out, aad=b"", *, now=None):
        """Authenticate one record, accept it and write its plaintext into a buffer."""
        cdef uint64_t seq
        if not self.is_usable():
            self.refuse()
        cdef double at = self.moment(now)
        if not PyBytes_CheckExact(record):
            record = row_of(record, "record")
        cdef Py_ssize_t size = len(record) - RECORD_MIN_BYTES
        cdef object result = size  # made now: later there may be no memory for it
        cdef Py_buffer held
        borrow(out, max(size, 0), &held)
        cdef char *wire = start_of(record)
        cdef char *room = <char *>held.buf
        cdef bint direct = (size > COPY_MAX_BYTES or self.direct and size > 0) and apart(
            room, size, wire, size + RECORD_MIN_BYTES
        )
        try:
            plaintext = self.unseal(
                wire, len(record), self.aad_in(aad), at, &seq, room if direct else NULL
            )
            self.take(seq, at)
            if not direct:
                memcpy(room, PyBytes_AS_STRING(plaintext), size)
        except BaseException:  # it may lie there already
            if size > 0:
                memset(room, 0, size)
            raise
        finally:
            PyBuffer_Release(&held)
        return result

    def open_many(self, records, aad=b"", *, threads=1, now=None):
        """Authenticate records, accept each and return their plaintexts."""
        cdef uint64_t seq
        cdef Py_ssize_t index, size, total = 0
        cdef bytes store
        cdef Record *claims
        if not self.is_usable():
            self.refuse()
        cdef list rows = listed(records, "records")
        for index in range(len(rows)):
            row = rows[index]
            if not PyBytes_CheckExact(row):
                rows[index] = row = bytes(row_of(row, f"records[{index}]"))
            total += PyBytes_GET_SIZE(row)
        cdef bytes extra = self.aad_in(aad)
        cdef int hands = 1 if threads is _ONE else workers(threads)
        cdef double at = self.moment(now)
        errors = {}
        if self.direct and not self.is_bulk(total // max(len(rows), 1), hands):
            store = records_for(len(rows))
            claims = <Record *>PyBytes_AS_STRING(store)
            opened = [None] * len(rows)
            for index in range(len(rows)):
                row = rows[index]
                size = PyBytes_GET_SIZE(row) if PyBytes_CheckExact(row) else len(row)
                if self.examine(&claims[index], start_of(row), size):
                    plaintext = PyBytes_FromStringAndSize(NULL, claims[index].size)
                    claims[index].target = <uint8_t *>PyBytes_AS_STRING(plaintext)
                    opened[index] = plaintext
            self.run_batch(False, claims, len(rows), extra, hands)
            for index in range(len(rows)):
                try:
                    self.settle(&claims[index], at)
                except SageError as exc:
                    opened[index] = None
                    note(errors, index, exc)
            if errors:
                raise BatchError(errors, opened)
            return opened
        for index in range(len(rows)):
            row = rows[index]
            try:
                plaintext = self.unseal(start_of(row), len(row), extra, at, &seq, NULL)
                self.take(seq, at)
            except SageError as exc:
                plaintext = None
                note(errors, index, exc)
            rows[index] = plaintext
        if errors:
            raise BatchError(errors, rows)
        return rows

    def open_batch(self, wire, out=None, aad=b"", *, threads=1, now=None):
        """Open equal-sized records, the rows of one array, into another."""
        cdef uint64_t seq
        cdef bytes store
        cdef Record *claims
        cdef Py_ssize_t row, count, size, width, settled = 0
        if not self.is_usable():
            self.refuse()
        source = rows_of(wire, "wire", &count, &width)
        if width < RECORD_MIN_BYTES or width > self.plan.record_max_bytes:
            refuse_size(width, self.plan)
        cdef bytes extra = self.aad_in(aad)
        cdef int hands = 1 if threads is _ONE else workers(threads)
        cdef double at = self.moment(now)
        size = width - RECORD_MIN_BYTES
        if out is None:
            out = matrix_like(wire, count, size)
        target = room_for(out, count, size)
        cdef char *records = start_of(source)
        cdef char *room = start_of(target)
        cdef bint direct = size > COPY_MAX_BYTES
        errors = {}
        if self.direct and not self.is_bulk(size, hands):
            store = records_for(count)
            claims = <Record *>PyBytes_AS_STRING(store)
            for row in range(count):
                if self.examine(&claims[row], records + row * width, width):
                    claims[row].target = <uint8_t *>room + row * size
            try:
                self.run_batch(False, claims, count, extra, hands)
                for row in range(count):
                    try:
                        self.settle(&claims[row], at)
                    except SageError as exc:
                        memset(room + row * size, 0, size)
                        note(errors, row, exc)
                    settled = row + 1
            except BaseException:  # what was not accepted may lie there already
                memset(room + settled * size, 0, (count - settled) * size)
                raise
            if errors:
                raise BatchError(errors, out)
            return out
        for row in range(count):
            try:
                plaintext = self.unseal(
                    records + row * width, width, extra, at, &seq,
                    room + row * size if direct else NULL,
                )
                self.take(seq, at)
                if not direct:
                    memcpy(room + row * size, PyBytes_AS_STRING(plaintext), size)
            except BaseException as exc:
                memset(room + row * size, 0, size)  # it may lie there already
                if not isinstance(exc, SageError):
                    raise
                note(errors, row, exc)
        if errors:
            raise BatchError(errors, out)
        return out

    def authenticate(self, record, aad=b"", *, now=None):
        """Authenticate one record without accepting it; no state moves."""
        cdef uint64_t seq
        if not self.is_usable():
            self.refuse()
        cdef double at = self.moment(now)
        if not PyBytes_CheckExact(record):
            record = bytes(row_of(record, "record"))
        plaintext = self.unseal(
            start_of(record), len(record), self.aad_in(aad), at, &seq, NULL
        )
        return seq, plaintext

    def accept(self, seq, *, now=None):
        """Accept the record with this sequence number, once."""
        if not self.is_usable():
            self.refuse()
        cdef uint64_t number = sequence(seq)
        if number >= self.plan.max_records:
            refuse_seq()
        self.take(number, self.moment(now))

    def derive(self, profile, session_id, *, now=None):
        """Derive a stream from this session, without its seed leaving it."""
        if not self.is_usable():
            self.refuse()
        cdef double at = seconds(now)
        if self.plan.layout != "transcript" or not plan_of(profile).is_stream:
            raise UsageError("only a transcript's session derives, and only a stream")
        session_id = bytes(row_of(session_id, "session_id"))  # may run anything
        self.enter()
        try:
            if at >= self.expires:
                self.refuse()
            seed = self.view(SEED, KEY_BYTES)
            try:
                derived = type(self)(
                    profile,
                    seed,
                    PyBytes_FromStringAndSize(<char *>&self.block[BOUND], KEY_BYTES),
                    self.role,
                    session_id=session_id,
                    deadline=self.deadline,
                    now=at,
                )
            finally:
                seed.release()
            if self.streams is None:
                self.streams = set()
            if derived.id in self.streams:  # the same keys, and nonces from 0 again
                derived.close()
                raise UsageError("a stream of this id was derived before")
            self.streams.add(derived.id)
        finally:
            self.locked = False
        return derived

    def close(self):
        """Wipe the key block and refuse all further work; calling again does nothing."""
        self.enter()
        try:
            dropped = self.wipe()
        finally:
            self.locked = False
        del dropped  # outside of the lock: freeing may run anything

    def __repr__(self):
        """Name the session without its keys."""
        role = self.role
        return (
            f"<{type(self).__name__} {self.plan.name} "
            f"{'shared' if role is None else role.value} {self.id}, "
            f"{self.sent} sent, {self.received} received"
            f"{', closed' if self.is_closed else ''}>"
        )

    def __reduce__(self):
        """Refuse pickling and copying: two copies would reuse nonces."""
        raise TypeError("a session cannot be pickled or copied")

    # --- sealing ----------------------------------------------------------------

    @cython.final
    cdef inline object plaintext_of(self, data, name):
        if not PyBytes_CheckExact(data):
            data = row_of(data, name)
        if len(data) > self.plan.plaintext_max_bytes:
            refuse_plaintext(self.plan)
        return data

    @cython.final
    cdef inline bytes aad_out(self, aad):
        cdef bytes plain = aad if PyBytes_CheckExact(aad) else bytes(row_of(aad, "aad"))
        if PyBytes_GET_SIZE(plain) > self.plan.caller_aad_max_bytes:
            refuse_aad(self.plan)
        return plain

    @cython.final
    cdef inline int enter(self) except -1:
        """Take the lock, which is a flag of whoever holds the GIL."""
        if self.locked or self.forks != _forks:
            self.wait()
        self.locked = True
        return 0

    @cython.final
    cdef int wait(self) except -1:
        """Wait for a holder that lost its turn in the middle of Python code.

        In a forked process there is none.
        """
        while True:
            if self.forks != _forks:  # maybe by a signal's handler that ran meanwhile
                self.leave_to_the_other_process()
            if not self.locked:
                return 0
            sleep(LOCKED_S)

    @cython.final
    cdef inline bint is_usable(self) noexcept:
        return not self.is_closed and self.forks == _forks

    @cython.final
    cdef int leave_to_the_other_process(self) except -1:
        """Close: two processes that seal with the same numbers use each nonce twice."""
        self.forks = _forks
        self.wipe()
        self.locked = False
        return 0

    @cython.final
    cdef object reserve(self, double at, Py_ssize_t count, Reserved *first):
        """Take sequence numbers for good, restart the idle clock; return the engine."""
        cdef Plan plan = self.plan
        aead = None
        self.enter()
        try:
            if at >= self.expires:
                self.refuse()
            first.seq = self.records_sent
            if <uint64_t>count > plan.max_records - first.seq:
                raise LimitReached(f"a session carries {plan.max_records} records")
            if count:
                self.records_sent = first.seq + <uint64_t>count
                self.touch(at)
                first.generation = generation_of(plan, first.seq, self.generation_out)
                aead = self.sealer
                if aead is None or first.generation != self.generation_out:
                    aead = self.sealer_of(first.generation)
        finally:
            self.locked = False
        if self.warm_place == COLD and count:
            keep_warm(self)
        return aead

    @cython.final
    cdef object encrypt(
        self,
        aead,
        Reserved *first,
        Py_ssize_t index,
        plaintext,
        Py_ssize_t size,
        bytes extra,
        char *wire,
        bint direct,
    ):
        """Write the record of a number that `reserve` gave; return its engine.

        Where it is not direct, the plaintext may lie where the record will.
        """
        cdef Plan plan = self.plan
        cdef char header[HEADER_BYTES]
        cdef Record record
        cdef uint64_t seq = first.seq + <uint64_t>index
        cdef int64_t generation = generation_of(plan, seq, first.generation)
        if generation != first.generation:
            self.enter()
            try:
                if self.is_closed:
                    self.refuse()
                aead = self.sealer_of(generation)
            finally:
                self.locked = False
            first.generation = generation
        self.write_header(header, seq)
        engine = aead
        if type(aead) is Aead and self.is_bulk(size, 1):
            engine = self.bulk_engine(<Aead>aead)
        if type(engine) is Aead:
            record.source = <const uint8_t *>start_of(plaintext)
            record.target = <uint8_t *>wire + HEADER_BYTES
            record.size = size
            record.seq = seq
            record.chosen = True
            memcpy(record.nonce, header + 8, NONCE_BYTES)
            if not apart(start_of(plaintext), size, wire, size + RECORD_MIN_BYTES):
                memmove(record.target, record.source, size)
                record.source = record.target
            memcpy(wire, header, HEADER_BYTES)
            self.run_one(<Aead>engine, True, generation, &record, extra)
            if self.is_closed:  # while this was under way
                self.refuse()
            return aead
        nonce = PyBytes_FromStringAndSize(header + 8, NONCE_BYTES)
        bound = bind(plan, &self.block[BOUND], self.direction_out, seq, extra)
        if direct:
            out = PyMemoryView_FromMemory(
                wire + HEADER_BYTES, size + TAG_BYTES, PyBUF_WRITE
            )
            plan.encrypt_into(engine, nonce, plaintext, bound, out)
        else:
            sealed = plan.encrypt(engine, nonce, plaintext, bound)
            memcpy(wire + HEADER_BYTES, PyBytes_AS_STRING(sealed), size + TAG_BYTES)
        memcpy(wire, header, HEADER_BYTES)
        if self.is_closed:  # while this was under way
            self.refuse()
        return aead

    @cython.final
    cdef inline int write_header(self, char *header, uint64_t seq) except -1:
        """Write be64(seq) and the nonce: the number again, or where both ends share
        their key, chance.
        """
        store_be64(header, seq)
        if self.direction_out == SHARED:
            nonce = urandom(NONCE_BYTES)
            memcpy(header + 8, PyBytes_AS_STRING(nonce), NONCE_BYTES)
        else:
            memset(header + 8, 0, 4)
            store_be64(header + 12, seq)
        return 0

    @cython.final
    cdef object sealer_of(self, int64_t generation):
        """Make the engine for what is sent, and keep it if it is of the newest key.

        The caller holds the lock.
        """
        if generation < self.generation_out:  # others went on meanwhile
            return self.passing_engine(self.direction_out, generation, True)
        if generation > self.generation_out:
            self.sealer = None
            self.generation_out = NO_GENERATION  # whatever becomes of the key there
            self.derive_key(self.direction_out, generation, KEY_OUT)
            self.generation_out = generation
        if self.sealer is None:
            aead = self.engine(KEY_OUT, True)
            self.sealer = aead
            return aead
        return self.sealer

    # --- opening ----------------------------------------------------------------

    @cython.final
    cdef inline bytes aad_in(self, aad):
        cdef bytes plain = aad if PyBytes_CheckExact(aad) else bytes(row_of(aad, "aad"))
        if PyBytes_GET_SIZE(plain) > self.plan.caller_aad_max_bytes:
            text = f"aad exceeds {self.plan.caller_aad_max_bytes} bytes"
            raise DecodeError(text, code=Code.SIZE_EXCEEDED)
        return plain

    @cython.final
    cdef bytes unseal(
        self,
        const char *wire,
        Py_ssize_t size,
        bytes extra,
        double at,
        uint64_t *number,
        char *out,
    ):
        """Open a record and move nothing: `take` checks all of it again.

        The plaintext is returned; where there is ``out``, it is written there.
        """
        cdef Plan plan = self.plan
        cdef uint64_t seq
        cdef Verdict verdict
        cdef int64_t generation
        cdef char nonce[NONCE_BYTES]
        cdef Record record
        if size < RECORD_MIN_BYTES or size > plan.record_max_bytes:
            refuse_size(size, plan)
        seq = load_be64(wire)
        memcpy(nonce, wire + 8, NONCE_BYTES)  # the caller's may change
        if not plan.is_draft1 and not counts(nonce, seq):
            raise AuthenticationError(code=_SESSION_AEAD)
        self.enter()
        try:
            if at >= self.expires:
                self.refuse()
            if seq >= plan.max_records:
                refuse_seq()
            verdict = window_check(&self.window, seq)
            if verdict != FRESH:
                refuse_verdict(verdict)
            generation = generation_of(plan, seq, self.generation_in)
            aead = self.opener(generation)
        finally:
            self.locked = False
        if self.warm_place == COLD:
            keep_warm(self)
            if self.is_closed:  # while it waited, and what keys are bound to is gone
                self.refuse()
        number[0] = seq
        plaintext = b""
        if type(aead) is Aead and self.is_bulk(size - RECORD_MIN_BYTES, 1):
            aead = self.bulk_engine(<Aead>aead)
        if type(aead) is Aead:
            record.size = size - RECORD_MIN_BYTES
            if out is NULL:
                plaintext = PyBytes_FromStringAndSize(NULL, record.size)
                out = PyBytes_AS_STRING(plaintext)
            record.source = <const uint8_t *>wire + HEADER_BYTES
            record.target = <uint8_t *>out
            record.seq = seq
            record.chosen = True
            memcpy(record.nonce, nonce, NONCE_BYTES)
            self.run_one(<Aead>aead, False, generation, &record, extra)
            if record.verdict == FORGED:
                self.count_failure()
                raise AuthenticationError(code=_SESSION_AEAD) from None
            if self.is_closed:  # while this was under way
                self.refuse()
            return plaintext
        bound = bind(plan, &self.block[BOUND], self.direction_in, seq, extra)
        body = piece(wire + HEADER_BYTES, size - HEADER_BYTES)
        number_once = PyBytes_FromStringAndSize(nonce, NONCE_BYTES)
        try:
            if out is NULL:
                plaintext = plan.decrypt(aead, number_once, body, bound)
            else:
                room = PyMemoryView_FromMemory(
                    out, size - RECORD_MIN_BYTES, PyBUF_WRITE
                )
                plan.decrypt_into(aead, number_once, body, bound, room)
        except InvalidTag:
            self.count_failure()
            raise AuthenticationError(code=_SESSION_AEAD) from None
        if self.is_closed:  # while this was under way
            self.refuse()
        return plaintext

    @cython.final
    cdef int take(self, uint64_t seq, double at) except -1:
        """Move the window, the count, the idle clock and the keys, or nothing."""
        cdef int64_t generation = generation_of(self.plan, seq, self.generation_in)
        cdef Verdict verdict
        self.enter()
        try:
            if at >= self.expires:
                self.refuse()
            verdict = window_check(&self.window, seq)
            if verdict != FRESH:
                refuse_verdict(verdict)
            if generation != self.generation_in:
                self.retain(generation)  # first: there may be no memory for it
            window_mark(&self.window, seq)
            self.records_received += 1
            self.touch(at)
        finally:
            self.locked = False
        return 0

    @cython.final
    cdef int count_failure(self) except -1:
        """Count a tag that did not verify; the last that is allowed ends it all."""
        dropped = None
        self.enter()
        try:
            self.opens_failed += 1
            if self.opens_failed >= self.plan.max_failed_opens:
                dropped = self.wipe()
        finally:
            self.locked = False
        del dropped
        return 0

    @cython.final
    cdef object opener(self, int64_t generation):
        """Return the engine for a generation; the caller holds the lock."""
        if generation == self.generation_in:
            if self.opener_in is None:
                aead = self.engine(KEY_IN, False)
                self.opener_in = aead
                return aead
            return self.opener_in
        if generation == self.generation_before:
            if self.opener_before is None:
                aead = self.engine(KEY_BEFORE, False)
                self.opener_before = aead
                return aead
            return self.opener_before
        return self.passing_engine(self.direction_in, generation, False)

    @cython.final
    cdef int retain(self, int64_t generation) except -1:
        """Keep the key of a generation that proved real, if it is among the newest.

        The caller holds the lock.
        """
        if generation <= self.generation_before:
            return 0
        cdef uint8_t *key = &self.block[SCRATCH]
        try:
            self.derive_key(self.direction_in, generation, SCRATCH)
            if generation > self.generation_in:
                memcpy(&self.block[KEY_BEFORE], &self.block[KEY_IN], KEY_BYTES)
                memcpy(&self.block[KEY_IN], key, KEY_BYTES)
                self.generation_before = self.generation_in
                self.generation_in = generation
                self.opener_before = self.opener_in
                self.opener_in = None
            else:
                memcpy(&self.block[KEY_BEFORE], key, KEY_BYTES)
                self.generation_before = generation
                self.opener_before = None
        finally:
            sage_wipe(key, KEY_BYTES)
        return 0

    # --- the engine `libcrypto` -----------------------------------------------------

    @cython.final
    cdef int place(
        self,
        Record *record,
        uint64_t seq,
        const char *plain,
        Py_ssize_t size,
        char *wire,
    ) except -1:
        """Note what is to be sealed, and write the record's header."""
        cdef char header[HEADER_BYTES]
        self.write_header(header, seq)
        record.source = <const uint8_t *>plain
        record.target = <uint8_t *>wire + HEADER_BYTES
        record.size = size
        record.seq = seq
        record.chosen = True
        # Never read back from the caller's memory, where others may write as well.
        memcpy(record.nonce, header + 8, NONCE_BYTES)
        memcpy(wire, header, HEADER_BYTES)
        return 0

    @cython.final
    cdef bint examine(
        self, Record *record, const char *wire, Py_ssize_t size
    ) noexcept:
        """Note what is to be opened; return whether it can be worth a try.

        Whatever is wrong becomes an error in `settle`, in its turn. A header is read
        once, since the caller's buffer may change. What the window refuses now it will
        refuse then, too.
        """
        cdef Plan plan = self.plan
        record.size = size - RECORD_MIN_BYTES
        record.verdict = FORGED
        record.chosen = False
        record.fault = WRONG_SIZE
        if size < RECORD_MIN_BYTES or size > plan.record_max_bytes:
            return False
        record.fault = NO_FAULT
        record.seq = load_be64(wire)
        record.source = <const uint8_t *>wire + HEADER_BYTES
        memcpy(record.nonce, wire + 8, NONCE_BYTES)
        if not plan.is_draft1 and not counts(<const char *>record.nonce, record.seq):
            record.fault = WRONG_NONCE
            return False
        record.chosen = (
            record.seq < plan.max_records
            and window_check(&self.window, record.seq) == FRESH
        )
        return record.chosen

    @cython.final
    cdef int settle(self, const Record *record, double at) except -1:
        """Accept a record of a batch, or say why not, as `unseal` and `take` would."""
        cdef Plan plan = self.plan
        cdef Verdict verdict
        if record.fault == WRONG_SIZE:
            refuse_size(record.size + RECORD_MIN_BYTES, plan)
        if record.fault == WRONG_NONCE:
            raise AuthenticationError(code=_SESSION_AEAD)
        if at >= self.expires:
            self.refuse()
        if record.seq >= plan.max_records:
            refuse_seq()
        verdict = window_check(&self.window, record.seq)
        if verdict != FRESH:
            refuse_verdict(verdict)
        if record.verdict != GENUINE:
            self.count_failure()
            raise AuthenticationError(code=_SESSION_AEAD) from None
        return self.take(record.seq, at)

    @cython.final
    cdef int run_batch(
        self,
        bint sealing,
        Record *records,
        Py_ssize_t count,
        bytes extra,
        int threads,
    ) except -1:
        """Seal or open the chosen ones, one generation after the other."""
        cdef uint64_t per_generation = self.plan.generation_records
        cdef uint64_t begins, number
        cdef int64_t generation
        cdef Py_ssize_t start = 0, stop, total, aad_bytes = aad_size(self.plan, extra)
        while start < count:
            if not records[start].chosen:
                start += 1
                continue
            number = records[start].seq
            generation = number // per_generation
            begins = number - number % per_generation
            total = 0
            stop = start
            while stop < count and (
                not records[stop].chosen or records[stop].seq - begins < per_generation
            ):
                total += weight_of(&records[stop], aad_bytes)
                stop += 1
            self.enter()
            try:
                if self.is_closed:
                    if sealing:
                        self.refuse()
                    return 0  # `settle` says why, record by record
                aead = (
                    self.sealer_of(generation) if sealing else self.opener(generation)
                )
            finally:
                self.locked = False
            if self.warm_place == COLD:
                keep_warm(self)
                if self.is_closed:
                    self.refuse()
            self.run(
                <Aead>aead, sealing, generation,
                records + start, stop - start, total, extra, threads,
            )
            start = stop
        if sealing and self.is_closed:  # while this was under way
            self.refuse()
        return 0

    @cython.final
    cdef inline int run_one(
        self,
        Aead aead,
        bint sealing,
        int64_t generation,
        Record *record,
        bytes extra,
    ) except -1:
        """Do what `run` does, with nothing in the way of a short record."""
        cdef uint8_t aad[USUAL_AAD_BYTES]
        cdef Py_ssize_t aad_bytes = aad_size(self.plan, extra)
        cdef bint right = True
        cdef bint unlocked = record.size >= UNLOCKED_MIN_BYTES and (
            record.size > ALONE_MAX_BYTES or not sage_alone()
        )
        if (
            unlocked
            or aad_bytes > USUAL_AAD_BYTES
            or aead.busy
        ):
            return self.run(
                aead, sealing, generation, record, 1, record.size, extra, 1
            )
        write_aad(
            aad,
            self.plan,
            &self.block[BOUND],
            self.direction_out if sealing else self.direction_in,
            record.seq,
            extra,
        )
        if sealing:
            right = seal_record(&aead.context, record, aad, aad_bytes)
        else:
            record.verdict = open_record(&aead.context, record, aad, aad_bytes)
            right = record.verdict != FAILED
            if record.verdict != GENUINE:
                sage_wipe(record.target, record.size)
        if not right:
            refuse_memory()
        return 0

    @cython.final
    cdef int run(
        self,
        Aead aead,
        bint sealing,
        int64_t generation,
        Record *records,
        Py_ssize_t count,
        Py_ssize_t total,
        bytes extra,
        int threads,
    ) except -1:
        """Seal or open the chosen records of one generation, ``total`` bytes of them."""
        cdef Plan plan = self.plan
        cdef uint8_t direction = self.direction_out if sealing else self.direction_in
        cdef uint8_t usual[USUAL_AAD_BYTES]
        cdef Py_ssize_t aad_bytes = aad_size(plan, extra)
        cdef bytes unusual
        cdef uint8_t *aad = usual
        cdef bint right
        if aad_bytes > USUAL_AAD_BYTES:
            unusual = PyBytes_FromStringAndSize(NULL, aad_bytes)
            aad = <uint8_t *>PyBytes_AS_STRING(unusual)
        write_aad(aad, plan, &self.block[BOUND], direction, 0, extra)
        if total < UNLOCKED_MIN_BYTES and not aead.busy:
            right = run_records(
                &aead.context, sealing, records, count, aad, aad_bytes, plan.seq_at
            )
        elif threads > 1 and count > 1:
            return self.share(
                sealing, direction, generation, records, count, total,
                PyBytes_FromStringAndSize(<char *>aad, aad_bytes), threads,
            )
        else:
            if aead.busy:
                aead = self.another(sealing, direction, generation)
            aead.busy = True
            with nogil:
                right = run_records(
                    &aead.context, sealing, records, count, aad, aad_bytes, plan.seq_at
                )
            aead.busy = False
        if not right:
            refuse_memory()
        return 0

    @cython.final
    cdef Aead another(self, bint sealing, uint8_t direction, int64_t generation):
        """Set a key once more: somebody else is at work with the session's context."""
        self.enter()
        try:
            if self.is_closed:
                self.refuse()
            return self.passing_engine(direction, generation, sealing)
        finally:
            self.locked = False

    @cython.final
    cdef inline bint is_bulk(self, Py_ssize_t size, int threads) except? True:
        """Whether records of so many bytes go to `cryptography` all the same."""
        return size >= BULK_MIN_BYTES and self.plan.is_aes and (
            bulk_is_elsewhere(size, threads)
        )

    @cython.final
    cdef object bulk_engine(self, Aead aead):
        """Return `cryptography`'s engine of the same key, or this of a passing key."""
        cdef int where
        if aead.bulk is not None:
            return aead.bulk
        self.enter()
        try:
            if self.is_closed:
                self.refuse()
            if aead is self.sealer:
                where = KEY_OUT
            elif aead is self.opener_in:
                where = KEY_IN
            elif aead is self.opener_before:
                where = KEY_BEFORE
            else:
                return aead
            if aead.bulk is None:
                aead.bulk = self.object_of(where)
            return aead.bulk
        finally:
            self.locked = False

    @cython.final
    cdef int share(
        self,
        bint sealing,
        uint8_t direction,
        int64_t generation,
        Record *records,
        Py_ssize_t count,
        Py_ssize_t total,
        bytes aad,
        int threads,
    ) except -1:
        """Let threads work on as many bytes each, with a context of their own each."""
        cdef Py_ssize_t start = 0, stop = 0, bytes_each = total // threads + 1, size
        cdef Share share
        shares = []
        while stop < count:
            size = 0
            while stop < count and size < bytes_each:
                size += weight_of(&records[stop], PyBytes_GET_SIZE(aad))
                stop += 1
            share = Share.__new__(Share)
            share.aead = self.another(sealing, direction, generation)
            share.records, share.count = records + start, stop - start
            share.aad = PyBytes_FromStringAndSize(
                PyBytes_AS_STRING(aad), PyBytes_GET_SIZE(aad)
            )
            share.seq_at = self.plan.seq_at
            share.sealing = sealing
            share.working = allocate_lock()
            share.working.acquire()
            shares.append(share)
            start = stop
        try:
            if not sys.is_finalizing():  # else it may never get its turn
                for share in shares[1:]:
                    try:
                        start_new_thread(share, ())
                    except Exception:  # there is none to be had, or it runs all the same
                        break
            for share in shares:  # those that nobody has begun
                share()
        finally:
            outlast(shares)
        for share in shares:
            if not share.right:
                refuse_memory()
        return 0

    # --- keys; the caller holds the lock ------------------------------------------

    @cython.final
    cdef int identify(self, Plan plan, transcript_hash, session_id) except -1:
        """Set what the keys are bound to, and the session id."""
        if plan.is_draft1:
            if transcript_hash is not None:
                raise UsageError("draft1 has no transcript_hash")
            copy_exactly(self.session_id, SESSION_ID_BYTES, session_id, "session_id")
            return 0
        cdef uint8_t *bound = &self.block[BOUND]
        copy_exactly(bound, KEY_BYTES, transcript_hash, "transcript_hash")
        cdef bytes digest = PyBytes_FromStringAndSize(<char *>bound, KEY_BYTES)
        if plan.is_stream:
            copy_exactly(self.session_id, SESSION_ID_BYTES, session_id, "session_id")
            digest += PyBytes_FromStringAndSize(
                <char *>self.session_id, SESSION_ID_BYTES
            )
            digest = digest_of(plan.session_label + digest + plan.aead)
            memcpy(bound, PyBytes_AS_STRING(digest), KEY_BYTES)
            return 0
        if session_id is not None:
            raise UsageError("session_id follows from the transcript_hash")
        digest = digest_of(plan.session_label + digest)
        memcpy(self.session_id, PyBytes_AS_STRING(digest), SESSION_ID_BYTES)
        return 0

    @cython.final
    cdef int derive_key(
        self, uint8_t direction, uint64_t generation, int where
    ) except -1:
        """Expand a direction's key for a generation into the block (SESSION-02)."""
        cdef bytes label = self.plan.labels[direction]
        cdef Py_ssize_t size = PyBytes_GET_SIZE(label)
        cdef Py_ssize_t bound_bytes = 0 if self.plan.is_draft1 else KEY_BYTES
        if not bound_bytes and not generation:
            return self.first_key(direction, &self.block[where])
        cdef bytes info = PyBytes_FromStringAndSize(NULL, size + bound_bytes + 8)
        cdef char *at = PyBytes_AS_STRING(info)
        memcpy(at, PyBytes_AS_STRING(label), size)
        memcpy(at + size, &self.block[BOUND], bound_bytes)
        store_be64(at + size + bound_bytes, generation)
        return self.expand(info, &self.block[where], KEY_BYTES)

    @cython.final
    cdef int first_key(self, uint8_t direction, uint8_t *key) except -1:
        """Write the draft's key of a direction before any rekeying."""
        cdef uint8_t directional[4 * KEY_BYTES]
        if direction == self.direction_in:
            memcpy(key, &self.block[BOUND], KEY_BYTES)
            return 0
        # A sender that others overtook: the block holds its newer key alone.
        try:
            self.expand(self.plan.block_labels[1], directional, 4 * KEY_BYTES)
            memcpy(key, directional + _DRAFT1_KEYS[direction] - 64, KEY_BYTES)
        finally:
            sage_wipe(directional, 4 * KEY_BYTES)
        return 0

    @cython.final
    cdef int derive_draft1(self) except -1:
        """Expand the draft's six keys, and keep in the block what is used of them.

        The order of the six: shared encrypt and sign, c2s encrypt and sign, s2c
        encrypt and sign.
        """
        cdef uint8_t six[6 * KEY_BYTES]
        cdef uint8_t *block = self.block
        cdef bytes prk
        seed = self.view(SEED, KEY_BYTES)
        try:
            prk = hkdf_extract(self.id.encode("ascii"), seed)
        finally:
            seed.release()
        memcpy(block + SEED, PyBytes_AS_STRING(prk), KEY_BYTES)
        sage_wipe(PyBytes_AS_STRING(prk), KEY_BYTES)  # nobody else has seen it
        try:
            self.expand(self.plan.block_labels[0], six, 2 * KEY_BYTES)
            self.expand(self.plan.block_labels[1], six + 2 * KEY_BYTES, 4 * KEY_BYTES)
            memcpy(block + BOUND, six + _DRAFT1_KEYS[self.direction_in], KEY_BYTES)
            memcpy(block + KEY_OUT, six + _DRAFT1_KEYS[self.direction_out], KEY_BYTES)
            memcpy(block + KEY_IN, six + _DRAFT1_KEYS[self.direction_in], KEY_BYTES)
        finally:
            sage_wipe(six, 6 * KEY_BYTES)
        return 0

    @cython.final
    cdef int expand(self, bytes info, uint8_t *out, int size) except -1:
        """Expand the seed, which may lie where the result goes."""
        if self.direct:
            if not expand_into(
                &self.block[SEED],
                <const uint8_t *>PyBytes_AS_STRING(info), PyBytes_GET_SIZE(info),
                out, size,
            ):
                refuse_memory()
            return 0
        prk = self.view(SEED, KEY_BYTES)
        key = PyMemoryView_FromMemory(<char *>out, size, PyBUF_WRITE)
        try:
            hkdf_expand_into(prk, info, key)
        finally:
            prk.release()
            key.release()
        return 0

    @cython.final
    cdef object view(self, int where, Py_ssize_t size):
        """Lend a part of the block; the caller releases it before it returns."""
        return PyMemoryView_FromMemory(<char *>&self.block[where], size, PyBUF_WRITE)

    @cython.final
    cdef object engine(self, int where, bint sealing):
        if self.direct:
            return new_aead(self.plan.is_aes, sealing, &self.block[where])
        return self.object_of(where)

    @cython.final
    cdef object object_of(self, int where):
        """Set a key in an object of `cryptography`'s."""
        # The engine's object would keep the view alive; released, it is empty.
        key = self.view(where, KEY_BYTES)
        try:
            return AESGCM(key) if self.plan.is_aes else ChaCha20Poly1305(key)
        finally:
            key.release()

    @cython.final
    cdef object passing_engine(
        self, uint8_t direction, int64_t generation, bint sealing
    ):
        """Make the engine of a key that is not kept."""
        try:
            self.derive_key(direction, generation, SCRATCH)
            return self.engine(SCRATCH, sealing)
        finally:
            sage_wipe(&self.block[SCRATCH], KEY_BYTES)

    @cython.final
    cdef object wipe(self):
        """Close; return what to drop once the lock is free."""
        self.is_closed = True
        self.expires = -INFINITY
        self.wipe_keys()
        return self.drop_engines()

    @cython.final
    cdef void wipe_keys(self) noexcept:
        sage_wipe(self.block, BLOCK_BYTES)
        if self.warm_place != COLD:  # else the stack has served others since
            sage_wipe_stack()

    @cython.final
    cdef object drop_engines(self):
        sealer, opener_in, opener_before = self.sealer, self.opener_in, self.opener_before
        self.sealer = self.opener_in = self.opener_before = None
        return (sealer, opener_in, opener_before)

    @cython.final
    cdef inline double moment(self, now) except? -1:
        """Return when a call happens, or close enough before: exact near the end."""
        if now is not None:
            return seconds(now)
        cdef double at = sage_monotonic_coarse()
        return at if at + COARSE_S < self.expires else sage_monotonic()

    @cython.final
    cdef inline void touch(self, double at) noexcept:
        """Restart the idle clock; never set it back."""
        cdef double expires = at + self.plan.idle_s
        if expires > self.expires:
            self.expires = expires if expires < self.deadline else self.deadline

    @cython.final
    cdef int refuse(self) except -1:
        """Say why ``now >= expires``; closing sets that to minus infinity."""
        if self.forks != _forks:
            self.leave_to_the_other_process()
        if not self.is_closed:
            raise SessionExpired("session expired")
        limit = self.plan.max_failed_opens
        if self.opens_failed >= limit:
            raise LimitReached(f"a session ends at {limit} failed opens")
        raise SessionClosed("session closed")


cdef unsigned int _forks = 0


def _count_fork():
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


cdef bytes digest_of(bytes data):
    if not _libcrypto:
        return sha256(data)
    cdef bytes digest = PyBytes_FromStringAndSize(NULL, KEY_BYTES)
    if not sha256_into(
        <const uint8_t *>PyBytes_AS_STRING(data),
        PyBytes_GET_SIZE(data),
        <uint8_t *>PyBytes_AS_STRING(digest),
    ):
        refuse_memory()
    return digest


# The sessions that keep their engines, in a ring: whoever joins displaces the one
# that joined WARM_SESSIONS before it. The ring owns none of them; each leaves it when
# it goes. Nothing in it is touched but under the GIL, with no Python code in between.
cdef PyObject *_warm_ring[WARM_SESSIONS]
cdef int _warm_next = 0


cdef int keep_warm(SessionCore session) except -1:
    """Let a session keep its engines for now; the caller does not hold its lock."""
    global _warm_next
    cdef PyObject *displaced = _warm_ring[_warm_next]
    _warm_ring[_warm_next] = <PyObject *>session
    session.warm_place = <uint8_t>_warm_next
    _warm_next = (_warm_next + 1) % WARM_SESSIONS
    # One whose count is zero is on its way out and takes its engines along.
    if displaced is not NULL:
        (<SessionCore>displaced).warm_place = COLD
        if displaced.ob_refcnt > 0:
            other = <SessionCore>displaced
            # One at work keeps them: whoever is at work may be this very thread, in
            # a signal's handler or a finaliser. It joins again at its next record.
            if not other.locked:
                other.drop_engines()
    return 0


cdef Py_ssize_t _session_bytes = SessionCore.__basicsize__


def untrack(container):
    """Take a table out of the garbage collector's sight; compiled kernels only."""
    if not isinstance(container, dict):
        raise UsageError(f"container must be a dict, not {type(container).__name__}")
    PyObject_GC_UnTrack(container)
