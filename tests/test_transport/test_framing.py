"""Whatever arrives, in whatever pieces: the same as from the library alone."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side, State

from sage.transport.framing import Framing

LIMIT = 40_000
SIZES = st.sampled_from([0, 1, 125, 126, 300, 16_000, 16_500, 39_999, LIMIT, 40_001])


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """One frame: mostly a message, else a fragment, a ping, a close or a mistake."""
    opcode = draw(
        st.sampled_from([Opcode.BINARY] * 4 + [Opcode.TEXT] * 3 + list(Opcode))
    )
    data = b"x" * draw(SIZES)
    fin = draw(st.sampled_from([True, True, True, False]))
    if opcode in (Opcode.PING, Opcode.PONG):
        data, fin = data[:125], True
    elif opcode is Opcode.CLOSE:
        data, fin = b"\x03\xe8bye", True
    return Frame(opcode, data, fin).serialize(mask=draw(st.integers(0, 19)) > 0)


@st.composite
def wires(draw: st.DrawFn) -> list[bytes]:
    """A few frames, perhaps with a wrong byte, perhaps cut off, in any pieces."""
    wire = bytearray(b"".join(draw(st.lists(frames(), max_size=6))))
    if wire and draw(st.integers(0, 3)) == 0:
        wire[draw(st.integers(0, len(wire) - 1))] ^= 1 << draw(st.integers(0, 7))
    if draw(st.integers(0, 3)) == 0:
        del wire[draw(st.integers(0, len(wire))) :]
    cuts = draw(st.lists(st.integers(0, len(wire)), max_size=12))
    # Within a header is where pieces are most likely to be mistaken.
    cuts += [cut + n for cut in cuts[:3] for n in (1, 2, 3) if cut + n <= len(wire)]
    ends = sorted({*cuts, len(wire)})
    return [bytes(wire[a:b]) for a, b in zip([0, *ends], ends, strict=False) if b > a]


def told(frames: Protocol) -> object:
    return (
        b"".join(frames.data_to_send()),
        frames.state,
        frames.close_rcvd,
        frames.close_sent,
    )


def alone(frames: Protocol, pieces: list[bytes]) -> list[object]:
    seen: list[object] = []
    for piece in pieces:
        frames.receive_data(piece)
        for event in frames.events_received():
            assert isinstance(event, Frame)
            seen.append((event.opcode, bytes(event.data), event.fin))
    return seen


def by_hand(frames: Protocol, pieces: list[bytes]) -> tuple[list[object], int]:
    framing, seen, taken = Framing(frames), [], 0

    def take(data: bytes, is_text: bool) -> None:
        nonlocal taken
        taken += 1
        seen.append((Opcode.TEXT if is_text else Opcode.BINARY, data, True))

    def pass_on(data: bytes) -> None:
        seen.extend(alone(frames, [data]))

    for piece in pieces:
        framing.feed(piece, take=take, pass_on=pass_on)
    return seen, taken


@given(wires())
def test_what_arrives_is_what_the_library_finds(pieces):
    # Our end is a server: its peer masks.
    ours, theirs = (Protocol(Side.SERVER, max_size=LIMIT) for _ in range(2))
    assert by_hand(ours, pieces)[0] == alone(theirs, pieces)
    assert told(ours) == told(theirs)


@given(st.lists(st.tuples(SIZES, st.booleans()), max_size=5), st.booleans())
def test_what_is_sent_is_what_the_library_reads(messages, from_client):
    side, other = (Side.CLIENT, Side.SERVER)[:: 1 if from_client else -1]
    framing = Framing(Protocol(side))
    sent = [(Opcode.TEXT if text else Opcode.BINARY, b"y" * n) for n, text in messages]
    wire = [framing.encode(data, text=kind is Opcode.TEXT) for kind, data in sent]
    found = alone(Protocol(other), wire)
    assert found == [(kind, data, True) for kind, data in sent]


def test_whole_messages_never_reach_the_library():
    wire = b"".join(
        Frame(Opcode.BINARY, b"z" * 900).serialize(mask=True) for _ in "abc"
    )
    for pieces in ([wire], [wire[:1000], wire[1000:]], [bytes([b]) for b in wire]):
        seen, taken = by_hand(Protocol(Side.SERVER), pieces)
        assert taken == len(seen) == 3


def test_a_frame_begun_with_the_upgrade_is_ended_by_the_library():
    first, second = (
        Frame(Opcode.BINARY, data).serialize(mask=True) for data in (b"a" * 9, b"b" * 9)
    )
    for n in range(1, len(first)):
        frames = Protocol(Side.SERVER)
        frames.receive_data(first[:n])
        seen, taken = by_hand(frames, [first[n:], second])
        assert seen == [
            (Opcode.BINARY, b"a" * 9, True),
            (Opcode.BINARY, b"b" * 9, True),
        ]
        assert taken == 1


def test_what_the_library_has_already_is_asked_for():
    frames, passed = Protocol(Side.SERVER), []
    Framing(frames).feed(b"", take=lambda *_: None, pass_on=passed.append)
    assert passed == [b""]


def test_every_frame_is_in_the_log_of_whoever_reads_it(
    caplog: pytest.LogCaptureFixture,
):
    logger = logging.getLogger("sage.tests.framing")
    with caplog.at_level(logging.DEBUG, logger=logger.name):
        frames = Protocol(Side.SERVER, logger=logger)
        assert Framing(frames).encode(b"x", text=False) is None
        wire = Frame(Opcode.BINARY, b"logged").serialize(mask=True)
        assert by_hand(frames, [wire]) == ([(Opcode.BINARY, b"logged", True)], 0)
    assert "BINARY" in caplog.text


def test_nothing_is_sent_once_it_is_closing():
    frames = Protocol(Side.SERVER)
    frames.send_close(1000)
    assert frames.state is State.CLOSING
    assert Framing(frames).encode(b"x", text=False) is None


def test_masking_keys_differ():
    framing = Framing(Protocol(Side.CLIENT))
    keys = {framing.encode(bytes(4), text=False)[2:6] for _ in range(1000)}
    assert len(keys) > 990
