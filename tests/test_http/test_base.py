"""Signature bases, byte for byte: RFC 9421, its examples and its traps."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.errors import Code, DecodeError, ProtocolError
from sage.http.base import MessageView, component_value, signature_base
from sage.http.component import named_components
from sage.http.message import RequestMessage, ResponseMessage
from sage.http.signature_input import parse_signature_input

from .conftest import RFC_CASES, changed, field_of, outcome, rfc_case


@pytest.mark.parametrize("case_id", RFC_CASES)
def test_the_bases_of_appendix_b(case_id: str) -> None:
    case = rfc_case(case_id)
    view = MessageView(case["view"])
    (given_input,) = parse_signature_input(
        field_of(case["view"], "signature-input")
    ).values()
    base = signature_base(view, given_input.components, given_input.text)
    assert base == case["signature_base"].encode()


REQUEST = RequestMessage(
    method="POST",
    target_uri="https://www.example.com/path?param=value&foo=bar&qux=",
    fields=(
        ("Host", "www.example.com"),
        ("Example-Dict", " a=1,    b=2;x=1;y=2,   c=(a   b   c), d"),
        ("Example-Header", "value, with, lots"),
        ("Example-Header", "of, commas"),
        ("Content-Digest", "sha-256=:YQ==:"),
        ("X-Empty", ""),
    ),
    trailers=(("Expires", "Wed, 9 Nov 2022 07:28:00 GMT"), ("Dup", "a"), ("Dup", "b")),
)
VIEW = MessageView(REQUEST, structured={"example-dict": "dictionary"})


def value(name: str, view: MessageView = VIEW) -> str:
    (component,) = named_components((name,))
    return component_value(view, component)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        # RFC 9421, 2.1.1 to 2.1.4.
        ('"example-dict"', "a=1,    b=2;x=1;y=2,   c=(a   b   c), d"),
        ('"example-dict";sf', "a=1, b=2;x=1;y=2, c=(a b c), d"),
        ('"example-dict";key="a"', "1"),
        ('"example-dict";key="d"', "?1"),
        ('"example-dict";key="b"', "2;x=1;y=2"),
        ('"example-dict";key="c"', "(a b c)"),
        ('"example-dict";sf;key="c"', "(a b c)"),
        ('"example-header"', "value, with, lots, of, commas"),
        ('"example-header";bs', ":dmFsdWUsIHdpdGgsIGxvdHM=:, :b2YsIGNvbW1hcw==:"),
        ('"x-empty";bs', "::"),
        ('"expires";tr', "Wed, 9 Nov 2022 07:28:00 GMT"),
        ('"dup";tr', "a, b"),
        ('"dup";tr;bs', ":YQ==:, :Yg==:"),
        ('"x-empty"', ""),
        ('"content-digest";sf', "sha-256=:YQ==:"),
        ("@method", "POST"),
        ("@target-uri", "https://www.example.com/path?param=value&foo=bar&qux="),
        ("@authority", "www.example.com"),
        ("@scheme", "https"),
        ("@request-target", "/path?param=value&foo=bar&qux="),
        ("@path", "/path"),
        ("@query", "?param=value&foo=bar&qux="),
        ('"@query-param";name="foo"', "bar"),
        ('"@query-param";name="qux"', ""),
    ],
)
def test_values_of_a_request(name: str, text: str) -> None:
    assert value(name) == text
    # Whoever answers it sees the same through ;req.
    asked = MessageView(ResponseMessage(status=200), request=VIEW)
    whole = name if name.startswith('"') else f'"{name}"'
    assert value(f"{whole};req", asked) == text


def test_the_rfcs_byte_sequences() -> None:
    """RFC 9421, 2.1.3: two lists that look alike joined, and do not wrapped."""
    other = changed(
        REQUEST, fields=(("Example-Header", "value, with, lots, of, commas"),)
    )
    wrapped = ":dmFsdWUsIHdpdGgsIGxvdHMsIG9mLCBjb21tYXM=:"
    assert value('"example-header";bs', MessageView(other)) == wrapped
    assert value("example-header", MessageView(other)) == value("example-header")


def test_a_byte_sequence_holds_what_is_not_ascii() -> None:
    view = MessageView(
        changed(
            REQUEST,
            fields=(
                (
                    "X",
                    " \xe4\r\n b ",
                ),
            ),
        )
    )
    assert value('"x";bs', view) == ":5CBi:"
    wide = MessageView(changed(REQUEST, fields=(("X", "\u20ac"),)))
    assert outcome(lambda: value('"x";bs', wide)) is Code.SIG_MALFORMED


@pytest.mark.parametrize(
    ("target", "text"), [("*", "*"), ("www.example.com:80", "www.example.com:80")]
)
def test_a_request_target_of_another_form(target: str, text: str) -> None:
    """RFC 9421, 2.2.5."""
    view = MessageView(changed(REQUEST, request_target=target))
    assert value("@request-target", view) == text


def test_options_of_the_whole_server() -> None:
    for method, text in (
        ("OPTIONS", "https://a.example"),
        ("GET", "https://a.example/"),
    ):
        request = RequestMessage(method=method, target_uri="https://a.example")
        assert value("@target-uri", MessageView(request)) == text
    tabbed = MessageView(changed(REQUEST, fields=(("A", "x\ty"),)))
    assert signature_base(tabbed, named_components(("a",)), "") == (
        b'"a": x\ty\n"@signature-params": '
    )


def test_values_of_a_response() -> None:
    view = MessageView(ResponseMessage(status=503, fields=(("A", "b"),)), request=VIEW)
    assert value("@status", view) == "503"
    assert value("a", view) == "b"
    assert value('"example-dict";key="a";req', view) == "1"
    assert value('"expires";tr;req', view) == "Wed, 9 Nov 2022 07:28:00 GMT"


@pytest.mark.parametrize(
    "name",
    [
        "not-there",
        '"not-there";bs',
        '"not-there";tr',
        '"host";tr',
        '"expires"',
        '"example-dict";key="e"',
        '"host";sf',
        '"@query-param";name="none"',
        "@status",
        '"@method";req',
        '"host";req',
    ],
)
def test_what_a_request_has_not(name: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        value(name)
    assert caught.value.code is Code.SIG_BASE_MISMATCH


@pytest.mark.parametrize(
    "name", ["@method", "@target-uri", "@query", '"@query-param";name="a"', "host"]
)
def test_what_a_response_has_not(name: str) -> None:
    view = MessageView(ResponseMessage(status=200), request=VIEW)
    with pytest.raises(ProtocolError) as caught:
        value(name, view)
    assert caught.value.code is Code.SIG_BASE_MISMATCH
    with pytest.raises(ProtocolError):
        view.target  # noqa: B018


@pytest.mark.parametrize("name", ['"host";key="a"', '"x";key="a"', '"signature";sf'])
def test_what_is_no_structured_field(name: str) -> None:
    fields = (("Host", "?:"), ("X", "a=1, a=2"), ("Signature", "a=1, a=1"))
    view = MessageView(changed(REQUEST, fields=fields))
    assert outcome(lambda: value(name, view)) is Code.SIG_MALFORMED


@pytest.mark.parametrize(
    "change",
    [
        {"fields": (("Date", 'x\n"@method": GET'),)},
        {"fields": (("Date", "x\ny"),)},
        {"fields": (("Date", "x\r"),)},
        {"fields": (("Date", "x\r\ny"),)},
        {"fields": (("Date", "\xe4"),)},
        {"fields": (("Date", "x\x00y"),)},
        {"fields": (("Date", "x\x7f"),)},
        {"method": "POST\n", "fields": (("Date", "x"),)},
        {"method": "PÖST", "fields": (("Date", "x"),)},
    ],
)
def test_nobody_writes_a_line_of_their_own(change: dict[str, Any]) -> None:
    view = MessageView(changed(REQUEST, **change))
    with pytest.raises(DecodeError) as caught:
        signature_base(view, named_components(("@method", "date")), "()")
    assert caught.value.code is Code.SIG_MALFORMED


def test_a_field_is_parsed_once() -> None:
    names = tuple(f'"example-dict";key="{key}"' for key in "abcd")
    view = MessageView(REQUEST)
    signature_base(view, named_components(names), "()")
    assert view.parsed(view.field("example-dict") or "", "dictionary") is view.parsed(
        view.field("example-dict") or "", "dictionary"
    )


def test_no_more_is_parsed_than_a_head_needs() -> None:
    fields = (("A", "x=" + "1" * 8), ("B", f'x="{"b" * (4096 - 10 - 4)}"'))
    fits = MessageView(changed(REQUEST, fields=fields))
    names = ('"a";key="x"', '"b";key="x"', '"b";key="x";sf', '"a";key="x";sf')
    assert signature_base(fits, named_components(names), "()").count(b"\n") == 4
    over = MessageView(changed(REQUEST, fields=(*fields, ("C", "x"))))
    with pytest.raises(DecodeError, match="4096") as caught:
        signature_base(over, named_components((*names, '"c";key="x"')), "()")
    assert caught.value.code is Code.SIZE_EXCEEDED
    # Whatever is not taken apart may be as long as a head is.
    whole = named_components(("b", '"b";bs', "c"))
    assert len(signature_base(over, whole, "()")) > 2 * 4096


@given(
    st.lists(st.tuples(st.sampled_from(["a", "A", "b"]), st.text()), max_size=5),
    st.sampled_from(["a", '"a";bs', '"a";sf', '"a";key="k"', '"b";tr']),
)
def test_any_field_makes_a_base_or_a_documented_error(
    fields: list[tuple[str, str]], name: str
) -> None:
    message = RequestMessage(
        method="GET",
        target_uri="https://a.example/",
        fields=tuple(fields),
        trailers=tuple(fields),
    )
    view = MessageView(message, structured={"a": "list"})
    base = outcome(lambda: signature_base(view, named_components((name,)), "()"))
    assert base in (Code.SIG_BASE_MISMATCH, Code.SIG_MALFORMED) or (
        base.count(b"\n") == 1
    )
