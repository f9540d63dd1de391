"""The derived components of the target URI: RFC 9421, sections 2.2.2 to 2.2.8."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.errors import Code, DecodeError, ProtocolError
from sage.http.target import parse_target, query_parameter

from .conftest import outcome

RFC = "https://www.example.com/path?param=value"


def test_the_rfcs_examples() -> None:
    target = parse_target(RFC)
    assert target.uri == RFC
    assert target.scheme == "https"
    assert target.authority == "www.example.com"
    assert target.path == "/path"
    assert target.query == "?param=value"
    assert target.request_target == "/path?param=value"


@pytest.mark.parametrize(
    ("uri", "authority"),
    [
        ("https://WWW.Example.COM/", "www.example.com"),
        ("https://example.com:443/", "example.com"),
        ("HTTPS://example.com:443/", "example.com"),
        ("http://example.com:80/", "example.com"),
        ("https://example.com:80/", "example.com:80"),
        ("https://example.com:/", "example.com"),
        ("https://example.com:8443/", "example.com:8443"),
        ("https://[2001:DB8::1]:443/", "[2001:db8::1]"),
        ("https://[::1]:8443/", "[::1]:8443"),
    ],
)
def test_authorities(uri: str, authority: str) -> None:
    assert parse_target(uri).authority == authority


@pytest.mark.parametrize(
    ("uri", "whole", "path", "query", "request_target"),
    [
        ("https://a.example", "https://a.example/", "/", "?", "/"),
        ("https://a.example?", "https://a.example/?", "/", "?", "/?"),
        ("https://a.example?b=c", "https://a.example/?b=c", "/", "?b=c", "/?b=c"),
        ("https://a.example/%7E?%20", None, "/%7E", "?%20", "/%7E?%20"),
        ("https://a.example//x/../y", None, "//x/../y", "?", "//x/../y"),
        ("https://a.example/?a?b", None, "/", "?a?b", "/?a?b"),
    ],
)
def test_nothing_is_decoded(
    uri: str, whole: str | None, path: str, query: str, request_target: str
) -> None:
    target = parse_target(uri)
    assert target.uri == (whole or uri)
    assert (target.path, target.query) == (path, query)
    assert target.request_target == request_target


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/path",
        "//a.example/",
        "https:/a.example/",
        "https://",
        "https:///path",
        "https://user@a.example/",
        "https://a.example/#fragment",
        "https://a.example/\n",
        "https://a.example/a b",
        "https://a.example:x/",
        "https://a.example:1:2/",
        "https://a\\b/",
        "https://[::1/",
        "https://ä.example/",
        "1https://a.example/",
    ],
)
def test_what_is_no_target(uri: str) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_target(uri)
    assert caught.value.code is Code.SIG_MALFORMED


@given(st.text())
def test_any_text_is_a_target_or_a_documented_error(text: str) -> None:
    for uri in (text, f"https://{text}", f"https://a.example/{text}"):
        target = outcome(lambda uri=uri: parse_target(uri))  # type: ignore[misc]
        if target is not Code.SIG_MALFORMED:
            assert "\n" not in "".join((target.uri, target.path, target.query))


# --- @query-param -------------------------------------------------------------

FORM = (
    "param=value&foo=bar&baz=batman&qux="
    "&var=this%20is%20a%20big%0Amultiline%20value"
    "&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something"
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("baz", "batman"),
        ("qux", ""),
        ("param", "value"),
        ("var", "this%20is%20a%20big%0Amultiline%20value"),
        ("bar", "with%20plus%20whitespace"),
        ("fa%C3%A7ade%22%3A%20", "something"),
    ],
)
def test_the_rfcs_parameters(name: str, value: str) -> None:
    assert query_parameter(f"?{FORM}", name) == value


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("a=~", "%7E"),  # form encoding, unlike RFC 3986, encodes it
        ("a=*-._", "*-._"),
        ("a=%7e%2f", "%7E%2F"),
        ("a=%zz", "%25zz"),
        ("a=%ff", "%EF%BF%BD"),
        ("a==b", "%3Db"),
        ("a", ""),
        ("&&a=1&", "1"),
    ],
)
def test_values_are_encoded_in_one_way(query: str, value: str) -> None:
    assert query_parameter(query, "a") == value


@pytest.mark.parametrize("query", ["?", "?b=1", "?a=1&a=1", "?a=1&%61=2", "?A=1"])
def test_a_parameter_is_there_once(query: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        query_parameter(query, "a")
    assert caught.value.code is Code.SIG_BASE_MISMATCH


def test_more_parameters_than_anybody_needs() -> None:
    with pytest.raises(DecodeError):
        query_parameter("&".join(["b=1"] * 300), "a")


@given(st.text(min_size=1), st.text())
def test_parameters_round_trip(name: str, value: str) -> None:
    try:
        encoded = quote(name, safe="")
        query = f"{encoded}={quote(value, safe='')}"
    except UnicodeEncodeError:
        return  # a lone surrogate is no text
    found = query_parameter(query, encoded.replace("%2A", "*").replace("~", "%7E"))
    assert found == quote(value, safe="*").replace("~", "%7E")
