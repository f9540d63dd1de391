"""The strict parser: every refusal of JCS-01..04, and nothing else."""

from __future__ import annotations

import json
import math
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.encoding import parse_strict
from sage.encoding.strict_json import has_more
from sage.errors import Code, DecodeError, UsageError
from sage.limits import JSON_DEPTH_MAX, JSON_INTEGER_MAX, JSON_MAX_BYTES

json_like = st.text('{}[]":,0123456789.eE+-\\u \ntrufalsnNaIiy', max_size=40)


def refused(data: bytes | str) -> Code:
    with pytest.raises(DecodeError) as caught:
        parse_strict(data)
    return caught.value.code


@pytest.mark.parametrize(
    "data",
    [
        # Duplicate names, also after unescaping and deep inside.
        pytest.param(b'{"a":1,"a":1}', id="duplicate"),
        pytest.param(b'{"a":1,"\\u0061":2}', id="duplicate-escaped"),
        pytest.param(b'[{"x":{"":1,"b":2,"":3}}]', id="duplicate-nested"),
        pytest.param('{"\U0001f600":1,"\\ud83d\\ude00":1}', id="duplicate-pair"),
        # Encoding.
        pytest.param(b'\xef\xbb\xbf{"a":1}', id="byte-order-mark"),
        pytest.param("\ufeff{}", id="byte-order-mark-in-text"),
        pytest.param(b'"\xff"', id="invalid-utf8"),
        pytest.param(b'"\xc0\x80"', id="overlong-utf8"),
        pytest.param(b'"\xed\xa0\x80"', id="surrogate-in-utf8"),
        pytest.param("[1]".encode("utf-16"), id="utf-16"),
        pytest.param("[1]".encode("utf-32-le"), id="utf-32"),
        # Lone surrogates, raw and escaped, as values and as names.
        pytest.param('"\ud800"', id="surrogate-in-text"),
        pytest.param(b'"\\ud800"', id="high-surrogate"),
        pytest.param(b'"\\udfff"', id="low-surrogate"),
        pytest.param(b'"\\udc00\\ud800"', id="swapped-surrogates"),
        pytest.param(b'["a",{"b":["\\ud800x"]}]', id="surrogate-nested"),
        pytest.param(b'{"\\ud800":1}', id="surrogate-name"),
        # Numbers that a double cannot hold, or that have two readings.
        pytest.param(b"NaN", id="nan"),
        pytest.param(b"Infinity", id="infinity"),
        pytest.param(b"[-Infinity]", id="minus-infinity"),
        pytest.param(b"1e999", id="overflow"),
        pytest.param(b"-1e999", id="negative-overflow"),
        pytest.param(b"1" * 400 + b".0", id="overflow-without-exponent"),
        pytest.param(b"-0", id="negative-zero"),
        pytest.param(b"-0.0", id="negative-zero-float"),
        pytest.param(b"-0e0", id="negative-zero-exponent"),
        pytest.param(b"-1e-999", id="negative-underflow"),
        pytest.param(b'{"a":[-0]}', id="negative-zero-nested"),
        pytest.param(str(JSON_INTEGER_MAX + 1), id="integer-too-large"),
        pytest.param(str(-JSON_INTEGER_MAX - 1), id="integer-too-small"),
        pytest.param(b"9" * 5000, id="integer-of-5000-digits"),
        # Not JSON at all.
        pytest.param(b"", id="empty"),
        pytest.param(b"   ", id="white-space"),
        pytest.param(b"{} {}", id="trailing-value"),
        pytest.param(b"1 x", id="trailing-data"),
        pytest.param(b"[1,]", id="trailing-comma"),
        pytest.param(b'{"a":1,}', id="trailing-comma-object"),
        pytest.param(b"{'a':1}", id="single-quotes"),
        pytest.param(b"{a:1}", id="bare-name"),
        pytest.param(b"{1:1}", id="number-name"),
        pytest.param(b"01", id="leading-zero"),
        pytest.param(b"+1", id="plus"),
        pytest.param(b".5", id="no-integer-part"),
        pytest.param(b"1.", id="no-fraction"),
        pytest.param(b"0x10", id="hexadecimal"),
        pytest.param(b"1_000", id="underscore"),
        pytest.param("\u0661", id="arabic-digit"),
        pytest.param("[1\u00a0]", id="no-break-space"),
        pytest.param(b"True", id="python-literal"),
        pytest.param(b'"\x01"', id="raw-control"),
        pytest.param(b'"\n"', id="raw-newline"),
        pytest.param(b'"\\x41"', id="unknown-escape"),
        pytest.param(b'"\\u12"', id="short-escape"),
        pytest.param(b'"\\u 123"', id="spaced-escape"),
        pytest.param(b'"\\u+123"', id="signed-escape"),
        pytest.param(b'"\\u0x12"', id="prefixed-escape"),
        pytest.param(b'"a', id="open-string"),
        pytest.param(b"[", id="open-array"),
        pytest.param(b"// x\n1", id="comment"),
        pytest.param(b"\x00", id="nul"),
        # Depth.
        pytest.param(b"[" * 65 + b"]" * 65, id="65-arrays"),
        pytest.param(b'{"a":' * 65 + b"1" + b"}" * 65, id="65-objects"),
        pytest.param(b"[" * 1_000_000, id="a-million-arrays"),
        pytest.param(b'{"a":' * 1_000_000, id="a-million-objects"),
    ],
)
def test_refused(data: bytes | str) -> None:
    assert refused(data) is Code.JSON_MALFORMED


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"null", None),
        (b" [ true , false ] \r\n", [True, False]),
        (b'{"b":1,"a":{"b":2}}', {"b": 1, "a": {"b": 2}}),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'"\\\\ud800"', "\\ud800"),
        ('"\U0001f600"', "\U0001f600"),
        (b'"\\u0000\\n\\/"', "\0\n/"),
        ('"\ufeff"', "\ufeff"),
        (b"0", 0),
        (b"0.0", 0.0),
        (b"-1", -1),
        (b"1e2", 100.0),
        (b"-5e-324", -5e-324),
        (b"1.7976931348623157e308", 1.7976931348623157e308),
        (str(JSON_INTEGER_MAX), JSON_INTEGER_MAX),
        (str(-JSON_INTEGER_MAX), -JSON_INTEGER_MAX),
        (b'""', ""),
        (b"{}", {}),
    ],
)
def test_accepted(data: bytes | str, value: Any) -> None:
    parsed = parse_strict(data)
    assert parsed == value
    assert type(parsed) is type(value)


def test_positive_underflow_is_zero() -> None:
    parsed = parse_strict(b"1e-999")
    assert parsed == 0
    assert math.copysign(1, parsed) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("bracket", [(b"[", b"]"), (b'{"a":', b"}")])
def test_depth_64_is_accepted(bracket: tuple[bytes, bytes]) -> None:
    left, right = bracket
    value: Any = parse_strict(left * JSON_DEPTH_MAX + b"7" + right * JSON_DEPTH_MAX)
    for _ in range(JSON_DEPTH_MAX):
        value = value[0] if isinstance(value, list) else value["a"]
    assert value == 7


@pytest.mark.parametrize(
    ("data", "size"),
    [(b'"abc"', 5), ('"abc"', 5), ('"\u20ac"', 5), ('"\u20ac"'.encode(), 5)],
)
def test_size_counts_utf8_bytes(data: bytes | str, size: int) -> None:
    parse_strict(data, max_bytes=size)
    with pytest.raises(DecodeError) as caught:
        parse_strict(data, max_bytes=size - 1)
    assert caught.value.code is Code.SIZE_EXCEEDED


def test_as_many_characters_as_bytes_are_allowed_may_be_too_many() -> None:
    text = '"\u20ac"'
    with pytest.raises(DecodeError) as caught:
        parse_strict(text, max_bytes=len(text))
    assert caught.value.code is Code.SIZE_EXCEEDED


def test_sixteen_mebibytes_and_not_one_more() -> None:
    longest = b'"' + b"x" * (JSON_MAX_BYTES - 2) + b'"'
    assert parse_strict(longest) == "x" * (JSON_MAX_BYTES - 2)
    for data in (longest + b" ", (longest + b" ").decode()):
        with pytest.raises(DecodeError) as caught:
            parse_strict(data, max_bytes=1 << 40)
        assert caught.value.code is Code.SIZE_EXCEEDED


def test_size_is_checked_before_the_encoding() -> None:
    with pytest.raises(DecodeError) as caught:
        parse_strict(b"\xff" * 10, max_bytes=9)
    assert caught.value.code is Code.SIZE_EXCEEDED


@pytest.mark.parametrize(
    "data",
    [b"[1] ", bytearray(b"[1] "), memoryview(b"[1] "), array("H", [0x315B, 0x205D])],
    ids=lambda data: type(data).__name__,
)
def test_takes_every_buffer(data: bytes) -> None:
    assert parse_strict(data) == [1]


@pytest.mark.parametrize("data", [None, 1, ["{}"], {}, memoryview(b"1 2 ")[::2]])
def test_wants_text_or_a_contiguous_buffer(data: object) -> None:
    with pytest.raises(UsageError):
        parse_strict(data)  # type: ignore[arg-type]


def test_a_buffer_that_was_released_is_none() -> None:
    view = memoryview(b"[1]")
    view.release()
    with pytest.raises(UsageError):
        parse_strict(view)


@given(st.binary(max_size=60) | json_like.map(str.encode))
def test_any_bytes_parse_or_are_refused_by_name(data: bytes) -> None:
    check_against_standard_library(data)


@given(st.text(max_size=60) | json_like)
def test_any_text_parses_or_is_refused_by_name(text: str) -> None:
    check_against_standard_library(text)


def check_against_standard_library(data: bytes | str) -> None:
    """Strict may refuse what the standard library takes, never the reverse."""
    try:
        value = parse_strict(data)
    except DecodeError as exc:
        assert exc.code is Code.JSON_MALFORMED  # noqa: PT017  # either way is right
    else:
        assert value == json.loads(data)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-JSON_INTEGER_MAX, JSON_INTEGER_MAX)
        | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text("ab\u00e9"), inner)
        ),
        max_leaves=15,
    ),
    st.booleans(),
)
def test_reads_what_the_standard_library_writes(value: Any, ascii_only: bool) -> None:
    assert parse_strict(json.dumps(value, ensure_ascii=ascii_only)) == value


def test_many_brackets_are_no_depth() -> None:
    flat = [[], {}] * JSON_DEPTH_MAX
    assert parse_strict(json.dumps(flat)) == flat
    text = "[{" * JSON_DEPTH_MAX
    assert parse_strict(json.dumps(text)) == text


@pytest.mark.parametrize("bracket", ["[", "{"])
def test_depth_is_looked_at_from_half_of_the_brackets_on(bracket: str) -> None:
    """Whatever else there is: the other kind, few of them, or all in one text."""
    for deep in (JSON_DEPTH_MAX, JSON_DEPTH_MAX + 1):
        other = deep // 2
        left = {"[": "[", "{": '{"a":'}
        text = left[bracket] * (deep - other) + left["[{".replace(bracket, "")] * other
        ends = {"[": "]", "{": "}"}
        text += "7" + "".join(ends[c] for c in reversed(text) if c in ends)
        if deep > JSON_DEPTH_MAX:
            assert refused(text) is Code.JSON_MALFORMED
        else:
            parse_strict(text)


@given(st.text("ab,", max_size=30), st.integers(0, 12))
def test_more_than_so_many(text: str, most: int) -> None:
    assert has_more(text, ",", most) is (text.count(",") > most)
    assert has_more(text.encode(), b",", most) is (text.count(",") > most)
