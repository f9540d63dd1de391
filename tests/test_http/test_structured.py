"""Structured fields: what `http-sf` gives, and its errors as ours."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.errors import Code, DecodeError, UsageError
from sage.http import Policy, RequestMessage, sign_request
from sage.http.structured import (
    STRUCTURED_FIELDS,
    check_kinds,
    parse_structured,
    serialize_member,
    serialize_structured,
)
from sage.identity import SigningKey

from .conftest import outcome


def test_the_rfcs_example_dictionary() -> None:
    """RFC 9421, 2.1.1 and 2.1.2."""
    parsed = parse_structured(" a=1, b=2;x=1;y=2, c=(a b c), d", "dictionary")
    assert serialize_structured(parsed) == "a=1, b=2;x=1;y=2, c=(a b c), d"
    members = {name: serialize_member(member) for name, member in parsed.items()}
    assert members == {"a": "1", "b": "2;x=1;y=2", "c": "(a b c)", "d": "?1"}


@pytest.mark.parametrize(
    ("text", "kind", "strict"),
    [
        (
            "a=1,    b=2;x=1;y=2,   c=(a   b   c)",
            "dictionary",
            "a=1, b=2;x=1;y=2, c=(a b c)",
        ),
        ("a,b ,  c", "list", "a, b, c"),
        ("  5;a=?1", "item", "5;a"),
        ("", "dictionary", ""),
        ("", "list", ""),
    ],
)
def test_strict_form(text: str, kind: str, strict: str) -> None:
    assert serialize_structured(parse_structured(text, kind)) == strict


@pytest.mark.parametrize(
    "text",
    ["a=1, a=2", "a=(b);x=1;x=2", 'a=("b";x;x)', "a=", "a=1,", "A=1", "ä=1", "\x00"],
)
def test_what_is_no_dictionary(text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_structured(text, "dictionary", code=Code.DIGEST_MISMATCH)
    assert caught.value.code is Code.DIGEST_MISMATCH


@given(
    st.one_of(
        st.text(),
        st.text(alphabet='()":;=,?@%.*-_ \\\t0129azAZ+/'),
        st.binary().map(lambda raw: raw.decode("latin-1")),
    ),
    st.sampled_from(["dictionary", "list", "item"]),
)
def test_any_text_is_structured_or_a_documented_error(text: str, kind: str) -> None:
    parsed = outcome(lambda: parse_structured(text, kind))
    if parsed is not Code.SIG_MALFORMED:
        strict = serialize_structured(parsed)
        assert serialize_structured(parse_structured(strict, kind)) == strict


def test_the_fields_that_are_known() -> None:
    assert STRUCTURED_FIELDS["signature-input"] == "dictionary"
    assert set(STRUCTURED_FIELDS.values()) == {"dictionary", "list", "item"}
    assert all(name == name.lower() for name in STRUCTURED_FIELDS)


@pytest.mark.parametrize(
    "fields",
    [
        *({"x-a": kind} for kind in ("Dictionary", "sf-list", "", None, 5, [])),
        *({"X-A": "item"}, {5: "item"}, [("x-a", "item")], "item", None, 5),
    ],
)
def test_a_table_that_nothing_could_be_parsed_by(
    fields: Any, key: SigningKey, request_message: RequestMessage
) -> None:
    """Else whoever covers such a field would find out, by an error that is not ours."""
    with pytest.raises(UsageError):
        check_kinds(fields)
    with pytest.raises(UsageError):
        Policy(structured_fields=fields)
    with pytest.raises(UsageError):
        sign_request(
            request_message,
            key,
            created=1,
            expires=2,
            nonce="x",
            structured_fields=fields,
        )
