"""The peer in the scope is a user as frameworks know one."""

from __future__ import annotations

import time

import pytest
from starlette.authentication import BaseUser

from sage.http import HttpPeer, RequestMessage, VerifiedSignature, sign_request
from sage.http.peer import PEER
from sage.http.verify import verify_request

ADA = "did:sage:web:agents.example:ada"


@pytest.fixture
def proof(ada) -> VerifiedSignature:
    now = int(time.time())
    request = RequestMessage(
        method="POST",
        target_uri="https://a.example/?token=secret",
        fields=(("Cookie", "id=secret"),),
        content=b"secret",
    )
    fields = sign_request(
        request, ada.signing_key, created=now, expires=now + 60, nonce="n"
    )
    key = ada.record.find_signing_key(f"{ADA}#sign-1", unix_time=now)
    return verify_request(request.with_fields(*fields), key, unix_time=now)


def test_an_agent_is_known_by_its_did(proof):
    peer = HttpPeer(proof, ada_did := proof.peer)
    assert ada_did == ADA
    assert (peer.identity, peer.display_name, peer.keyid) == (ADA, ADA, f"{ADA}#sign-1")
    assert peer.is_authenticated is True


def test_a_configured_key_is_known_by_its_id(proof):
    peer = HttpPeer(proof, None)
    assert peer.identity == peer.display_name == f"{ADA}#sign-1"


def test_what_is_printed_of_it_says_who_it_is_and_not_what_they_sent(proof):
    printed = repr(HttpPeer(proof, proof.peer))
    assert ADA in printed
    assert "secret" not in printed


def test_it_has_what_a_user_of_starlette_has():
    names = {name for name in vars(BaseUser) if not name.startswith("_")}
    assert names <= set(dir(HttpPeer))
    assert PEER == "sage.peer"
