"""Messages as values."""

from __future__ import annotations

from typing import Any

import pytest

from sage.errors import UsageError
from sage.http import RequestMessage, ResponseMessage


def test_fields_are_added_behind_the_others() -> None:
    request = RequestMessage(
        method="GET",
        target_uri="https://a.example/",
        fields=(("A", "1"),),
        content=None,
        trailers=(("T", "2"),),
        request_target="*",
    )
    more = request.with_fields(("B", "3"), ("A", "4"))
    assert more.fields == (("A", "1"), ("B", "3"), ("A", "4"))
    assert (more.method, more.target_uri) == (request.method, request.target_uri)
    assert (more.content, more.trailers) == (None, (("T", "2"),))
    assert more.request_target == "*"
    response = ResponseMessage(status=200, content=b"x", trailers=(("T", "2"),))
    more_too = response.with_fields(("B", "3"))
    assert more_too.fields == (("B", "3"),)
    assert (more_too.status, more_too.content) == (200, b"x")
    assert more_too.trailers == (("T", "2"),)


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": b"GET"},
        {"target_uri": None},
        {"content": "text"},
        {"content": bytearray(b"x")},
        {"fields": ((b"a", "b"),)},
        {"fields": (("a", b"b"),)},
        {"trailers": (("a", 1),)},
        {"fields": {"Host": "a.example"}},
        {"fields": {"ab": "c"}},
        {"fields": ("ab",)},
        {"fields": (("a", "b", "c"),)},
        {"fields": None},
        {"trailers": 5},
    ],
)
def test_a_request_of_other_types_is_none(wrong: dict[str, Any]) -> None:
    right: dict[str, Any] = {"method": "GET", "target_uri": "https://a.example/"}
    with pytest.raises(UsageError):
        RequestMessage(**right | wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"content": bytearray(b"x")},
        {"fields": [("a", "b")]},
        {"fields": (("a", b"b"),)},
        {"trailers": (("a", 1),)},
    ],
)
def test_a_response_of_other_types_is_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ResponseMessage(status=200, **wrong)


@pytest.mark.parametrize("status", [99, 1000, "200", True, 200.0])
def test_a_status_has_three_digits(status: Any) -> None:
    with pytest.raises(UsageError):
        ResponseMessage(status=status)
    assert ResponseMessage(status=100).content == b""
