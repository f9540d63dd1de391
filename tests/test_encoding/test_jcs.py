"""Canonical JSON (RFC 8785): vectors, and both paths against the reference."""

from __future__ import annotations

import hashlib
import json
import struct
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from sage.encoding import encode_string, jcs, parse_strict
from sage.errors import UsageError
from sage.limits import JSON_DEPTH_MAX, JSON_INTEGER_MAX

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors/draft1/jcs.json").read_bytes()
)["vectors"]

safe_integers = st.integers(-JSON_INTEGER_MAX, JSON_INTEGER_MAX)
floats = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ascii_texts = st.text(st.characters(max_codepoint=127), max_size=12)


def values(scalars: st.SearchStrategy[Any], names: st.SearchStrategy[str]) -> Any:
    return st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=5) | st.dictionaries(names, inner, max_size=5)
        ),
        max_leaves=20,
    )


plain_values = values(st.none() | st.booleans() | safe_integers | texts, ascii_texts)
any_values = values(st.none() | st.booleans() | safe_integers | floats | texts, texts)


def nested(depth: int, innermost: Any = 0) -> Any:
    value = innermost
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_draft1_vectors(vector: dict[str, Any]) -> None:
    # That generation's parser is lenient: every number is a double.
    value = json.loads(vector["input"]["json"], parse_int=float)
    canonical = jcs(value)
    assert canonical.hex() == vector["output"]["canonical_hex"]
    assert canonical.decode() == vector["output"]["canonical"]
    assert hashlib.sha256(canonical).hexdigest() == vector["output"]["sha256"]


# RFC 8785, appendix B: IEEE 754 bits and their text.
@pytest.mark.parametrize(
    ("bits", "text"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("ffefffffffffffff", "-1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("c340000000000000", "-9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("44b52d02c7e14af7", "1.0000000000000001e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef4f", "999999999999999900000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("41b3de4355555554", "333333333.33333325"),
        ("41b3de4355555555", "333333333.3333333"),
        ("41b3de4355555556", "333333333.3333334"),
        ("41b3de4355555557", "333333333.33333343"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_numbers_of_appendix_b(bits: str, text: str) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert jcs(number) == text.encode()


@given(any_values)
def test_agrees_with_the_reference(value: Any) -> None:
    assert jcs(value) == rfc8785.dumps(value)


@given(plain_values)
def test_the_fast_path_writes_what_the_slow_one_writes(value: Any) -> None:
    slow = jcs({"\u00e9": value})  # a name beyond ASCII forces the slow path
    assert slow == '{"\u00e9":'.encode() + jcs(value) + b"}"


@given(any_values)
def test_canonical_text_is_a_fixed_point(value: Any) -> None:
    canonical = jcs(value)
    assert jcs(json.loads(canonical, parse_int=float)) == canonical


@given(plain_values)
def test_strict_parser_reads_back_what_was_written(value: Any) -> None:
    assert parse_strict(jcs(value)) == value


@given(st.text())
def test_a_string_alone_is_written_the_same(text: str) -> None:
    assert encode_string(text).encode() == jcs(text)


def test_names_sort_by_utf16_unit_not_by_code_point() -> None:
    # U+1F600 is D83D DE00 in UTF-16, so it sorts before U+FB33.
    assert jcs({"\ufb33": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ufb33":1}'.encode()


@given(plain_values)
def test_tuples_are_arrays(value: Any) -> None:
    assert jcs((value, ())) == jcs([value, []])


@pytest.mark.parametrize("number", [JSON_INTEGER_MAX, -JSON_INTEGER_MAX, 0, -1])
def test_safe_integers_keep_every_digit(number: int) -> None:
    assert jcs(number) == str(number).encode()


class Word(StrEnum):
    ONE = "one"


@pytest.mark.parametrize(
    "value",
    [
        JSON_INTEGER_MAX + 1,
        -JSON_INTEGER_MAX - 1,
        10**400,
        float("inf"),
        float("-inf"),
        float("nan"),
        b"bytes",
        bytearray(b"x"),
        {1, 2},
        pytest.param(object(), id="object()"),
        1j,
        Word.ONE,
        {1: "name"},
        {None: 1},
        {b"n": 1},
        "\ud800",
        {"\udc00": 1},
        {"\ud800\u00e9": 1.5},
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    "wrap",
    [lambda v: v, lambda v: [0, v], lambda v: {"a": v}, lambda v: [1.5, {"\u00e9": v}]],
    ids=["bare", "array", "object", "slow-path"],
)
def test_refuses_what_is_not_json(value: Any, wrap: Any) -> None:
    with pytest.raises(UsageError):
        jcs(wrap(value))


@pytest.mark.parametrize("innermost", [0, 1.5], ids=["fast", "slow"])
def test_depth(innermost: float) -> None:
    deepest = nested(JSON_DEPTH_MAX, innermost)
    assert jcs(deepest).count(b"[") == JSON_DEPTH_MAX
    with pytest.raises(UsageError):
        jcs([deepest])


def test_a_cycle_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(UsageError):
        jcs(value)
