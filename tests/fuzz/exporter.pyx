# cython: language_level=3
"""A buffer that does what it is told at the moment when somebody asks for it."""

from libc.stdlib cimport free, malloc
from libc.string cimport memcpy


cdef class Exporter:
    """Bytes in a block of their own, of exactly their size.

    ``behave`` is called at each request, before anything is handed out. It may raise,
    use or close a session, and return how much to show: ``None`` for all of it.
    """

    cdef char *block
    cdef Py_ssize_t size
    cdef Py_ssize_t[2] shape
    cdef Py_ssize_t[2] strides
    cdef object behave
    cdef bytes kind  # the format; empty: none is given
    cdef bint writable
    cdef int dimensions
    cdef readonly Py_ssize_t exports

    def __cinit__(
        self, bytes data, behave=None, bytes kind=b"B", bint writable=True, int rows=0
    ):
        self.size = len(data)
        self.block = <char *>malloc(max(self.size, 1))
        if self.block is NULL:
            raise MemoryError
        memcpy(self.block, <char *>data, self.size)
        self.behave, self.kind, self.writable = behave, kind, writable
        self.dimensions = 2 if rows else 1
        self.shape[0] = rows if rows else self.size
        self.shape[1] = self.size // rows if rows else 1
        self.strides[0] = self.shape[1]
        self.strides[1] = 1

    def __dealloc__(self):
        free(self.block)

    def contents(self):
        """Return what is in the block now."""
        return self.block[: self.size]

    def __getbuffer__(self, Py_buffer *view, int flags):
        shown = self.behave() if self.behave is not None else None
        view.obj = None
        if flags & 1 and not self.writable:  # PyBUF_WRITABLE
            raise BufferError("not writable")
        if shown is not None:
            self.dimensions = 1
            self.shape[0] = min(max(<Py_ssize_t>shown, 0), self.size)
            self.strides[0] = 1
        view.buf = self.block
        view.len = self.shape[0] * (self.shape[1] if self.dimensions == 2 else 1)
        view.readonly = not self.writable
        view.itemsize = 1
        view.format = <char *>self.kind if flags & 4 and self.kind else NULL
        view.ndim = self.dimensions
        view.shape = self.shape if flags & 8 else NULL
        view.strides = self.strides if flags & 24 == 24 else NULL
        view.suboffsets = NULL
        view.internal = NULL
        view.obj = self
        self.exports += 1

    def __releasebuffer__(self, Py_buffer *view):
        self.exports -= 1
