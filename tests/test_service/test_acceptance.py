"""One request and its answer, with no carrier between them."""

from __future__ import annotations

from array import array
from dataclasses import replace

import pytest

import sage
from sage.envelope import authenticate_payload, sign, verify_response
from sage.errors import (
    AuthenticationError,
    Code,
    ProtocolError,
    RemoteFailure,
    ReplayError,
    ResolutionError,
    SessionClosed,
)
from sage.identity import revoke_key
from sage.limits import OBSERVATION_MAX_AGE_S
from sage.service import Clock
from sage.service.acceptance import Acceptance
from sage.service.accepted import ConnectionSessions
from sage.types import Role

from .conftest import CLOCK, header, sealed


async def test_a_request_gets_its_answer(ada, shake_hands):
    established, accepted, acceptance = await shake_hands()
    assert not accepted.confirmed
    request = sealed(ada, established, b"hello")
    response, afterwards = await acceptance.answer(request)
    assert accepted.confirmed
    assert afterwards is None
    verify_response(response, request, established.binding.resp_key)
    _, plaintext = authenticate_payload(
        response, session=established.session, now=CLOCK.now()
    )
    assert plaintext == b"echo:hello"


async def test_a_request_is_accepted_once(ada, shake_hands):
    established, accepted, acceptance = await shake_hands()
    request = sealed(ada, established, b"hello")
    began = CLOCK.now()
    await acceptance.answer(request)
    used_at = accepted.used_at
    assert began <= used_at <= CLOCK.now()
    with pytest.raises(ReplayError):
        await acceptance.answer(request)
    assert accepted.used_at == used_at


async def test_what_the_carrier_adds_is_verified_before_anything_moves(
    ada, shake_hands
):
    established, accepted, acceptance = await shake_hands()
    request = sealed(ada, established, b"hello")
    keys, made_at = [], accepted.used_at

    def refuse(key):
        keys.append(key)
        raise AuthenticationError

    with pytest.raises(AuthenticationError):
        await acceptance.answer(request, verify=refuse)
    assert keys == [accepted.binding.init_key]
    assert not accepted.confirmed
    assert accepted.used_at == made_at
    # Nothing was used up: the very same bytes pass now.
    assert (await acceptance.answer(request))[0].success


async def test_an_initiation_that_the_carrier_refuses_uses_nothing_up(
    ada, shake_hands, host
):
    sessions = ConnectionSessions(8)
    acceptance, refused = Acceptance(host, sessions), []

    def refuse(key):
        raise AuthenticationError

    async def ask(request):
        with pytest.raises(AuthenticationError):
            await acceptance.answer(request, verify=refuse)
        refused.append(request)
        return (await acceptance.answer(request, verify=lambda key: None))[0]

    established, accepted, _ = await shake_hands(ask=ask, sessions=sessions)
    assert len(refused) == 1
    assert established.binding.session_id == accepted.binding.session_id


async def test_nothing_runs_under_a_key_that_was_revoked(
    ada, host, resolver, shake_hands
):
    asked = []

    async def handler(message):
        asked.append(message)
        return b""

    established, accepted, _ = await shake_hands()
    sessions = ConnectionSessions(8)
    sessions.keep(accepted)
    acceptance = Acceptance(replace(host, handler=handler), sessions)
    await acceptance.answer(sealed(ada, established, b"before"))
    resolver.publish(revoke_key(ada.record, "sign-1", unix_time=1))
    received = accepted.session.received
    with pytest.raises(ResolutionError):
        await acceptance.answer(sealed(ada, established, b"after"))
    assert [message.payload for message in asked] == [b"before"]
    assert accepted.session.received == received
    assert accepted.session.closed


async def test_nothing_is_answered_under_a_key_that_was_revoked_meanwhile(
    ada, host, resolver, shake_hands
):
    ahead_s = 0.0

    async def handler(message):
        nonlocal ahead_s
        resolver.publish(revoke_key(ada.record, "sign-1", unix_time=1))
        ahead_s = OBSERVATION_MAX_AGE_S + 1
        return b"too late"

    established, accepted, _ = await shake_hands()
    sessions = ConnectionSessions(8)
    sessions.keep(accepted)
    clock = Clock(monotonic=lambda: CLOCK.now() + ahead_s)
    acceptance = Acceptance(replace(host, handler=handler, clock=clock), sessions)
    with pytest.raises(ResolutionError):
        await acceptance.answer(sealed(ada, established, b"x"))
    assert accepted.session.sent == 0
    assert accepted.session.closed


async def test_a_session_of_somewhere_else(ada, shake_hands):
    established, _, _ = await shake_hands()
    _, _, elsewhere = await shake_hands()
    with pytest.raises(AuthenticationError) as refused:
        await elsewhere.answer(sealed(ada, established, b"hello"))
    assert refused.value.code is Code.SESSION_UNKNOWN


async def test_a_plain_request_that_is_no_initiation(ada, host):
    acceptance = Acceptance(host, ConnectionSessions(8))
    request = sign(header(ada, role=Role.RESPONDER), ada.signing_key)
    with pytest.raises(ProtocolError) as refused:
        await acceptance.answer(request)
    assert refused.value.code is Code.HANDSHAKE_BINDING


@pytest.mark.parametrize("answer", [array("d", bytes(8_388_576)), array("d", [1.0])])
async def test_an_answer_is_measured_in_bytes(ada, host, shake_hands, answer):
    """Else one that is too long would end the connection, not the request."""

    async def handler(message):
        return memoryview(answer)

    established, accepted, _ = await shake_hands()
    sessions = ConnectionSessions(8)
    sessions.keep(accepted)
    acceptance = Acceptance(replace(host, handler=handler), sessions)
    response, _ = await acceptance.answer(sealed(ada, established, b"x"))
    if len(answer) > 1:
        assert response.error == "operation_failed"
        return
    _, plaintext = authenticate_payload(
        response, session=established.session, now=CLOCK.now()
    )
    assert plaintext == answer.tobytes()


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("policy_denied", "policy_denied"),
        ("not allowed", "operation_failed"),
        (None, "operation_failed"),
        ([], "operation_failed"),
    ],
)
async def test_a_failure_is_never_a_success_nor_the_end_of_a_connection(
    ada, host, shake_hands, reason, error
):
    async def handler(message):
        raise RemoteFailure(reason)

    established, accepted, _ = await shake_hands()
    sessions = ConnectionSessions(8)
    sessions.keep(accepted)
    acceptance = Acceptance(replace(host, handler=handler), sessions)
    response, _ = await acceptance.answer(sealed(ada, established, b"x"))
    assert (response.success, response.error) == (False, error)


@pytest.mark.parametrize("confirmed", [False, True])
async def test_a_session_that_gives_way_while_its_request_is_reserved(
    ada, host, shake_hands, confirmed
):
    sessions = ConnectionSessions(8)
    established, accepted, before = await shake_hands(sessions=sessions)
    if confirmed:
        await before.answer(sealed(ada, established, b"x"))

    class Guard:
        async def reserve(self, reservation, **times):
            await host.guard.reserve(reservation, **times)
            sessions.drop(accepted)

    acceptance = Acceptance(replace(host, guard=Guard()), sessions)
    with pytest.raises(SessionClosed):
        await acceptance.answer(sealed(ada, established, b"y"))


class SlowGuard:
    """Lets pass what its own guard does, and meanwhile something happens."""

    def __init__(self, guard, happens):
        self._guard, self._happens, self.ahead_s = guard, happens, 0.0

    async def reserve(self, reservation, **times):
        await self._guard.reserve(reservation, **times)
        self._happens()
        self.ahead_s = OBSERVATION_MAX_AGE_S + 1

    def clock(self):
        return Clock(monotonic=lambda: CLOCK.now() + self.ahead_s)


async def test_nothing_runs_under_a_key_that_was_revoked_beside_the_reservation(
    ada, host, resolver, shake_hands
):
    ran = []

    async def handler(message):
        ran.append(message)
        return b""

    established, accepted, _ = await shake_hands()
    sessions = ConnectionSessions(8)
    sessions.keep(accepted)
    guard = SlowGuard(
        host.guard,
        lambda: resolver.publish(revoke_key(ada.record, "sign-1", unix_time=1)),
    )
    changes = {"handler": handler, "guard": guard, "clock": guard.clock()}
    acceptance = Acceptance(replace(host, **changes), sessions)
    with pytest.raises(ResolutionError):
        await acceptance.answer(sealed(ada, established, b"x"))
    assert ran == []
    assert accepted.session.received == 0
    assert accepted.session.closed


async def test_no_session_is_made_under_a_key_that_was_revoked_beside_the_reservation(
    ada, host, resolver, shake_hands
):
    guard = SlowGuard(
        host.guard,
        lambda: resolver.publish(revoke_key(ada.record, "sign-1", unix_time=1)),
    )
    sessions = ConnectionSessions(8)
    slow = replace(host, guard=guard, clock=guard.clock())
    acceptance = Acceptance(slow, sessions)

    async def ask(request):
        return (await acceptance.answer(request))[0]

    with pytest.raises(ResolutionError):
        await shake_hands(ask=ask, sessions=sessions)
    assert not sessions._sessions


async def test_no_session_is_made_under_a_key_that_was_changed_beside_the_reservation(
    ada, grace, host, resolver, shake_hands
):
    """A registry that gives the same name another key is not to be followed."""
    other = sage.MemoryResolver([sage.Agent.generate(ada.did).record, grace.record])
    asked = [resolver]

    class Registry:
        async def resolve(self, did, *, now):
            return await asked[-1].resolve(did, now=now)

    guard = SlowGuard(host.guard, lambda: asked.append(other))
    sessions = ConnectionSessions(8)
    slow = replace(host, guard=guard, clock=guard.clock(), resolver=Registry())
    acceptance = Acceptance(slow, sessions)

    async def ask(request):
        return (await acceptance.answer(request))[0]

    with pytest.raises(ResolutionError, match="the key has changed"):
        await shake_hands(ask=ask, sessions=sessions)
    assert not sessions._sessions
