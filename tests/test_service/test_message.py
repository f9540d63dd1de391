"""What a handler gets cannot be changed behind its back."""

from __future__ import annotations

import dataclasses

import pytest

from sage.service import Message


def test_a_message_is_frozen():
    message = Message(payload=b"x", peer="did:x", id="1", session_id="s")
    assert dict(message.metadata) == {}
    with pytest.raises(dataclasses.FrozenInstanceError):
        message.payload = b"y"


def test_what_was_sealed_does_not_show():
    message = Message(payload=b"secret", peer="did:x", id="1", session_id="s")
    assert "secret" not in repr(message)
