"""Records inside envelopes: bound to them, and to the pinned tuple."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from sage.envelope import (
    Request,
    Response,
    authenticate_payload,
    check_pinned,
    seal_request,
    seal_response,
    verify_request,
    verify_response,
)
from sage.errors import (
    AuthenticationError,
    Code,
    LimitReached,
    ReplayError,
    SessionClosed,
    UsageError,
)
from sage.identity import PublicKey, SigningKey
from sage.session import Session
from sage.types import Role

ADA = "did:sage:web:agents.example:ada"
GRACE = "did:sage:web:agents.example:grace"
CTX = "5f0c3b52-8a1e-4c55-9d3a-000000000001"
SEED, TH = bytes(range(32)), bytes(range(32, 64))


@pytest.fixture
def ends():
    """Both ends of a session, their keys and their views of the pinned tuple."""
    sessions = {role: Session.v0_10(SEED, TH, role, now=0.0) for role in Role}
    keys = {
        Role.INITIATOR: SigningKey.generate(f"{ADA}#sign-1"),
        Role.RESPONDER: SigningKey.generate(f"{GRACE}#sign-1"),
    }
    bindings = {
        role: SimpleNamespace(
            init_did=ADA,
            resp_did=GRACE,
            init_kid=f"{ADA}#sign-1",
            resp_kid=f"{GRACE}#sign-1",
            ctx=CTX,
            session_id=sessions[role].id,
            role=role,
        )
        for role in Role
    }
    return SimpleNamespace(sessions=sessions, keys=keys, bindings=bindings)


def header(ends, number=1, **changes) -> Request:
    members = {
        "id": f"00000000-0000-4000-8000-{number:012d}",
        "did": ADA,
        "recipient": GRACE,
        "kid": f"{ADA}#sign-1",
        "created": 1000,
        "expires": 1060,
        "nonce": f"{number:021d}A",
        "encoding": "session",
        "context_id": CTX,
        "session_id": ends.sessions[Role.INITIATOR].id,
        "role": Role.INITIATOR,
    }
    return Request(**members | changes)


def sealed(ends, plaintext=b"hello", number=1, **changes) -> Request:
    return seal_request(
        header(ends, number, **changes),
        plaintext,
        session=ends.sessions[Role.INITIATOR],
        key=ends.keys[Role.INITIATOR],
        now=1.0,
    )


def public(key: SigningKey) -> PublicKey:
    return PublicKey(key.kid, key.algorithm, key.public_key)


@pytest.mark.parametrize("plaintext", [b"", b"x", bytes(100_000)])
def test_there_and_back(ends, plaintext):
    request = sealed(ends, plaintext, metadata={"a": "b"})
    responder = ends.sessions[Role.RESPONDER]
    verify_request(request, public(ends.keys[Role.INITIATOR]))
    check_pinned(request, ends.bindings[Role.RESPONDER])
    seq, opened = authenticate_payload(request, session=responder, now=1.0)
    assert (seq, opened) == (0, plaintext)
    responder.accept(seq, now=1.0)
    answer = Response.answer(
        request,
        id="00000000-0000-4000-8000-00000000000a",
        kid=f"{GRACE}#sign-1",
        created=1001,
        expires=1060,
        nonce="B" * 21 + "A",
    )
    response = seal_response(
        answer,
        plaintext[::-1],
        session=responder,
        key=ends.keys[Role.RESPONDER],
        now=1.0,
    )
    assert len(response.data) == 36 + len(plaintext)
    verify_response(response, request, public(ends.keys[Role.RESPONDER]))
    check_pinned(response, ends.bindings[Role.INITIATOR])
    initiator = ends.sessions[Role.INITIATOR]
    assert authenticate_payload(response, session=initiator, now=1.0) == (
        0,
        plaintext[::-1],
    )


def test_authenticating_moves_nothing_and_accepting_moves_once(ends):
    request, responder = sealed(ends), ends.sessions[Role.RESPONDER]
    for _ in range(3):
        assert authenticate_payload(request, session=responder, now=1.0)[1] == b"hello"
    responder.accept(0, now=1.0)
    with pytest.raises(ReplayError) as refusal:
        authenticate_payload(request, session=responder, now=1.0)
    assert refusal.value.code is Code.SESSION_REPLAY


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "00000000-0000-4000-8000-00000000000b"},
        {"created": 1001},
        {"expires": 1061},
        {"nonce": "C" * 21 + "A"},
        {"metadata": {"a": "c"}},
        {"task_id": "00000000-0000-4000-8000-00000000000c"},
        {"context_id": "00000000-0000-4000-8000-00000000000d"},
    ],
)
def test_a_record_opens_under_its_own_envelope_only(ends, changes):
    moved = replace(sealed(ends), **changes)
    with pytest.raises(AuthenticationError) as refusal:
        authenticate_payload(moved, session=ends.sessions[Role.RESPONDER], now=1.0)
    assert refusal.value.code is Code.SESSION_AEAD


@pytest.mark.parametrize(
    "changes",
    [
        {"did": "did:sage:web:agents.example:eve", "kid": None},
        {"recipient": "did:sage:web:agents.example:eve"},
        {"kid": f"{ADA}#sign-2"},
        {"role": Role.RESPONDER},
        {"context_id": "00000000-0000-4000-8000-00000000000d"},
        {"session_id": "A" * 22},
    ],
)
def test_the_pinned_tuple(ends, changes):
    if "kid" in changes and changes["kid"] is None:
        changes = changes | {"kid": changes["did"] + "#sign-1"}
    with pytest.raises(AuthenticationError) as refusal:
        check_pinned(header(ends, **changes), ends.bindings[Role.RESPONDER])
    assert refusal.value.code is Code.SIG_BINDING


def test_our_own_message_coming_back_is_not_the_peers(ends):
    with pytest.raises(AuthenticationError):
        check_pinned(sealed(ends), ends.bindings[Role.INITIATOR])


def test_a_plain_envelope_is_not_the_sessions(ends):
    plain = header(ends, encoding="plain", session_id=None)
    with pytest.raises(AuthenticationError):
        check_pinned(plain, ends.bindings[Role.RESPONDER])


def test_limits_reach_the_caller(ends):
    session = ends.sessions[Role.INITIATOR]
    for number in range(1000):
        sealed(ends, b"", number)
    with pytest.raises(LimitReached):
        sealed(ends)
    session.close()
    with pytest.raises(SessionClosed):
        sealed(ends)


def test_another_key_than_the_envelope_names(ends):
    ends.keys[Role.INITIATOR] = SigningKey.generate(f"{ADA}#sign-2")
    with pytest.raises(UsageError):
        sealed(ends)
