from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.handshake.erase import wipe


@given(st.lists(st.binary(max_size=100)))
def test_buffers_become_zeros_of_the_same_length(contents):
    buffers = [bytearray(content) for content in contents]
    wipe(*buffers)
    assert buffers == [bytes(len(content)) for content in contents]


def test_a_viewed_buffer_is_overwritten_in_place():
    buffer = bytearray(b"secret")
    view = memoryview(buffer)
    wipe(buffer)
    assert view == bytes(6)


def test_bytes_cannot_be_wiped():
    with pytest.raises(TypeError):
        wipe(b"secret")
