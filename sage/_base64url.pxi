# Canonical base64url without padding (RFC 4648, section 5).
#
# Part of `_core.pyx`, which includes it.

cdef extern from "Python.h":
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 highest)
    void *PyUnicode_DATA(object text) noexcept
    bint PyUnicode_IS_ASCII(object text) noexcept

cdef const char *_ALPHABET = (
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
)
cdef enum:
    FOREIGN = 128  # the value of a character that is not in the alphabet
    PAIRED_MIN_BYTES = 512  # from here on, a table of pairs is worth its place in a cache
cdef uint8_t[256] _values
cdef char[64 * 64][2] _pairs  # the two characters of 12 bits


cdef void lay_out_tables() noexcept:
    cdef int high, low
    memset(_values, FOREIGN, sizeof(_values))
    for high in range(64):
        _values[<uint8_t>_ALPHABET[high]] = <uint8_t>high
        for low in range(64):
            _pairs[64 * high + low][0] = _ALPHABET[high]
            _pairs[64 * high + low][1] = _ALPHABET[low]

lay_out_tables()


def base64url_encode(data):
    """Return the 4 characters for each 3 bytes of a contiguous buffer, unpadded."""
    cdef Py_buffer held
    if PyBytes_CheckExact(data):
        return text_of(<const uint8_t *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    PyObject_GetBuffer(data, &held, PyBUF_C_CONTIGUOUS)
    try:
        return text_of(<const uint8_t *>held.buf, held.len)
    finally:
        PyBuffer_Release(&held)


cdef str text_of(const uint8_t *data, Py_ssize_t size):
    cdef Py_ssize_t rest = size % 3, groups = size // 3
    cdef str text = PyUnicode_New(4 * groups + (rest + 1 if rest else 0), 127)
    cdef char *out = <char *>PyUnicode_DATA(text)
    cdef unsigned int bits
    while size >= PAIRED_MIN_BYTES and groups > 0:
        bits = data[0] << 16 | data[1] << 8 | data[2]
        memcpy(out, _pairs[bits >> 12], 2)
        memcpy(out + 2, _pairs[bits & 4095], 2)
        data += 3
        out += 4
        groups -= 1
    for _ in range(groups):
        bits = data[0] << 16 | data[1] << 8 | data[2]
        out[0] = _ALPHABET[bits >> 18]
        out[1] = _ALPHABET[bits >> 12 & 63]
        out[2] = _ALPHABET[bits >> 6 & 63]
        out[3] = _ALPHABET[bits & 63]
        data += 3
        out += 4
    if rest:
        bits = data[0] << 16 | (data[1] << 8 if rest == 2 else 0)
        out[0] = _ALPHABET[bits >> 18]
        out[1] = _ALPHABET[bits >> 12 & 63]
        if rest == 2:
            out[2] = _ALPHABET[bits >> 6 & 63]
    return text


def base64url_decode(text):
    """Return the bytes whose one text this is, or ``None`` where it is none."""
    if not isinstance(text, str) or not PyUnicode_IS_ASCII(text):
        return None
    cdef Py_ssize_t size = len(<str>text), rest = size & 3, groups = size >> 2
    if rest == 1:
        return None
    cdef bytes data = PyBytes_FromStringAndSize(NULL, size * 3 // 4)
    cdef const uint8_t *at = <const uint8_t *>PyUnicode_DATA(text)
    cdef uint8_t *out = <uint8_t *>PyBytes_AS_STRING(data)
    cdef unsigned int a, b, c, d, found = 0
    for _ in range(groups):
        a = _values[at[0]]
        b = _values[at[1]]
        c = _values[at[2]]
        d = _values[at[3]]
        found |= a | b | c | d
        out[0] = <uint8_t>(a << 2 | b >> 4)
        out[1] = <uint8_t>(b << 4 | c >> 2)
        out[2] = <uint8_t>(c << 6 | d)
        at += 4
        out += 3
    if rest:
        a = _values[at[0]]
        b = _values[at[1]]
        c = _values[at[2]] if rest == 3 else 0
        found |= a | b | c
        out[0] = <uint8_t>(a << 2 | b >> 4)
        if rest == 3:
            out[1] = <uint8_t>(b << 4 | c >> 2)
        # What is behind the last byte has one form: zeros.
        if (c & 3) if rest == 3 else (b & 15):
            return None
    return None if found & FOREIGN else data
