"""The two messages that open a stream."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.errors import DecodeError, ProtocolError
from sage.service.stream_opening import STREAM_AEADS, StreamOpening

OPENING = StreamOpening(bytes(16), "chacha20poly1305")
TEXT = (
    b'{"aead":"chacha20poly1305","stream":"AAAAAAAAAAAAAAAAAAAAAA",'
    b'"task":"sage-stream/open@1"}'
)


def test_the_bytes():
    assert OPENING.encode_request() == TEXT
    assert OPENING.encode_answer() == TEXT.replace(b"open@1", b"ok@1")
    assert OPENING.id == "A" * 22


@given(st.binary(min_size=16, max_size=16), st.sampled_from(STREAM_AEADS))
def test_there_and_back(stream_id, aead):
    opening = StreamOpening(stream_id, aead)
    assert StreamOpening.decode_request(opening.encode_request()) == opening
    opening.require_answer(opening.encode_answer())


@given(st.binary(max_size=300))
def test_other_payloads_are_the_applications(payload):
    assert StreamOpening.decode_request(payload) is None
    # Even one that speaks of streams.
    assert StreamOpening.decode_request(payload[:9] + b'"sage-stream/open@1"') is None


@pytest.mark.parametrize(
    "payload",
    [b'["sage-stream/open@1"]', b'{"note":"sage-stream/open@1"}', TEXT + bytes(300)],
)
def test_mentioning_it_is_not_asking(payload):
    assert StreamOpening.decode_request(payload) is None


@pytest.mark.parametrize(
    "payload",
    [
        TEXT.replace(b'",', b'", '),
        TEXT.replace(b"chacha20poly1305", b"rot13"),
        TEXT.replace(b"AAAA", b"", 1),
        TEXT.replace(b"AAAA", b"A===", 1),
        TEXT.replace(b"{", b'{"aad":"",'),
        b'{"aead":"chacha20poly1305","stream":5,"task":"sage-stream/open@1"}',
        b'{"aead":["chacha20poly1305"],"stream":"","task":"sage-stream/open@1"}',
        json.dumps(dict(reversed(json.loads(TEXT).items()))).encode(),
    ],
)
def test_asking_wrongly(payload):
    with pytest.raises(DecodeError):
        StreamOpening.decode_request(payload)


@pytest.mark.parametrize("answer", [b"", b"{}", TEXT])
def test_another_answer(answer):
    with pytest.raises(ProtocolError) as failure:
        OPENING.require_answer(answer)
    assert failure.value.code == "frame.malformed"
