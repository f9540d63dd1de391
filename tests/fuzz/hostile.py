"""Objects that are not what a session hopes for."""

from __future__ import annotations

import array
import ctypes
import mmap
from collections.abc import Callable, Iterator
from functools import partial
from operator import getitem
from typing import Any

import numpy as np
from exporter import Exporter

from sage.errors import AuthenticationError, LimitReached
from sage.session import V0_10
from sage.types import Role

__all__ = ["ERRORS", "SHAPES", "STRANGE", "WRITABLE", "Float", "guarded", "lying_int"]

PAGE = mmap.PAGESIZE
ERRORS = (
    TypeError,
    ValueError,
    BufferError,
    KeyError,
    MemoryError,
    OverflowError,
    RuntimeError,
    AuthenticationError,
    LimitReached,
    KeyboardInterrupt,
)

_mprotect = ctypes.CDLL(None, use_errno=True).mprotect
_mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def guarded(data: bytes) -> memoryview:
    """Return writable memory at whose end begins a page that may not be touched.

    Code that no sanitizer went through, such as OpenSSL's, faults there at once.
    """
    room = -(-len(data) // PAGE) * PAGE or PAGE
    whole = mmap.mmap(-1, room + PAGE)
    first = ctypes.c_char.from_buffer(whole)
    fence = ctypes.addressof(first) + room
    del first
    if _mprotect(fence, PAGE, 0):
        raise OSError(ctypes.get_errno(), "mprotect")
    view = memoryview(whole)[room - len(data) : room]
    view[:] = data
    return view


class Bytes(bytes):
    """Bytes that lie about themselves to everybody who asks them in Python."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: Any) -> Any:
        raise ValueError("no item")

    def __iter__(self) -> Iterator[int]:
        raise RuntimeError("no iteration")

    def __bytes__(self) -> bytes:
        return b"another"

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = bytes.__hash__


class Bytearray(bytearray):
    """The same lies, told by what can be written to."""

    __len__, __getitem__ = Bytes.__len__, Bytes.__getitem__
    __iter__, __bytes__ = Bytes.__iter__, Bytes.__bytes__


class Float(float):
    """A float whose conversion does something else first."""

    act: Callable[[], Any]

    @classmethod
    def acting(cls, value: float, act: Callable[[], Any]) -> Float:
        self = cls(value)
        self.act = act
        return self

    def __float__(self) -> float:
        self.act()
        return super().__add__(0.0)


class Int(int):
    """An int that claims to be in every range."""

    def __le__(self, other: object) -> bool:
        return True

    __ge__ = __lt__ = __gt__ = __le__


def lying_int() -> Int:
    return Int(2**70)


class List(list[Any]):
    """A list that says one length and gives another."""

    def __len__(self) -> int:
        return 2**40

    def __iter__(self) -> Iterator[Any]:
        for index in range(super().__len__()):
            yield super().__getitem__(index)


def _released() -> memoryview:
    view = memoryview(b"gone")
    view.release()
    return view


def _odd() -> list[Any]:
    """Make CPython's own odd arrays, where it ships them: made once, for they leak."""
    try:
        from _testbuffer import ND_PIL, ndarray  # type: ignore[import-not-found]
    except ImportError:
        return []
    items = [1] * 60
    return [
        ndarray(items, shape=[60], format="B"),
        ndarray(items, shape=[60], format="b"),
        ndarray(items, shape=[2, 30], format="B"),
        ndarray(items, shape=[2, 30], format="B", flags=ND_PIL),
        ndarray(items, shape=[10], strides=[-2], offset=30, format="B"),
        ndarray(9, shape=[], format="B"),
    ]


_ODD = _odd()

# What is no row of bytes, or only after some thought; each call makes a new one.
STRANGE: tuple[Callable[[], Any], ...] = (
    lambda: None,
    lambda: 0,
    lambda: -1,
    lambda: True,
    lambda: 1.5,
    lambda: 10**400,
    lambda: float("nan"),
    lambda: float("inf"),
    lambda: -float("inf"),
    lambda: 1e308,
    lambda: "text",
    lambda: "\ud800",
    lambda: [],
    lambda: (1, 2),
    dict,
    lambda: object,
    lambda: Role.INITIATOR,
    lambda: V0_10,
    _released,
    lambda: memoryview(b""),
    lambda: memoryview(b"0123456789")[::2],
    lambda: memoryview(b"0123456789")[::-1],
    lambda: memoryview(bytearray(12)).cast("B", (3, 4)),
    lambda: memoryview(bytearray(12)).cast("I"),
    lambda: memoryview(bytearray(1)).cast("B", ()),
    lambda: array.array("d", [1.0, 2.0]),
    lambda: array.array("b", b"0123456789"),
    lambda: (ctypes.c_ubyte * 40)(),
    lambda: (ctypes.c_char * 0)(),
    lambda: ctypes.c_double(1.0),
    lambda: np.arange(12, dtype=np.uint8).reshape(3, 4).T,
    lambda: np.arange(12, dtype=np.uint8)[::3],
    lambda: np.asfortranarray(np.zeros((3, 40), np.uint8)),
    lambda: np.broadcast_to(np.uint8(1), (3, 40)),
    lambda: np.zeros((2, 0), np.float64),
    lambda: np.zeros((0, 5), np.uint8),
    lambda: np.zeros((0, 41), np.uint8),
    lambda: np.zeros((2, 3, 7), np.uint8),
    lambda: np.zeros((), np.uint8),
    lambda: np.float64(3.5),
    lambda: np.int64(7),
    lambda: np.uint64(2**64 - 1),
    lambda: np.array(["a"], dtype=object),
    lambda: np.zeros(2, dtype="i4,f8"),
    lambda: np.zeros(2, dtype=">u2"),
    lambda: np.zeros(2, dtype="M8[s]"),
    lambda: Bytes(b"0123456789"),
    lambda: Bytes(),
    lying_int,
    lambda: iter([b"one", b"two"]),
    lambda: (row for row in (b"one", 2)),
    lambda: List([b"one", b"two"]),
    lambda: Exporter(b"0123456789", None, b""),
    lambda: Exporter(b"0123456789", None, b"<B"),
    lambda: Exporter(b"0123456789", None, b"BB"),
    lambda: Exporter(b"0123456789", None, b"?"),
    lambda: Exporter(b"", None, b"B"),
    lambda: Exporter(bytes(120), None, b"c", True, 3),
    lambda: Exporter(bytes(120), None, b"B", False, 3),
    lambda: Exporter(bytes(120), None, b"", True, 3),
    *(partial(getitem, _ODD, index) for index in range(len(_ODD))),
)


# Ways to hold the same bytes.
WRITABLE: tuple[Callable[[bytes], Any], ...] = (
    bytearray,
    guarded,
    lambda data: array.array("B", data),
    lambda data: memoryview(bytearray(data)),
    lambda data: np.ndarray(len(data), np.uint8, bytearray(data)),
    lambda data: (ctypes.c_ubyte * len(data)).from_buffer_copy(data),
    Exporter,
    lambda data: Exporter(data, None, b"b"),
    Bytearray,
)
SHAPES: tuple[Callable[[bytes], Any], ...] = (bytes, memoryview, *WRITABLE)
