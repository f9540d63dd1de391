"""The arguments that both kernels take: buffers, sequences of them, arrays.

Whatever the caller passes becomes one row of bytes or a `UsageError`; the kernels
behind never look at a type again.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from sys import float_info, modules
from typing import Any

from .errors import ResourceError, SageError, UsageError
from .limits import BATCH_MAX_THREADS, MAX_FAILED_OPENS, RECORD_MIN_BYTES
from .types import Buffer

__all__ = [
    "check_kinds",
    "check_profile",
    "flat",
    "is_age",
    "listed",
    "matrix",
    "matrix_like",
    "matrix_out",
    "note",
    "workers",
    "writable",
]


def flat(data: Any, name: str) -> bytes | memoryview:
    """Return any buffer as one row of bytes, without copying where that is possible."""
    try:
        view = memoryview(data)
    except (TypeError, ValueError, BufferError):
        text = f"{name} must be bytes-like, not {type(data).__name__}"
        raise UsageError(text) from None
    if not view.c_contiguous:
        raise UsageError(f"{name} must be contiguous")
    return view if view.format == "B" and view.ndim == 1 else view.tobytes()


def listed(items: Iterable[Buffer], name: str) -> list[Buffer]:
    """Return what there is to iterate over as a list."""
    try:
        # A view holds numbers, if it has not been released.
        if not isinstance(items, memoryview):
            return list(items)
    except TypeError:
        pass
    raise UsageError(f"{name} must be a sequence, not {type(items).__name__}")


def check_kinds(profile: Any) -> None:
    """Refuse what has not the kinds of things that a `Profile` has.

    Raises:
        AttributeError, TypeError: something is missing, or of another kind.
    """
    pairs = (profile.key_labels, profile.block_labels)
    labels = [profile.session_label, profile.root_label]
    labels += (profile.shared_key_label, profile.aad_label, *pairs[0], *pairs[1])
    counts = [profile.generation_records, profile.max_records]
    counts += (profile.record_max_bytes, profile.caller_aad_max_bytes)
    counts.append(profile.max_failed_opens)
    if not (
        all(type(pair) is tuple and len(pair) == 2 for pair in pairs)
        and all(type(label) is bytes for label in labels)
        and all(type(count) is int for count in counts)
        and all(isinstance(text, str) for text in (profile.name, profile.aead))
    ):
        raise TypeError


def check_profile(profile: Any) -> None:
    """Refuse what no `Profile` is: the kernels divide by its numbers and trust them.

    Raises:
        AttributeError, TypeError: something is missing, of another kind or size.
    """
    check_kinds(profile)
    bounds = (
        (1, profile.generation_records, profile.max_records),
        (1, profile.max_records, 2**48),
        (1, profile.max_failed_opens, MAX_FAILED_OPENS),
        (RECORD_MIN_BYTES, profile.record_max_bytes, 2**31 - 1),
        (0, profile.caller_aad_max_bytes, 2**31 - 1),
    )
    if not (
        all(low <= number <= high for low, number, high in bounds)
        # Else two senders would use one key, and each number of it as a nonce.
        and profile.key_labels[0] != profile.key_labels[1]
        and (profile.layout == "draft1" or not profile.shared_key_label)
        and is_age(profile.max_age_s)
        and is_age(profile.idle_s)
    ):
        raise TypeError


def is_age(seconds: Any) -> bool:
    """Whether something is a positive number that a float can hold."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        return False
    return 0 < seconds <= float_info.max or seconds == inf


def _array(data: Any, name: str) -> memoryview:
    """Return a buffer as it is, if it is contiguous and made of bytes."""
    try:
        view = memoryview(data)
    except (TypeError, ValueError, BufferError):
        text = f"{name} must be bytes-like, not {type(data).__name__}"
        raise UsageError(text) from None
    if not view.c_contiguous or view.format not in ("B", "b", "c"):
        raise UsageError(f"{name} must be contiguous and made of bytes")
    return view


def _row(view: memoryview) -> memoryview:
    return view.cast("B") if view.nbytes else memoryview(bytearray())


def writable(out: Any, size: int) -> memoryview:
    """Return the caller's buffer as one row of bytes to write ``size`` into."""
    view = _array(out, "out")
    if view.readonly:
        raise UsageError("out must be writable")
    if view.nbytes < size:
        raise UsageError(f"out must be {size} bytes or more, not {view.nbytes}")
    return _row(view)


def matrix(data: Any, name: str) -> tuple[memoryview, int, int]:
    """Return an array's bytes in one row, and the number and size of its rows."""
    view = _array(data, name)
    if view.ndim != 2:
        raise UsageError(f"{name} must have two dimensions, not {view.ndim}")
    count, size = view.shape or (0, 0)
    return _row(view), count, size


def matrix_like(model: Any, count: int, size: int) -> Any:
    """Make an array of the same kind."""
    numpy = modules.get("numpy")
    if numpy is not None and isinstance(model, numpy.ndarray):
        return numpy.empty((count, size), numpy.uint8)
    if not count * size:
        raise UsageError("a memoryview cannot be empty: give out, or numpy arrays")
    return memoryview(bytearray(count * size)).cast("B", (count, size))


def matrix_out(out: Any, count: int, size: int) -> memoryview:
    """Return the caller's array, of exactly this shape, as one row to write into."""
    view = _array(out, "out")
    if view.readonly:
        raise UsageError("out must be writable")
    if view.shape != (count, size):
        raise UsageError(f"out must be {count} rows of {size} bytes")
    return _row(view)


def workers(threads: Any) -> int:
    """Return how many threads may work on a batch."""
    if not isinstance(threads, int) or isinstance(threads, bool):
        raise UsageError(f"threads must be an int, not {type(threads).__name__}")
    if not 1 <= threads <= BATCH_MAX_THREADS:
        raise UsageError(f"threads must be within 1..{BATCH_MAX_THREADS}")
    return threads


def note(errors: dict[int, SageError], index: int, error: SageError) -> None:
    """Note why a record did not open; a session that is at its end opens none."""
    # An error leads to the frames that it came through, and they to it: a circle that
    # would keep the caller's buffers pinned until the garbage collector comes.
    if isinstance(error, ResourceError) and index == len(errors):
        try:
            raise error
        finally:
            del error
    error.__context__ = None
    errors[index] = error.with_traceback(None)
