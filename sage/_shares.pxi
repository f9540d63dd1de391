# Batches: the records that one thread works on, and waiting for all of them.
#
# Part of `_core.pyx`, which includes it.

cdef bint run_records(
    const Context *context,
    bint sealing,
    Record *records,
    Py_ssize_t count,
    uint8_t *aad,
    Py_ssize_t aad_bytes,
    Py_ssize_t seq_at,
) noexcept nogil:
    """Work on the chosen records; return whether there was memory for it."""
    cdef Py_ssize_t index
    cdef Record *record
    for index in range(count):
        record = &records[index]
        if not record.chosen:
            continue
        store_be64(<char *>aad + seq_at, record.seq)
        if not sealing:
            record.verdict = open_record(context, record, aad, aad_bytes)
            if record.verdict != GENUINE:  # nobody is to see what it claims
                sage_wipe(record.target, record.size)
            if record.verdict == FAILED:
                return False
        elif not seal_record(context, record, aad, aad_bytes):
            return False
    return True


@cython.final
cdef class Share:
    """What one thread does of a batch."""

    cdef Aead aead
    cdef Record *records
    cdef Py_ssize_t count
    cdef Py_ssize_t seq_at
    cdef bytes aad  # its own, which changes with each record
    cdef object working  # a lock that is free again once it is done
    cdef bint taken  # by whoever does it, or by nobody any more
    cdef bint sealing
    cdef bint right

    def __call__(self):
        if self.taken:
            return
        self.taken = True
        cdef uint8_t *aad = <uint8_t *>PyBytes_AS_STRING(self.aad)
        cdef Py_ssize_t aad_bytes = PyBytes_GET_SIZE(self.aad)
        with nogil:
            self.right = run_records(
                &self.aead.context, self.sealing, self.records, self.count,
                aad, aad_bytes, self.seq_at,
            )
        self.working.release()


cdef int outlast(list shares) except -1:
    """Wait for what works on a batch, whatever a signal's handler raises meanwhile.

    The caller's arrays are the caller's again once a call has ended, in whichever way:
    nothing may be written into them any more. `Thread.join` cannot promise that, for
    it may take a thread for dead once it was interrupted.
    """
    cdef Share share
    interrupted = None
    for share in shares:
        while share.taken:
            try:
                share.working.acquire()
                break
            except BaseException as exc:
                interrupted = exc
        share.taken = True
        share.aead = None  # no key waits for a thread that comes late
    if interrupted is not None:
        raise interrupted
    return 0


cdef inline Py_ssize_t weight_of(
    const Record *record, Py_ssize_t aad_bytes
) noexcept:
    """Return a record's share of the work, in bytes; a short one is work, too."""
    return record.size + aad_bytes + RECORD_MIN_BYTES if record.chosen else 0


cdef bytes records_for(Py_ssize_t count):
    """Return memory for the notes on a batch; it lives as long as who works on it."""
    if count > PY_SSIZE_T_MAX // <Py_ssize_t>sizeof(Record):
        raise MemoryError
    return PyBytes_FromStringAndSize(NULL, count * <Py_ssize_t>sizeof(Record))
