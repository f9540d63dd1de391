"""Recipient, time, binding, signature: each rule broken once, and the proofs."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.encoding import b64u_encode
from sage.envelope import (
    Request,
    Response,
    VerifiedRequest,
    VerifiedResponse,
    check_request,
    check_response,
    sign,
    verify_request,
    verify_response,
)
from sage.errors import (
    AuthenticationError,
    Code,
    ProtocolError,
    StaleError,
    UsageError,
)
from sage.identity import PublicKey, SigningKey
from sage.types import Did, KeyUrl, Role

ADA = Did("did:sage:web:agents.example.com:ada")
GRACE = Did("did:sage:web:agents.example.com:grace")
T0 = 1_730_000_000


@pytest.fixture(scope="module")
def ada_key(ada: SigningKey) -> PublicKey:
    return PublicKey(ada.kid, ada.algorithm, ada.public_key)


@pytest.fixture(scope="module")
def grace_key(grace: SigningKey) -> PublicKey:
    return PublicKey(grace.kid, grace.algorithm, grace.public_key)


# --- requests --------------------------------------------------------------------


def test_a_request_is_checked_verified_and_proven(
    signed_request: Callable[..., Request], ada_key: PublicKey
) -> None:
    request = signed_request()
    check_request(request, recipient=GRACE, unix_time=T0)
    proof = verify_request(request, ada_key)
    assert proof.request is request
    assert proof.peer == ADA
    assert proof.key == ada_key


@pytest.mark.parametrize("session", [False, True])
@pytest.mark.parametrize(
    ("unix_time", "fresh"),
    [
        (T0 - 31, False),
        (T0 - 30, True),
        (T0, True),
        (T0 + 60, True),
        (T0 + 89, True),
        (T0 + 90, False),
        (10**12, False),
        (0, False),
        (math.nan, False),
    ],
)
def test_a_request_is_fresh_from_30_s_before_created_until_30_s_after_expires(
    session: bool,
    unix_time: int,
    fresh: bool,
    signed_request: Callable[..., Request],
) -> None:
    request = signed_request(session=session)
    if fresh:
        check_request(request, recipient=GRACE, unix_time=unix_time)
        return
    with pytest.raises(StaleError) as caught:
        check_request(request, recipient=GRACE, unix_time=unix_time)
    assert caught.value.code == Code.SIG_STALE


def test_a_request_for_somebody_else_is_refused(
    signed_request: Callable[..., Request],
) -> None:
    with pytest.raises(ProtocolError, match="recipient") as caught:
        check_request(signed_request(), recipient=ADA, unix_time=T0)
    assert caught.value.code == Code.SIG_BINDING


def test_another_key_than_the_named_one_is_refused(
    signed_request: Callable[..., Request], ada_key: PublicKey, grace_key: PublicKey
) -> None:
    renamed = dataclasses.replace(ada_key, kid=KeyUrl(f"{ADA}#sig-2"))
    for key in (grace_key, renamed):
        with pytest.raises(ProtocolError, match="kid") as caught:
            verify_request(signed_request(), key)
        assert caught.value.code == Code.SIG_BINDING


def test_a_wrong_signature_says_nothing_more(
    signed_request: Callable[..., Request], ada_key: PublicKey, grace_key: PublicKey
) -> None:
    request = signed_request()
    impostor = dataclasses.replace(grace_key, kid=ada_key.kid)
    short = dataclasses.replace(request, signature=bytes(63))
    zero = dataclasses.replace(request, signature=bytes(64))
    for forged, key, code in (
        (request, impostor, Code.SIG_BAD),
        (zero, ada_key, Code.SIG_BAD),
        (short, ada_key, Code.SIG_MALFORMED),
    ):
        with pytest.raises(AuthenticationError) as caught:
            verify_request(forged, key)
        assert str(caught.value) == "authentication failed"
        assert caught.value.code == code


def test_what_was_never_signed_cannot_be_verified(
    new_request: Callable[..., Request], ada_key: PublicKey
) -> None:
    with pytest.raises(UsageError, match="not signed"):
        verify_request(new_request(), ada_key)


def other(value: Any) -> st.SearchStrategy[Any]:
    """Return other legal values for a member that holds ``value``."""
    if isinstance(value, bytes):
        return st.binary(max_size=40).filter(lambda b: b != value)
    if isinstance(value, Role):
        return st.just(value.other)
    if isinstance(value, int):
        return st.just(value + 1)
    if isinstance(value, str) and len(value) == 36:
        return st.uuids(version=4).map(str)
    if isinstance(value, str) and len(value) == 22:
        return st.binary(min_size=16, max_size=16).map(b64u_encode)
    return st.just({"a": "c"})


@given(data=st.data())
def test_any_change_of_a_signed_member_fails(
    data: st.DataObject,
    signed_request: Callable[..., Request],
    ada_key: PublicKey,
) -> None:
    task = "0b9c2a52-6a4f-4c7e-9d2f-1f7a6f0d6c55"
    request = signed_request(session=True, metadata={"a": "b"}, task_id=task)
    verify_request(request, ada_key)
    name = data.draw(
        st.sampled_from(
            [
                *("id", "created", "expires", "nonce", "context_id", "task_id"),
                *("session_id", "role", "metadata", "payload"),
            ]
        )
    )
    value = data.draw(other(getattr(request, name)))
    changes = [{name: value}]
    if name in {"task_id", "metadata"}:
        changes.append({name: None})
    for change in changes:
        forged = dataclasses.replace(request, **change)
        with pytest.raises(AuthenticationError):
            verify_request(forged, ada_key)


@pytest.mark.parametrize(
    "change",
    [
        {"recipient": ADA},
        {"did": GRACE, "kid": f"{GRACE}#sig-1"},
        {"kid": f"{ADA}#sig-2"},
        {"encoding": "plain", "session_id": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_names_and_encoding_are_signed_too(
    change: dict[str, Any], signed_request: Callable[..., Request], ada_key: PublicKey
) -> None:
    forged = dataclasses.replace(signed_request(session=True), **change)
    # With the key that the forged envelope names, so that only the signature fails.
    key = dataclasses.replace(ada_key, kid=forged.kid)
    with pytest.raises(AuthenticationError):
        verify_request(forged, key)


# --- responses -------------------------------------------------------------------

TASK = "0b9c2a52-6a4f-4c7e-9d2f-1f7a6f0d6c55"
OTHER = "7f1f6f5e-3d2c-4b1a-8f0e-9d8c7b6a5f4e"

BREAKS: list[tuple[str, dict[str, Any]]] = [
    ("message_id", {"message_id": OTHER}),
    ("request_hash", {"request_hash": bytes(32)}),
    ("recipient", {"recipient": GRACE}),
    ("recipient", {"recipient": "did:sage:web:agents.example.com:eve"}),
    ("did", {"did": ADA, "kid": f"{ADA}#sig-1"}),
    ("context_id", {"context_id": OTHER}),
    ("task_id", {"task_id": OTHER}),
    ("task_id", {"task_id": None}),
    ("session_id", {"session_id": "A" * 22}),
    ("encoding", {"encoding": "plain", "session_id": None}),
    ("role", {"role": Role.INITIATOR}),
]


@pytest.mark.parametrize(("rule", "change"), BREAKS)
def test_a_response_that_answers_something_else_is_refused(
    rule: str,
    change: dict[str, Any],
    signed_request: Callable[..., Request],
    signed_response: Callable[..., Response],
    grace: SigningKey,
    grace_key: PublicKey,
) -> None:
    request = signed_request(session=True, task_id=TASK)
    right = signed_response(request)
    check_response(right, request, unix_time=T0)
    wrong = dataclasses.replace(right, **change)
    if wrong.kid == grace.kid:
        wrong = sign(wrong, grace)  # authentic, and still not the answer
    refuse_response(rule, wrong, request, grace_key)


def refuse_response(
    rule: str, response: Response, request: Request, key: PublicKey
) -> None:
    with pytest.raises(ProtocolError, match=f"^{rule} ") as caught:
        check_response(response, request, unix_time=T0)
    assert caught.value.code == Code.SIG_BINDING
    # The proof does not depend on somebody having called check_response.
    with pytest.raises(ProtocolError, match=f"^{rule} "):
        verify_response(response, request, key)


@pytest.mark.parametrize("name", ["id", "nonce"])
def test_a_response_has_its_own_id_and_nonce(
    name: str,
    signed_request: Callable[..., Request],
    signed_response: Callable[..., Response],
    grace_key: PublicKey,
) -> None:
    request = signed_request()
    response = signed_response(request, **{name: getattr(request, name)})
    refuse_response(name, response, request, grace_key)


@pytest.mark.parametrize("name", ["context_id", "task_id"])
def test_absence_is_part_of_the_binding(
    name: str,
    signed_request: Callable[..., Request],
    signed_response: Callable[..., Response],
    grace: SigningKey,
    grace_key: PublicKey,
) -> None:
    request = signed_request()
    change: dict[str, Any] = {name: TASK}
    added = dataclasses.replace(signed_response(request), **change)
    refuse_response(name, sign(added, grace), request, grace_key)


def test_a_plain_request_gets_no_response_in_a_session(
    signed_request: Callable[..., Request],
    signed_response: Callable[..., Response],
    grace_key: PublicKey,
) -> None:
    request = signed_request(context_id=TASK, role=Role.INITIATOR)
    response = signed_response(request)
    session: dict[str, Any] = {"encoding": "session", "session_id": "A" * 22}
    refuse_response(
        "encoding", dataclasses.replace(response, **session), request, grace_key
    )


def test_a_plain_response_may_keep_its_role_to_itself_but_not_take_ours(
    signed_request: Callable[..., Request],
    signed_response: Callable[..., Response],
    grace_key: PublicKey,
) -> None:
    request = signed_request(role=Role.INITIATOR)
    response = signed_response(request)
    assert response.role is Role.RESPONDER
    check_response(dataclasses.replace(response, role=None), request, unix_time=T0)
    ours = dataclasses.replace(response, role=Role.INITIATOR)
    refuse_response("role", ours, request, grace_key)


def test_the_same_request_signed_anew_has_another_response(
    signed_request: Callable[..., Request],
    signed_response: Callable[..., Response],
    grace_key: PublicKey,
) -> None:
    request = signed_request()
    again = dataclasses.replace(request, signature=bytes(64))
    refuse_response("request_hash", signed_response(again), request, grace_key)


@pytest.mark.parametrize(
    ("unix_time", "fresh"),
    [(T0 - 30, False), (T0 - 29, True), (T0 + 90, True), (T0 + 91, False)],
)
def test_a_response_is_fresh_like_a_request(
    unix_time: int,
    fresh: bool,
    signed_request: Callable[..., Request],
    signed_response: Callable[..., Response],
) -> None:
    request = signed_request()
    response = signed_response(request)
    if fresh:
        check_response(response, request, unix_time=unix_time)
        return
    with pytest.raises(StaleError) as caught:
        check_response(response, request, unix_time=unix_time)
    assert caught.value.code == Code.SIG_STALE


def test_a_response_is_verified_with_the_peers_key(
    signed_request: Callable[..., Request],
    signed_response: Callable[..., Response],
    ada_key: PublicKey,
    grace_key: PublicKey,
) -> None:
    request = signed_request()
    response = signed_response(request)
    proof = verify_response(response, request, grace_key)
    assert (proof.request, proof.response, proof.peer) == (request, response, GRACE)
    with pytest.raises(ProtocolError):
        verify_response(response, request, ada_key)
    for change in ({"data": b"other"}, {"success": False, "error": "unavailable"}):
        with pytest.raises(AuthenticationError) as caught:
            verify_response(dataclasses.replace(response, **change), request, grace_key)
        assert caught.value.code == Code.SIG_BAD


def test_a_response_needs_signatures_on_both_sides(
    new_request: Callable[..., Request],
    signed_request: Callable[..., Request],
    signed_response: Callable[..., Response],
    grace_key: PublicKey,
) -> None:
    request = signed_request()
    response = signed_response(request)
    with pytest.raises(UsageError, match="not signed"):
        verify_response(response.with_data(b""), request, grace_key)
    with pytest.raises(UsageError, match="not signed"):
        check_response(response, request.with_payload(b"hello"), unix_time=T0)


# --- proofs ----------------------------------------------------------------------


def test_only_verifying_makes_a_proof(
    signed_request: Callable[..., Request],
    signed_response: Callable[..., Response],
    ada_key: PublicKey,
    grace_key: PublicKey,
) -> None:
    request = signed_request()
    response = signed_response(request)
    proofs: list[Any] = [
        verify_request(request, ada_key),
        verify_response(response, request, grace_key),
    ]
    with pytest.raises(UsageError):
        VerifiedRequest(ada_key, object(), request)
    with pytest.raises(UsageError):
        VerifiedResponse(grace_key, None, request, response)
    for proof in proofs:
        with pytest.raises((ValueError, TypeError)):
            dataclasses.replace(proof, request=signed_request(id=str(uuid.uuid4())))
        with pytest.raises(dataclasses.FrozenInstanceError):
            proof.request = request
        with pytest.raises(TypeError):
            pickle.dumps(proof)
        with pytest.raises(TypeError):
            copy.copy(proof)
    assert proofs[0] != verify_request(request, ada_key)
