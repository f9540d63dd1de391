"""Field lines: RFC 9421, section 2.1, and what may not come twice."""

from __future__ import annotations

import time

import pytest

from sage.errors import Code, DecodeError, ProtocolError
from sage.http.fields import (
    check_sizes,
    check_unrepeated,
    combined,
    lines_by_name,
    unfolded,
)


def test_the_rfcs_example_of_fields() -> None:
    """RFC 9421, 2.1: the fields of its example, and the values it gives them."""
    lines = lines_by_name(
        (
            ("Host", "www.example.com"),
            ("Date", "Tue, 20 Apr 2021 02:07:56 GMT"),
            ("X-OWS-Header", "   Leading and trailing whitespace.   "),
            ("X-Obs-Fold-Header", "Obsolete\r\n    line folding."),
            ("Cache-Control", "max-age=60"),
            ("Cache-Control", "   must-revalidate"),
            ("Example-Dict", " a=1,    b=2;x=1;y=2,   c=(a   b   c)"),
            ("X-Empty-Header", ""),
        )
    )
    assert {name: combined(values) for name, values in lines.items()} == {
        "host": "www.example.com",
        "date": "Tue, 20 Apr 2021 02:07:56 GMT",
        "x-ows-header": "Leading and trailing whitespace.",
        "x-obs-fold-header": "Obsolete line folding.",
        "cache-control": "max-age=60, must-revalidate",
        "example-dict": "a=1,    b=2;x=1;y=2,   c=(a   b   c)",
        "x-empty-header": "",
    }


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("a\t\r\n\t b", "a b"),
        ("a\r\n b\r\n c", "a b c"),
        (" a\r\n ", "a"),
        ("a\nb", "a\nb"),  # no folding: the base refuses it
        ("\u00a0a\u00a0", "\u00a0a\u00a0"),  # white space to str, not to HTTP
    ],
)
def test_white_space_and_folding(line: str, value: str) -> None:
    assert unfolded(line) == value


def test_names_are_ascii() -> None:
    # A Kelvin sign in lower case would be a k.
    with pytest.raises(DecodeError) as caught:
        lines_by_name((("\u212aeep", "1"),))
    assert caught.value.code is Code.SIG_MALFORMED


def test_sizes() -> None:
    fits = (("a", "x" * (32 * 1024 - 5)),)
    check_sizes(fits, lines_by_name(fits))
    over = (*fits, ("b", ""))
    with pytest.raises(DecodeError) as caught:
        check_sizes(over, lines_by_name(over))
    assert caught.value.code is Code.SIZE_EXCEEDED


@pytest.mark.parametrize("name", ["Signature", "Signature-Input", "Content-Digest"])
def test_signature_fields_are_shorter(name: str) -> None:
    fits = ((name, "x" * 8192),)
    check_sizes(fits, lines_by_name(fits))
    over = (*fits, (name.upper(), "x"))
    with pytest.raises(DecodeError, match=name.lower()) as caught:
        check_sizes(over, lines_by_name(over))
    assert caught.value.code is Code.SIZE_EXCEEDED


@pytest.mark.parametrize(
    "name",
    [
        "Signature",
        "signature-input",
        "CONTENT-DIGEST",
        "Content-Type",
        "X-SAGE-DID",
        "x-sage-anything",
    ],
)
def test_some_fields_come_once(name: str) -> None:
    check_unrepeated(lines_by_name(((name, "a"), ("Accept", "b"), ("Accept", "c"))))
    with pytest.raises(ProtocolError) as caught:
        check_unrepeated(lines_by_name(((name, "a"), (name.lower(), "a"))))
    assert caught.value.code is Code.SIG_MALFORMED


def test_a_run_of_white_space_costs_no_more_than_its_length() -> None:
    line = "a" + " " * 1_000_000 + "b\n"
    began = time.process_time()
    assert unfolded(line) == line
    assert time.process_time() - began < 1  # its square: ten minutes
    assert unfolded("a" + " " * 100 + "\r\n" + " \t" * 100 + "b") == "a b"
