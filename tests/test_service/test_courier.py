"""What all couriers have in common."""

from __future__ import annotations

import pytest

from sage.envelope import Response, sign
from sage.errors import AuthenticationError, ConnectionLost, SessionClosed
from sage.service.courier import Progress, Reply, for_waiting

from .conftest import header


def test_nothing_was_sent_at_first():
    assert not Progress().sent


def test_a_reply_has_nothing_to_verify_unless_the_carrier_adds_something(ada, grace):
    request = sign(header(ada), ada.signing_key)
    response = Response.answer(
        request,
        id="123e4567-e89b-42d3-a456-426614174002",
        kid=grace.signing_key.kid,
        created=request.created,
        expires=request.expires,
        nonce="ABEiM0RVZneImaq7zN3u_w",
    )
    key = grace.record.select_signing_key(unix_time=1)
    Reply(response).verify(key)

    def refuse(_):
        raise AuthenticationError

    with pytest.raises(AuthenticationError):
        Reply(response, refuse).verify(key)


@pytest.mark.parametrize("error", [AuthenticationError(), SessionClosed("closed")])
def test_each_who_waits_gets_an_error_of_its_own(error):
    first, second = for_waiting(error), for_waiting(error)
    assert isinstance(first, ConnectionLost)
    assert first is not second
    assert str(error) in str(first)
