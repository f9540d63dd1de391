"""Canonical base64url: one value, one text (CRYPTO-04)."""

from __future__ import annotations

import array
import base64
import re
from collections.abc import Iterator
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.encoding import b64u_decode, b64u_encode, base64url
from sage.errors import Code, DecodeError, UsageError


@pytest.fixture(scope="module", autouse=True)
def kernels(twin: ModuleType) -> Iterator[None]:
    """Both twins give the same."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("base64url_decode", "base64url_encode"):
            patch.setattr(base64url, name, getattr(twin, name))
        yield


# RFC 4648, section 10, without the padding.
@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"f", "Zg"),
        (b"fo", "Zm8"),
        (b"foo", "Zm9v"),
        (b"foob", "Zm9vYg"),
        (b"fooba", "Zm9vYmE"),
        (b"foobar", "Zm9vYmFy"),
        (b"\xfb\xff\xfe", "-__-"),
    ],
)
def test_known_values(data: bytes, text: str) -> None:
    assert b64u_encode(data) == text
    assert b64u_decode(text) == data
    assert b64u_decode(text, size=len(data)) == data


@given(st.binary(max_size=300) | st.binary(min_size=500, max_size=2000))
def test_round_trip_agrees_with_the_standard_library(data: bytes) -> None:
    text = b64u_encode(data)
    assert text == base64.urlsafe_b64encode(data).decode().rstrip("=")
    assert b64u_decode(text) == data


def decode_by_definition(text: str) -> bytes | None:
    """Decode with the standard library; canonical is what encodes to the same text."""
    if re.fullmatch(r"[A-Za-z0-9_-]*", text) is None or len(text) % 4 == 1:
        return None
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    again = base64.urlsafe_b64encode(data).decode().rstrip("=")
    return data if again == text else None


@given(st.text("AQgwEIMU048Bz19-_+/= \n\ré", max_size=9))
def test_only_canonical_text_is_decoded(text: str) -> None:
    expected = decode_by_definition(text)
    if expected is not None:
        assert b64u_decode(text) == expected
    else:
        with pytest.raises(DecodeError) as refusal:
            b64u_decode(text)
        assert refusal.value.code is Code.BASE64_MALFORMED


@given(
    st.binary(min_size=96, max_size=400),
    st.text("AQgwEIMU048Bz19-_+/= \n\ré", max_size=4),
    st.integers(0, 600),
    st.integers(0, 4),
)
def test_only_canonical_text_is_decoded_where_it_is_long(
    data: bytes, text: str, position: int, cut: int
) -> None:
    whole = b64u_encode(data)
    changed = whole[:position] + text + whole[position + cut :]
    expected = decode_by_definition(changed)
    if expected is not None:
        assert b64u_decode(changed) == expected
    else:
        with pytest.raises(DecodeError, match="base64url") as refusal:
            b64u_decode(changed)
        assert refusal.value.code is Code.BASE64_MALFORMED


@pytest.mark.parametrize("before", ["", "Zm9v" * 32], ids=["short", "long"])
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Zg==", id="padding"),
        pytest.param("Zm8=", id="one-pad"),
        pytest.param("Zm9v=", id="superfluous-pad"),
        pytest.param("+__-", id="plus"),
        pytest.param("-/_-", id="slash"),
        pytest.param("Zm 9v", id="space"),
        pytest.param("Zm9v\n", id="final-newline"),
        pytest.param("\tZm9v", id="tab"),
        pytest.param("Z", id="length-1"),
        pytest.param("Zm9vY", id="length-5"),
        pytest.param("Zh", id="bits-behind-one-byte"),
        pytest.param("Zm9vYh", id="bits-behind-four-bytes"),
        pytest.param("Zm9", id="bits-behind-two-bytes"),
        pytest.param("Zm9vYmF", id="bits-behind-five-bytes"),
        pytest.param("Zm9\u00e9", id="latin-1"),
        pytest.param("Zm9\uff41", id="full-width-letter"),
        pytest.param("Zm9\u0661", id="arabic-digit"),
        pytest.param("Zm\x009", id="nul"),
        pytest.param("Zm9\ud800", id="lone-surrogate"),
    ],
)
def test_refuses_what_is_not_canonical(text: str, before: str) -> None:
    with pytest.raises(DecodeError) as caught:
        b64u_decode(before + text)
    assert caught.value.code is Code.BASE64_MALFORMED


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_refuses_another_size(size: int) -> None:
    text = b64u_encode(bytes(16))
    with pytest.raises(DecodeError) as caught:
        b64u_decode(text, size=size)
    assert caught.value.code is Code.BASE64_MALFORMED


@given(st.integers(0, 40), st.integers(0, 40))
def test_size_is_exact(actual: int, wanted: int) -> None:
    text = b64u_encode(bytes(actual))
    if actual == wanted:
        assert b64u_decode(text, size=wanted) == bytes(actual)
    else:
        with pytest.raises(DecodeError):
            b64u_decode(text, size=wanted)


@given(st.text(max_size=24) | st.text("AQgw-_=+/ ", max_size=12))
def test_any_text_decodes_to_what_encodes_to_it(text: str) -> None:
    """Two texts never mean the same bytes."""
    try:
        data = b64u_decode(text)
    except DecodeError as exc:
        assert exc.code is Code.BASE64_MALFORMED  # noqa: PT017  # either way is right
    else:
        assert b64u_encode(data) == text


class Text(str):
    __slots__ = ()


def test_decode_takes_every_str() -> None:
    assert b64u_decode(Text("Zm9vYg")) == b"foob"
    with pytest.raises(DecodeError):
        b64u_decode(Text("Zm9v\u00e9"))


@pytest.mark.parametrize("size", range(500, 530))
def test_every_rest_where_pairs_are_looked_up(size: int) -> None:
    data = bytes(at % 251 for at in range(size))
    assert b64u_encode(memoryview(data)) == b64u_encode(data)
    assert b64u_decode(b64u_encode(data), size=size) == data


@pytest.mark.parametrize("text", [b"Zg", None, 7, ["Zg"]])
def test_decode_wants_str(text: object) -> None:
    with pytest.raises(UsageError):
        b64u_decode(text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data",
    [
        b"\x01\x00",
        bytearray(b"\x01\x00"),
        memoryview(b"\x01\x00"),
        array.array("H", [1]),
    ],
    ids=lambda data: type(data).__name__,
)
def test_encode_takes_every_buffer(data: bytes) -> None:
    assert b64u_encode(data) == "AQA"


@pytest.mark.parametrize("data", ["text", None, 3, memoryview(b"abcd")[::2]])
def test_encode_wants_a_contiguous_buffer(data: object) -> None:
    with pytest.raises(UsageError):
        b64u_encode(data)  # type: ignore[arg-type]


def test_a_buffer_that_was_released_is_none() -> None:
    view = memoryview(b"abc")
    view.release()
    with pytest.raises(UsageError):
        b64u_encode(view)


def test_columns_before_rows_are_not_contiguous() -> None:
    numpy = pytest.importorskip("numpy")
    with pytest.raises(UsageError):
        b64u_encode(numpy.zeros((2, 3), "u1", order="F"))
