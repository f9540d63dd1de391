"""A key's derivation that fails, on the kernels that call Python's HKDF for it.

Whether it wrote the key or not: what a call moves it moves together, and no key is
taken for another's.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import pytest

from sage._crypto import ChaCha20Poly1305, hkdf_expand_into
from sage.session import STREAM
from sage.types import Role

from .engines import KERNELS

CALLING = [core for core in KERNELS if not core.direct]
FEW = replace(STREAM, generation_records=2)


def ends(core: Any, profile: Any = FEW) -> tuple[Any, Any]:
    ada, grace = (
        core.SessionCore(
            profile, bytes(32), bytes(32), role, session_id=bytes(16), now=0.0
        )
        for role in Role
    )
    return ada, grace


class Failure:
    """Takes the place of a kernel's HKDF, and fails once it has done so many."""

    def __init__(self, error: type[BaseException], after: int, *, late: bool) -> None:
        self.error, self.left, self.late = error, after, late

    def __call__(self, *given: Any) -> None:
        self.left -= 1
        if self.left >= 0:
            return hkdf_expand_into(*given)
        if self.late:
            hkdf_expand_into(*given)
        if self.left == -1:
            raise self.error
        return None


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("act", ["open", "accept"])
@pytest.mark.parametrize("core", CALLING, ids=str)
def test_a_record_whose_key_cannot_be_kept_is_not_accepted(
    core, monkeypatch, act, late
):
    for derivations in count():
        ada, grace = ends(core)
        first, _, third, _, fifth = ada.seal_many(
            [b"1", b"2", b"3", b"4", b"5"], now=1.0
        )
        calls: dict[str, Callable[[], Any]] = {
            "open": partial(grace.open, third, now=2.0),
            "accept": partial(grace.accept, 2, now=2.0),
        }
        grace.open(first, now=1.0)
        before = grace.received, grace.expires_at
        failure = Failure(MemoryError, derivations, late=late)
        monkeypatch.setattr(core.module, "hkdf_expand_into", failure)
        with suppress(MemoryError):
            calls[act]()
            break
        monkeypatch.undo()
        assert (grace.received, grace.expires_at) == before
        assert grace.open(third, now=2.0) == b"3"
        assert grace.open(fifth, now=2.0) == b"5"
    assert derivations >= 1
    assert failure.left == 0


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize("core", CALLING, ids=str)
def test_an_array_does_not_keep_what_was_not_accepted(core, monkeypatch, error):
    for derivations in count():
        ada, grace = ends(core)
        rows = np.full((3, 5000), 7, np.uint8)  # the third is of another generation
        wire, out = ada.seal_batch(rows, now=1.0), np.zeros_like(rows)
        failure = Failure(error, derivations, late=False)
        monkeypatch.setattr(core.module, "hkdf_expand_into", failure)
        with suppress(error):
            grace.open_batch(wire, out, now=1.0)
            break
        assert grace.received == 2
        assert not out[2].any()
        monkeypatch.undo()
        assert grace.open(wire[2], now=1.0) == bytes(rows[2])
    assert derivations >= 1
    assert failure.left == 0


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("core", CALLING, ids=str)
def test_one_who_is_late_does_not_take_a_key_that_came_too_soon(
    core, monkeypatch, late
):
    """While a batch is between two keys, others are at the second, then break off."""
    between: list[Callable[[], Any]] = []

    class Cipher:
        def __init__(self, key: Any) -> None:
            self.real = ChaCha20Poly1305(key)

        def encrypt(self, nonce: bytes, data: Any, aad: bytes) -> bytes:
            while between and nonce[-1] == 1:
                between.pop()()
            return self.real.encrypt(nonce, data, aad)

        encrypt_into = decrypt = decrypt_into = None

    monkeypatch.setattr(core.module, "ChaCha20Poly1305", Cipher)
    ada, _ = ends(core, replace(FEW, name=f"hooked {core} {late}"))
    monkeypatch.undo()
    _, grace = ends(core)
    others = []

    def go_on() -> None:
        monkeypatch.setattr(core.module, "ChaCha20Poly1305", Cipher)
        others.append(ada.seal(b"fourth", now=1.0))
        failure = Failure(KeyboardInterrupt, 0, late=late)
        monkeypatch.setattr(core.module, "hkdf_expand_into", failure)
        with pytest.raises(KeyboardInterrupt):
            ada.seal(b"lost", now=1.0)
        monkeypatch.setattr(core.module, "hkdf_expand_into", hkdf_expand_into)

    between.append(go_on)
    monkeypatch.setattr(core.module, "ChaCha20Poly1305", Cipher)
    records = ada.seal_many([b"first", b"second", b"third"], now=1.0)
    records += others
    records.append(ada.seal(b"sixth", now=1.0))
    monkeypatch.undo()
    assert grace.open_many(records, now=1.0) == [
        b"first",
        b"second",
        b"third",
        b"fourth",
        b"sixth",
    ]
