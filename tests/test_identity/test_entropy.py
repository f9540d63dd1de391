"""Exactly as many bytes as were asked for, or none."""

from __future__ import annotations

import os

import pytest

from sage.errors import UsageError
from sage.identity.entropy import draw


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview])
def test_what_is_drawn(form: type) -> None:
    asked: list[int] = []

    def entropy(size: int) -> bytes:
        asked.append(size)
        return form(b"x" * size)  # type: ignore[no-any-return]

    assert draw(entropy, 12) == b"x" * 12
    assert type(draw(entropy, 0)) is bytes
    assert asked == [12, 0]
    assert draw(os.urandom, 16) != draw(os.urandom, 16)


@pytest.mark.parametrize("drawn", [b"", bytes(15), bytes(17), "x" * 16, 16, None])
def test_what_is_not_as_many_bytes(drawn: object) -> None:
    with pytest.raises(UsageError):
        draw(lambda size: drawn, 16)  # type: ignore[arg-type,return-value]
