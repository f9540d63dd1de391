"""``Signature-Input`` and ``Signature``: the quick way is the library's way."""

from __future__ import annotations

from typing import Any

import http_sf
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sage.errors import Code, DecodeError
from sage.http.signature_input import (
    encode_signature,
    encode_string,
    is_label,
    parse_signature_input,
    parse_signatures,
)

from .conftest import outcome

RFC = (
    'sig1=("@method" "@target-uri" "@authority" "content-digest" "cache-control")'
    ';created=1618884475;keyid="test-key-rsa-pss"'
)


def test_the_rfcs_example() -> None:
    (found,) = parse_signature_input(RFC).values()
    assert [c.name for c in found.components] == [
        "@method",
        "@target-uri",
        "@authority",
        "content-digest",
        "cache-control",
    ]
    assert dict(found.parameters) == {
        "created": 1618884475,
        "keyid": "test-key-rsa-pss",
    }
    assert found.text == RFC.removeprefix("sig1=")


def test_the_order_of_parameters_stays() -> None:
    text = 'a=("date");tag="x";created=1;unknown=?1;keyid="k"'
    (found,) = parse_signature_input(text).values()
    assert list(found.parameters) == ["tag", "created", "unknown", "keyid"]
    assert found.text == '("date");tag="x";created=1;unknown;keyid="k"'


def test_several_labels() -> None:
    found = parse_signature_input('b=("date");x=1, a=()')
    assert list(found) == ["b", "a"]
    assert found["a"].components == ()
    assert parse_signatures("b=:YWI=:, a=:YQ==:") == {"b": b"ab", "a": b"a"}


@pytest.mark.parametrize(
    ("text", "strict"),
    [
        ('a=( "date"   "host" );  created=1', '("date" "host");created=1'),
        ('a=("date");created=007', '("date");created=7'),
        ('a=("date");created=-0', '("date");created=0'),
        ('a=("date");nonce="\\"q\\\\"', '("date");nonce="\\"q\\\\"'),
        ('a=("x";key="(");b="(y)"', '("x";key="(");b="(y)"'),
        ('a=("date");x=1.50', '("date");x=1.5'),
    ],
)
def test_the_text_is_strict(text: str, strict: str) -> None:
    assert parse_signature_input(text)["a"].text == strict


@pytest.mark.parametrize(
    "text",
    [
        "a",
        'a="date"',
        "a=(date)",
        'a=("date"',
        'a=("date")created=1',
        'a=("date");created=1;created=1',
        'a=("date");created=1;x="y";created=2',
        'a=("date"), a=("host")',
        'a=("date");created=1000000000000000',
        'A=("date")',
        'a=("date"),',
        'a=("date")\n',
        'a=("dàte")',
        "a=()\x00",
        'a=("a);x="b")',
    ],
)
def test_what_is_no_signature_input(text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_signature_input(text)
    assert caught.value.code is Code.SIG_MALFORMED


@pytest.mark.parametrize(
    "text",
    ["a", "a=1", "a=(:YQ==:)", "a=:YQ==:;b=1", "a=:YQ==:, a=:YQ==:", "a=:%:", "a=:Y:"],
)
def test_what_is_no_signature(text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_signatures(text)
    assert caught.value.code is Code.SIG_MALFORMED


def test_what_was_parsed_is_kept_by_its_text() -> None:
    one, other = f'{RFC};nonce="1"', f'{RFC};nonce="2"'
    assert parse_signature_input(one) is parse_signature_input(one)
    first, second = parse_signature_input(one), parse_signature_input(other)
    # Another nonce: the list of components is the same object all the same.
    assert first["sig1"].components is second["sig1"].components
    assert parse_signature_input.cache_info().maxsize == 512


# --- the quick way against the library ---------------------------------------------


def by_library(text: str) -> Any:
    """Read a field with `http-sf` alone: labels, parameters and strict texts."""

    def refuse(name: str, where: str) -> None:
        raise ValueError(name, where)

    parsed: Any = http_sf.parse(
        text.encode(), tltype="dictionary", on_duplicate_key=refuse
    )
    return {
        name: (dict(parameters), http_sf.ser([(items, parameters)]))
        for name, (items, parameters) in parsed.items()
    }


KEYS = st.from_regex(r"[a-z*][a-z0-9_\-.*]{0,6}", fullmatch=True)
STRINGS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12).map(
    encode_string
)
NUMBERS = st.integers(-(10**15) + 1, 10**15 - 1).map(str)
VALUES = st.one_of(STRINGS, NUMBERS, st.just("?1"), st.just("token"), st.just(":YQ==:"))
PARAMETERS = st.lists(st.tuples(KEYS, VALUES), max_size=5).map(
    lambda pairs: "".join(f";{key}={value}" for key, value in pairs)
)
NAMES = st.lists(
    st.sampled_from(['"date"', '"@method"', '"x";key="(;)"', '"y";bs', '"host"']),
    unique=True,
).map(" ".join)
FIELDS = st.builds("{}=({}){}".format, KEYS, NAMES, PARAMETERS)


@given(FIELDS)
@example('a=("date");b="";c=0;d="="')
def test_a_field_reads_as_the_library_reads_it(text: str) -> None:
    found = outcome(lambda: parse_signature_input(text))
    try:
        wanted = by_library(text)
    except ValueError:
        assert found is Code.SIG_MALFORMED
        return
    read = {name: (dict(m.parameters), m.text) for name, m in found.items()}
    assert read == wanted
    assert all(
        type(a) is type(b)
        for name in wanted
        for a, b in zip(read[name][0].values(), wanted[name][0].values(), strict=True)
    )


@given(FIELDS, st.data())
def test_a_spoilt_field_reads_as_the_library_reads_it(
    text: str, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(text)))
    piece = data.draw(st.text(alphabet='()";=, \\a0:\n', max_size=2))
    cut = data.draw(st.integers(0, 2))
    spoilt = text[:place] + piece + text[place + cut :]
    found = outcome(lambda: parse_signature_input(spoilt))
    try:
        wanted = by_library(spoilt)
    except (ValueError, TypeError):
        assert found is Code.SIG_MALFORMED
        return
    # We may refuse more (what is no component), and never read anything else.
    if found is not Code.SIG_MALFORMED:
        assert {n: (dict(m.parameters), m.text) for n, m in found.items()} == wanted


@given(st.text(), st.text(alphabet='()";=, \\ab0:\n'))
def test_any_text_is_read_or_a_documented_error(text: str, other: str) -> None:
    for value in (text, other):
        for parse in (parse_signature_input, parse_signatures):
            found = outcome(lambda parse=parse, value=value: parse(value))  # type: ignore[misc]
            assert isinstance(found, Code) or hasattr(found, "items")


@given(KEYS, st.binary(min_size=1, max_size=100))
def test_signatures_round_trip(label: str, signature: bytes) -> None:
    assert parse_signatures(encode_signature(label, signature)) == {label: signature}


def test_strings_and_labels() -> None:
    assert encode_string('a"b\\') == '"a\\"b\\\\"'
    assert encode_string("ä") is None
    assert encode_string("a\n") is None
    assert is_label("sig1")
    assert is_label("*a_-.*")
    for wrong in ("", "Sig", "1a", "a b", "a\n", "ä"):
        assert not is_label(wrong)
