"""The buffer pool: what it lends, what it wipes, what it keeps."""

from __future__ import annotations

import copy
import pickle
import re
import sys
import threading

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sage.errors import UsageError
from sage.runtime import BufferPool

KIB = 1024
CLASSES = [1 * KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB]


@pytest.mark.parametrize("room", CLASSES)
@pytest.mark.parametrize("less", [0, 1, 700])
def test_one_buffer_serves_all_of_its_class(room, less):
    pool = BufferPool()
    with pool.acquire(room) as view:
        assert len(view) == room
        data = view.obj
    with pool.acquire(room - less) as view:
        assert view.obj is data
        assert len(view) == room - less
    assert pool.statistics().reused == 1


@pytest.mark.parametrize("room", CLASSES[:-1])
def test_one_byte_more_is_the_next_class(room):
    with BufferPool().acquire(room + 1) as view:
        assert len(view.obj) == 4 * room


def test_what_was_used_is_wiped_before_it_is_lent_again():
    pool = BufferPool()
    loan = pool.acquire(3000)
    loan.view[:] = b"s" * 3000
    data = loan.view.obj
    loan.release()
    assert data == bytes(4 * KIB)
    with pool.acquire(4 * KIB) as view:
        assert view == bytes(4 * KIB)


def test_it_is_wiped_when_the_work_fails():
    pool = BufferPool()
    seen = []

    def work() -> None:
        with pool.acquire(10) as view:
            seen.append(view.obj)
            view[:] = b"not a key!"
            raise LookupError

    with pytest.raises(LookupError):
        work()
    assert not any(seen[0])
    assert pool.statistics().lent == 0


def test_a_loan_ends_once():
    pool = BufferPool()
    loan = pool.acquire(10)
    loan.release()
    loan.release()
    assert pool.statistics().released == 1
    assert pool.statistics().kept == 1
    with pytest.raises(ValueError, match="released"):
        loan.view[0] = 1
    assert repr(loan) == "<LentBuffer of 10 bytes, released>"


def test_a_view_that_the_borrower_released_is_wiped_all_the_same():
    pool = BufferPool()
    with pool.acquire(10) as view, view:
        data = view.obj
        view[:] = b"not a key!"
    assert not any(data)
    assert pool.statistics().kept == 1


def test_a_buffer_that_somebody_still_sees_is_not_lent_again():
    pool = BufferPool()
    loan = pool.acquire(10)
    data, slice_ = loan.view.obj, loan.view[2:4]
    loan.view[2:4] = b"xy"
    loan.release()
    assert bytes(slice_) == bytes(2)
    found = pool.statistics()
    assert (found.released, found.dropped, found.kept) == (1, 1, 0)
    with pool.acquire(10) as view:
        assert view.obj is not data


def test_a_view_that_is_still_in_use_ends_with_its_loan():
    pool = BufferPool()
    with pool.acquire(10) as view:
        view[:] = b"not a key!"
        data, found = view.obj, re.finditer(b"k", view)  # holds on to the view
    assert not any(data)
    assert list(found) == []
    seen = pool.statistics()
    assert (seen.lent, seen.dropped, seen.kept) == (0, 1, 0)


def test_none_larger_than_the_largest_is_kept():
    pool = BufferPool()
    with pool.acquire(256 * KIB + 1) as view:
        assert len(view) == 256 * KIB + 1
        view[0] = 1
        data = view.obj
    found = pool.statistics()
    assert (found.oversized, found.kept, found.kept_bytes) == (1, 0, 0)
    assert not any(data)


def test_what_is_kept_has_a_bound():
    pool = BufferPool(max_kept_bytes=10 * KIB)
    loans = [pool.acquire(4 * KIB) for _ in range(5)] + [pool.acquire(1)] * 1
    for loan in loans:
        loan.release()
    found = pool.statistics()
    assert (found.kept, found.kept_bytes, found.dropped) == (3, 9 * KIB, 3)
    none = BufferPool(max_kept_bytes=0)
    none.acquire(1).release()
    assert none.statistics().kept == 0


def test_trimming_lets_go_of_what_lay_idle():
    pool = BufferPool()
    for loan in [pool.acquire(1) for _ in range(10)]:
        loan.release()
    assert pool.trim() == 0  # all of them were needed since the beginning
    loans = [pool.acquire(1) for _ in range(4)]
    for loan in loans:
        loan.release()
    assert pool.trim() == 6 * KIB  # at most four were out at once
    assert pool.statistics().kept == 4
    assert pool.trim() == 4 * KIB
    found = pool.statistics()
    assert (found.kept, found.kept_bytes, found.dropped) == (0, 0, 10)


def test_an_empty_buffer():
    with BufferPool().acquire(0) as view:
        assert len(view) == 0


@pytest.mark.parametrize("wrong", [-1, 1.5, "1", None, True])
def test_wrong_arguments(wrong):
    with pytest.raises(UsageError, match="size must be an int"):
        BufferPool().acquire(wrong)
    with pytest.raises(UsageError, match="max_kept_bytes must be an int"):
        BufferPool(max_kept_bytes=wrong)


def test_more_than_there_is():
    pool = BufferPool()
    with pytest.raises(
        UsageError, match=f"size must be an int from 0 to {sys.maxsize}"
    ):
        pool.acquire(sys.maxsize + 1)
    with pytest.raises(MemoryError):
        pool.acquire(sys.maxsize)
    assert pool.statistics() == BufferPool().statistics()


def test_a_loan_is_not_copied():
    loan = BufferPool().acquire(5)
    for act in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            act(loan)
    assert repr(loan) == "<LentBuffer of 5 bytes, lent>"


def test_threads_never_share_a_buffer():
    pool, wrong = BufferPool(max_kept_bytes=8 * KIB), []

    def work(number: int) -> None:
        for turn in range(3000):
            with pool.acquire(1 + turn % 2000) as view:
                if any(view):
                    wrong.append("not wiped")
                view[:] = bytes([number]) * len(view)
                if view.tobytes().strip(bytes([number])):
                    wrong.append("shared")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    found = pool.statistics()
    assert (found.acquired, found.lent) == (18_000, 0)
    assert found.kept_bytes <= 8 * KIB


def test_of_two_threads_that_release_it_one_gives_it_back():
    pool = BufferPool()
    loan = pool.acquire(KIB)

    class Slow(bytearray):
        """Another thread releases the loan while this one wipes it."""

        others = [threading.Thread(target=loan.release)]  # noqa: RUF012

        def __setitem__(self, where, what):
            while self.others:
                other = self.others.pop()
                other.start()
                other.join()
            super().__setitem__(where, what)

    loan._data = Slow(KIB)
    loan.release()
    found = pool.statistics()
    assert (found.released, found.kept) == (1, 1)


class Pools(RuleBasedStateMachine):
    """Any order of calls: the counts agree and every buffer is clean."""

    def __init__(self):
        super().__init__()
        self.pool, self.out = BufferPool(max_kept_bytes=100 * KIB), []

    @rule(size=st.integers(0, 300 * KIB))
    def acquire(self, size):
        loan = self.pool.acquire(size)
        assert len(loan.view) == size
        assert not any(loan.view[:50])
        assert not any(loan.view[-50:])
        loan.view[:] = b"\xff" * size
        assert all(loan.view.obj is not other.view.obj for other in self.out)
        self.out.append(loan)

    @rule(which=st.integers(0, 10**6))
    def release(self, which):
        if self.out:
            self.out.pop(which % len(self.out)).release()

    @rule()
    def trim(self):
        before = self.pool.statistics().kept_bytes
        freed = self.pool.trim()
        assert before - self.pool.statistics().kept_bytes == freed

    @invariant()
    def counts_agree(self):
        found = self.pool.statistics()
        assert found.lent == len(self.out)
        assert found.kept_bytes <= 100 * KIB
        assert found.reused + found.oversized <= found.acquired
        assert (found.kept == 0) is (found.kept_bytes == 0)


TestPools = Pools.TestCase
