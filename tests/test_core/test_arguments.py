"""What the kernels make of buffers, sequences and arrays."""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from sage._arguments import (
    flat,
    listed,
    matrix,
    matrix_like,
    matrix_out,
    note,
    writable,
)
from sage.errors import Code, SessionExpired, StaleError, UsageError
from sage.session import V0_10
from sage.types import Role


@given(nps.arrays(nps.integer_dtypes(), nps.array_shapes(max_dims=3, max_side=5)))
def test_any_contiguous_array_is_one_row_of_bytes(array):
    assert bytes(flat(array, "x")) == array.tobytes()


@pytest.mark.parametrize("wrong", [None, 5, "text", [1], object()])
def test_what_is_no_buffer(wrong):
    text = f"x must be bytes-like, not {type(wrong).__name__}"
    for act in (lambda: flat(wrong, "x"), lambda: matrix(wrong, "x")):
        with pytest.raises(UsageError, match=text):
            act()
    with pytest.raises(UsageError, match="out must be bytes-like"):
        writable(wrong, 1)
    with pytest.raises(UsageError, match="out must be bytes-like"):
        matrix_out(wrong, 1, 1)


def test_what_only_looks_like_a_profile(twin):
    """It is refused before anything is divided by it."""
    facts = {field.name: getattr(V0_10, field.name) for field in fields(V0_10)}
    for wrong in (
        {"generation_records": 0},
        {"generation_records": True},
        {"max_records": -1},
        {"max_records": 2**64},
        {"max_failed_opens": 0},
        {"record_max_bytes": 2**62},
        {"caller_aad_max_bytes": -1},
        {"key_labels": ()},
        {"key_labels": (b"same", b"same")},
        {"shared_key_label": b"shared"},
        {"key_labels": (b"one", None)},
        {"block_labels": (b"one",)},
        {"aad_label": None},
        {"session_label": "text"},
        {"block_labels": [b"one", b"other"]},
        {"idle_s": Decimal(5)},
        {"idle_s": 0.0},
        {"max_age_s": 10**400},
    ):
        alike = type("Alike", (), facts | wrong)()
        with pytest.raises(UsageError, match="must be a sage Profile, not Alike"):
            twin.SessionCore(alike, bytes(32), bytes(32), Role.INITIATOR)
    alike = type("Alike", (), facts)()
    assert twin.SessionCore(alike, bytes(32), bytes(32), Role.INITIATOR).seal(b"")


def test_nothing_is_copied_where_that_is_possible():
    data = bytearray(8)
    view = flat(data, "x")
    data[0] = 7
    assert view[0] == 7
    with writable(np.zeros((2, 4), np.uint8), 8) as row:
        assert (row.ndim, row.nbytes, row.readonly) == (1, 8, False)


@given(st.integers(0, 4), st.integers(0, 4))
def test_rows_of_any_shape(count, size):
    array = np.arange(count * size, dtype=np.uint8).reshape(count, size)
    row, *shape = matrix(array, "x")
    assert (shape, bytes(row)) == ([count, size], array.tobytes())
    made = matrix_like(array, count, size)
    assert (type(made), made.shape, made.dtype) == (np.ndarray, (count, size), np.uint8)
    assert matrix_out(made, count, size).nbytes == count * size
    with pytest.raises(UsageError, match=f"out must be {count + 1} rows of {size}"):
        matrix_out(made, count + 1, size)


def test_rows_without_numpy_are_a_memoryview():
    made = matrix_like(memoryview(bytes(6)).cast("B", (2, 3)), 2, 5)
    assert (type(made), made.shape, made.readonly) == (memoryview, (2, 5), False)
    with pytest.raises(UsageError, match="a memoryview cannot be empty"):
        matrix_like(b"", 0, 5)


def test_sequences():
    assert listed((b"a", b"b"), "x") == [b"a", b"b"]
    assert listed(iter([b"a"]), "x") == [b"a"]
    with pytest.raises(UsageError, match="x must be a sequence, not int"):
        listed(5, "x")
    released = memoryview(b"abc")
    released.release()
    for view in (released, memoryview(b"abc"), memoryview(b"ab").cast("B", (1, 2))):
        with pytest.raises(UsageError, match="x must be a sequence, not memoryview"):
            listed(view, "x")


def test_a_session_at_its_end_spoils_the_batch_only_before_the_first_success():
    errors = {}
    stale, ended = StaleError("old", code=Code.SESSION_WINDOW), SessionExpired("over")
    note(errors, 0, stale)
    with pytest.raises(SessionExpired):
        note(errors, 1, ended)
    note(errors, 2, ended)
    assert errors == {0: stale, 2: ended}
