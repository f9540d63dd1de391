# What callers hand over, looked at in place: the fast half of `_arguments.py`, which
# finds the words for whatever is wrong.
#
# Part of `_core.pyx`, which includes it.

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
        value = PyNumber_Float(now)  # in the words of Python's own `float`
    except OverflowError:
        value = INFINITY
    if not isfinite(value):  # a NaN would never expire
        raise UsageError("now must be finite")
    return value


cdef int refuse_plaintext(Plan plan) except -1:
    raise UsageError(f"plaintext exceeds {plan.plaintext_max_bytes} bytes")


cdef int refuse_aad(Plan plan) except -1:
    raise UsageError(f"aad exceeds {plan.caller_aad_max_bytes} bytes")


cdef int refuse_seq() except -1:
    text = "sequence number beyond the last record"
    raise ProtocolError(text, code=Code.SESSION_WINDOW)


cdef int refuse_size(Py_ssize_t size, Plan plan) except -1:
    limit = plan.record_max_bytes
    text = f"a record is {RECORD_MIN_BYTES}..{limit} bytes, not {size}"
    code = Code.SIZE_EXCEEDED if size > limit else Code.SESSION_MALFORMED
    raise DecodeError(text, code=code)


cdef int copy_exactly(uint8_t *where, Py_ssize_t size, data, name) except -1:
    plain = data if PyBytes_CheckExact(data) else row_of(data, name)
    if len(plain) != size:
        raise UsageError(f"{name} must be {size} bytes, not {len(plain)}")
    memcpy(where, start_of(plain), size)
    return 0


cdef inline char *start_of(data) noexcept:
    """Return where the bytes of an exact ``bytes`` or a flat memoryview begin."""
    if PyBytes_CheckExact(data):
        return PyBytes_AS_STRING(data)
    return <char *>PyMemoryView_GET_BUFFER(data).buf


cdef object row_of(data, name):
    """Return a flat view of any buffer: what `flat` returns, found without a call."""
    try:
        view = PyMemoryView_FromObject(data)
    except Exception:  # whatever it is, `flat` finds the words for it
        return flat(data, name)
    cdef Py_buffer *held = PyMemoryView_GET_BUFFER(view)
    if (
        held.ndim == 1
        and held.format is not NULL
        and held.format[0] == c"B"
        and held.format[1] == 0
        and PyBuffer_IsContiguous(held, b"C")
    ):
        return view
    return flat(data, name)


cdef int borrow(out, Py_ssize_t size, Py_buffer *held) except -1:
    """Hold the caller's buffer, so that nobody resizes it, until it is released."""
    cdef bint fits = False
    try:
        PyObject_GetBuffer(out, held, PyBUF_WRITABLE | PyBUF_FORMAT | PyBUF_C_CONTIGUOUS)
        fits = held.len >= size and held.format is not NULL and (
            held.format[0] in b"Bbc" and held.format[1] == 0
        )
        if not fits:
            PyBuffer_Release(held)
    except Exception:  # whatever it is, `writable` finds the words for it
        fits = False
    if not fits:
        PyObject_GetBuffer(writable(out, size), held, PyBUF_WRITABLE)
    return 0


cdef object array_of(data):
    """Return a view of an array of bytes with two dimensions, or ``None``."""
    try:
        view = PyMemoryView_FromObject(data)
    except Exception:  # whatever it is, `_arguments` finds the words for it
        return None
    cdef Py_buffer *held = PyMemoryView_GET_BUFFER(view)
    if (
        held.ndim == 2
        and held.len > 0
        and held.format is not NULL
        and held.format[0] in b"Bbc"
        and held.format[1] == 0
        and PyBuffer_IsContiguous(held, b"C")
    ):
        return view
    return None


cdef object rows_of(data, name, Py_ssize_t *count, Py_ssize_t *size):
    """Return an array to read from, and the number and size of its rows."""
    view = array_of(data)
    if view is None:
        view, count[0], size[0] = matrix(data, name)
        return view
    cdef Py_buffer *held = PyMemoryView_GET_BUFFER(view)
    count[0] = held.shape[0]
    size[0] = held.shape[1]
    return view


cdef object room_for(out, Py_ssize_t count, Py_ssize_t size):
    """Return an array to write so many rows into."""
    view = array_of(out)
    cdef Py_buffer *held
    if view is not None:
        held = PyMemoryView_GET_BUFFER(view)
        if not held.readonly and held.shape[0] == count and held.shape[1] == size:
            return view
    return matrix_out(out, count, size)


cdef inline object piece(const char *where, Py_ssize_t size):
    """Return bytes for the engine to read; the memory outlives the call."""
    if size <= COPY_MAX_BYTES:
        return PyBytes_FromStringAndSize(where, size)
    return PyMemoryView_FromMemory(<char *>where, size, PyBUF_READ)


cdef inline bint apart(
    const char *one, Py_ssize_t one_bytes, const char *other, Py_ssize_t other_bytes
) noexcept:
    return one + one_bytes <= other or other + other_bytes <= one
