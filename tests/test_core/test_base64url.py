"""The twins write and read base64url alike."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage import _core_py as pure


@given(st.binary(max_size=80) | st.binary(min_size=510, max_size=600))
def test_there_and_back(twin, data):
    text = twin.base64url_encode(data)
    assert text == base64.urlsafe_b64encode(data).decode().rstrip("=")
    assert twin.base64url_encode(bytearray(data)) == text
    assert twin.base64url_encode(memoryview(data)) == text
    assert twin.base64url_decode(text) == data


@given(
    st.text(max_size=12)
    | st.text("AQgwEIMU048Bz19-_+/= \n\ré", max_size=12)
    | st.integers()
    | st.binary(max_size=8)
)
def test_what_is_none_and_what_is_not(twin, text):
    assert twin.base64url_decode(text) == pure.base64url_decode(text)


class Liar(str):
    """Says other things of itself than it is."""

    __slots__ = ()

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return "x"

    def encode(self, *given):
        return b"Zm9v"


def test_a_text_is_what_it_holds(twin):
    assert twin.base64url_decode(Liar("Zm9vYg")) == b"foob"
    assert twin.base64url_decode(Liar("Zm9vYh")) is None


@pytest.mark.parametrize("size", [4, 6, 7, 8])
def test_each_character_at_each_place(twin, size):
    for at in range(size):
        for character in map(chr, range(256)):
            text = "A" * at + character + "A" * (size - at - 1)
            assert twin.base64url_decode(text) == pure.base64url_decode(text), text


@pytest.mark.parametrize(
    "text", ["\u4141", "\u4141" * 2, "\u5941" * 8, "\U00014141" * 4]
)
def test_wide_characters_made_of_bytes_of_the_alphabet(twin, text):
    assert twin.base64url_decode(text) is None


@pytest.mark.parametrize("data", ["text", None, 3, memoryview(b"abcd")[::2]])
def test_what_is_no_contiguous_buffer(twin, data):
    with pytest.raises((TypeError, ValueError, BufferError)):
        twin.base64url_encode(data)


def test_a_buffer_is_given_back(twin):
    data = bytearray(b"abc")
    assert twin.base64url_encode(data) == "YWJj"
    data.append(0)  # whoever held it would forbid that
