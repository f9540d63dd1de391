from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.errors import Code, SageError
from sage.handshake import hpke, transcript
from sage.handshake.erase import wipe


@given(st.lists(st.binary(max_size=100)))
def test_buffers_become_zeros_of_the_same_length(contents):
    buffers = [bytearray(content) for content in contents]
    wipe(*buffers)
    assert buffers == [bytes(len(content)) for content in contents]


def test_a_viewed_buffer_is_overwritten_in_place():
    buffer = bytearray(b"secret")
    view = memoryview(buffer)
    wipe(buffer)
    assert view == bytes(6)


def test_bytes_cannot_be_wiped():
    with pytest.raises(TypeError):
        wipe(b"secret")


@pytest.fixture
def secrets(monkeypatch):
    """All the memory that keys are derived into or from, as it is now."""
    seen = []

    def watch(module, name):
        derive = getattr(module, name)

        def watched(*args):
            result = derive(*args)
            held = (*args, result)
            seen.extend(item for item in held if isinstance(item, bytearray))
            return result

        monkeypatch.setattr(module, name, watched)

    for module, name in (
        (hpke, "x25519_exchange"),
        (hpke, "hkdf"),
        (hpke, "hkdf_expand_into"),
        (transcript, "x25519_exchange"),
        (transcript, "hkdf"),
        (transcript, "expand"),
    ):
        watch(module, name)
    return seen


def left(secrets):
    return {bytes(secret) for secret in secrets if any(secret)}


def test_a_handshake_leaves_its_seed_and_nothing_else(pair, secrets):
    initiator, responder = pair.run()
    assert len(secrets) > 20
    assert left(secrets) == {bytes(initiator.seed)}
    initiator.wipe()
    responder.wipe()
    assert not left(secrets)


@pytest.mark.parametrize("where", ["tag", "key"])
def test_a_handshake_that_fails_leaves_nothing(pair, secrets, where):
    message = json.loads(pair.answered())
    if where == "tag":
        message["ackTagB64"] = "A" * 43
    else:
        message["transcript"]["ephS"] = "A" * 43
    with pytest.raises(SageError) as caught:
        pair.finish(pair.signed(message))
    pair.responder.close()
    expected = {"tag": Code.HANDSHAKE_ACK, "key": Code.HANDSHAKE_INVALID_DH}
    assert caught.value.code is expected[where]
    assert secrets
    assert not left(secrets)
