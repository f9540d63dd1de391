"""The client's handshake against answers that are not quite right."""

from __future__ import annotations

import os
import uuid
from dataclasses import replace

import pytest

from sage.encoding import b64u_encode
from sage.envelope import Response, sign
from sage.errors import (
    AuthenticationError,
    Code,
    DecodeError,
    ProtocolError,
    RemoteFailure,
    StaleError,
)
from sage.handshake import Responder
from sage.service import Clock
from sage.service.initiation import initiate
from sage.service.operation import Operation

CLOCK = Clock()


@pytest.fixture
def shake(ada, grace, resolver):
    """Run the handshake with an answer that a test may bend."""

    async def run(bend=lambda response: response, clock=CLOCK, **members):
        async def ask(request):
            responder = Responder(
                grace.signing_key,
                grace.kem_key,
                init_key=ada.record.select_signing_key(unix_time=1),
                resp_key=grace.record.select_signing_key(unix_time=1),
                kem_public=grace.record.select_kem_key(unix_time=1),
                entropy=os.urandom,
            )
            completion = responder.respond(
                request.payload,
                envelope_context=request,
                now=CLOCK.now(),
                expires=request.expires,
                response_expires=request.expires,
            )
            header = Response.answer(
                request,
                id=str(uuid.uuid4()),
                kid=grace.signing_key.kid,
                created=request.created,
                expires=request.expires,
                nonce=b64u_encode(os.urandom(16)),
                data=completion,
            )
            return bend(sign(replace(header, **members), grace.signing_key))

        operation = Operation(resolver, clock, init_did=ada.did, resp_did=grace.did)
        return await initiate(
            ask,
            agent=ada,
            peer=grace.did,
            operation=operation,
            clock=clock,
            ttl_s=60,
        )

    return run


async def test_it_establishes(shake, grace):
    established = await shake()
    assert established.binding.resp_did == grace.did
    assert established.session.id == established.binding.session_id
    established.retire()
    assert established.session.closed


@pytest.mark.parametrize(
    ("created", "expires", "left_s"),
    [
        (0, 60, 60),
        (0, 40, 40),
        (25, 60, 35),  # the service's clock is ahead, so its end comes sooner
        (-25, 60, 85),
        (0, 90, 60),  # longer than the initiation, which ends it as well
    ],
)
async def test_how_long_the_service_waits_is_told_by_its_own_clock(
    shake, created, expires, left_s
):
    began = CLOCK.unix_time()
    now = CLOCK.now()
    clock = Clock(monotonic=lambda: now, wall=lambda: began)
    members = {"created": began + created, "expires": began + expires}
    established = await shake(clock=clock, **members)
    assert established.pending_s == left_s
    assert established.is_pending


async def test_what_the_handshake_took_is_not_waited_for_again(shake):
    began, now = CLOCK.unix_time(), [CLOCK.now()]

    def bend(response):
        now[0] += 7.0
        return response

    clock = Clock(monotonic=lambda: now[0], wall=lambda: began)
    established = await shake(bend, clock=clock, created=began, expires=began + 60)
    assert established.pending_s == pytest.approx(53.0)


async def test_uses_under_way_keep_a_retired_session(shake):
    established = await shake()
    established.in_flight += 1
    established.retire()
    assert not established.session.closed
    established.release()
    assert established.session.closed


async def test_an_answer_that_says_no(shake):
    members = {"success": False, "error": "unavailable", "data": b""}
    with pytest.raises(RemoteFailure) as failure:
        await shake(**members)
    assert failure.value.reason == "unavailable"


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"message_id": str(uuid.uuid4())}, Code.SIG_BINDING),
        ({"request_hash": bytes(32)}, Code.SIG_BINDING),
        ({"context_id": str(uuid.uuid4())}, Code.SIG_BINDING),
        ({"role": None}, Code.HANDSHAKE_BINDING),
    ],
)
async def test_an_answer_to_something_else(shake, members, code):
    with pytest.raises(ProtocolError) as refusal:
        await shake(**members)
    assert refusal.value.code is code


async def test_an_answer_that_was_changed(shake):
    def bend(response):
        return replace(response, metadata={"a": "b"})

    with pytest.raises(AuthenticationError):
        await shake(bend)


async def test_an_answer_that_is_no_completion(shake):
    with pytest.raises(DecodeError) as refusal:
        await shake(data=b"{}")
    assert refusal.value.code is Code.HANDSHAKE_SCHEMA


@pytest.mark.parametrize("late_s", [60, 90, 10**6])
async def test_an_answer_that_is_too_late(shake, late_s):
    start = CLOCK.unix_time()
    wall = [start]

    def bend(response):
        wall[0] = start + late_s
        return response

    with pytest.raises(StaleError) as refusal:
        await shake(bend, clock=Clock(wall=lambda: wall[0]))
    assert refusal.value.code in (Code.HANDSHAKE_EXPIRED, Code.SIG_STALE)
