"""Order, ends, switches and seams of a stream's records, without a wire."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.errors import (
    AuthenticationError,
    ProtocolError,
    ReplayError,
    SageError,
    SessionClosed,
    UsageError,
)
from sage.limits import STREAM_SUCCESSORS_MAX
from sage.session import Session
from sage.transport import Records
from sage.types import Role

NOW = 1.0
_ids = count(1)


def derive(role: Role, number: int) -> Session:
    session = Session.v0_10(bytes(32), bytes(32), role, now=0.0)
    stream_id = number.to_bytes(16, "big")
    return session.derive_stream(stream_id, "chacha20poly1305", now=0.0)


def pair() -> tuple[Session, Session]:
    number = next(_ids)
    return derive(Role.INITIATOR, number), derive(Role.RESPONDER, number)


def ends() -> tuple[Records, Records]:
    ours, theirs = pair()
    return Records(ours), Records(theirs)


def test_there_and_back():
    ada, grace = ends()
    for n in range(5):
        assert grace.open(ada.seal(b"%d" % n, now=NOW), now=NOW) == b"%d" % n
        assert ada.open(grace.seal(b"-%d" % n, now=NOW), now=NOW) == b"-%d" % n
    assert ada.record_max_bytes == 1024 * 1024 + 36
    assert ada.expires_at == NOW + 600


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=12))
def test_many_at_once_are_as_many_one_by_one(plaintexts):
    ada, grace = ends()
    sealed = ada.seal_many(plaintexts, now=NOW)
    assert [record[:8] for record in sealed] == [
        number.to_bytes(8, "big") for number in range(len(plaintexts))
    ]
    assert grace.open_many(sealed, now=NOW) == (plaintexts, None)


@given(st.data())
def test_what_happens_to_many_happens_to_each(data):
    """Whatever becomes of records on the way: opened together, opened singly."""
    number = next(_ids)
    ada = Records(derive(Role.INITIATOR, number))
    grace, single = (Records(derive(Role.RESPONDER, number)) for _ in range(2))
    sent = [ada.seal(b"%d" % number, now=NOW) for number in range(6)]
    if data.draw(st.booleans()):
        sent.append(ada.end(now=NOW))
    change = st.sampled_from(["keep", "drop", "twice", "flip", "cut", "swap", "empty"])
    arrived: list[bytes] = []
    for record in sent:
        what = data.draw(change)
        if what == "drop":
            continue
        bent = {
            "flip": record[:-1] + bytes([record[-1] ^ 1]),
            "cut": record[: data.draw(st.integers(0, 40))],
            "empty": b"",
        }.get(what, record)
        arrived.append(bent)
        if what == "twice":
            arrived.append(record)
        if what == "swap" and len(arrived) > 1:
            arrived[-2:] = arrived[:-3:-1]
    opened, error = [], None
    for record in arrived:
        try:
            opened.append(single.open(record, now=NOW))
        except SageError as exc:
            error = exc
            break
    found, wrong = grace.open_many(arrived, now=NOW)
    assert found == opened
    assert (type(wrong), str(wrong)) == (type(error), str(error))
    assert grace.in_ended == single.in_ended


@pytest.mark.parametrize("wrong", [b"", "text", 7, None, bytes(1024 * 1024 + 1)])
def test_what_cannot_be_measured_is_not_sealed(wrong):
    ada, _ = ends()
    with pytest.raises(UsageError):
        ada.measure([b"good", wrong])
    assert ada.measure([b"1", bytearray(22), memoryview(bytes(1024 * 1024))]) == [
        1,
        22,
        1024 * 1024,
    ]


def test_many_over_a_seam_and_after_the_end():
    ada, grace = ends()
    assert grace.open_many(ada.seal_many([b"1", b"2"], now=NOW), now=NOW)[1] is None
    ours, theirs = pair()
    grace.expect(theirs)
    before = ada.seal_many([b"3"], now=NOW)
    ada.expect(ours)
    ada.switch(ours)
    sealed = [*before, *ada.seal_many([b"4", b"5"], now=NOW), ada.end(now=NOW)]
    assert grace.open_many(sealed, now=NOW) == ([b"3", b"4", b"5", b""], None)
    with pytest.raises(UsageError, match="has ended"):
        ada.seal_many([b"6"], now=NOW)
    for late in (sealed[:1], sealed):
        opened, error = grace.open_many(late, now=NOW)
        assert not opened
        assert isinstance(error, ProtocolError)
    grace.close()


def test_the_end_of_each_direction():
    ada, grace = ends()
    assert grace.open(ada.end(now=NOW), now=NOW) == b""
    assert ada.out_ended
    assert grace.in_ended
    assert not (ada.out_ended and ada.in_ended)
    for sealing in (lambda: ada.seal(b"x", now=NOW), lambda: ada.end(now=NOW)):
        with pytest.raises(UsageError):
            sealing()
    assert ada.open(grace.seal(b"still", now=NOW), now=NOW) == b"still"
    assert ada.open(grace.end(now=NOW), now=NOW) == b""
    assert ada.out_ended
    assert ada.in_ended
    assert grace.out_ended
    assert grace.in_ended


def test_nothing_comes_after_the_end():
    ours, theirs = pair()
    grace = Records(theirs)
    grace.open(ours.seal(b"", now=NOW), now=NOW)
    with pytest.raises(ProtocolError) as failure:
        grace.open(ours.seal(b"more", now=NOW), now=NOW)
    assert failure.value.code == "frame.malformed"


@pytest.mark.parametrize("wrong", [b"", bytearray(), "text", None, 5])
def test_what_cannot_be_sent(wrong):
    ada, grace = ends()
    with pytest.raises(UsageError):
        ada.seal(wrong, now=NOW)
    assert grace.open(ada.seal(b"x", now=NOW), now=NOW) == b"x"


def test_a_missing_record_is_noticed():
    ada, grace = ends()
    ada.seal(b"dropped", now=NOW)
    with pytest.raises(ProtocolError) as failure:
        grace.open(ada.seal(b"next", now=NOW), now=NOW)
    assert failure.value.code == "session.window"


def test_repeated_and_forged_records():
    ada, grace = ends()
    record = ada.seal(b"x", now=NOW)
    with pytest.raises(AuthenticationError):
        grace.open(record[:-1] + bytes([record[-1] ^ 1]), now=NOW)
    grace.open(record, now=NOW)
    with pytest.raises(ReplayError):
        grace.open(record, now=NOW)


def test_each_direction_switches_by_itself():
    ada, grace = ends()
    for n in range(3):
        grace.open(ada.seal(b"a%d" % n, now=NOW), now=NOW)
    ours, theirs = pair()
    ada.expect(ours)
    grace.expect(theirs)
    # Ada goes on for a while, and Grace has switched already.
    grace.switch(theirs)
    assert ada.open(grace.seal(b"new", now=NOW), now=NOW) == b"new"
    assert grace.open(ada.seal(b"old", now=NOW), now=NOW) == b"old"
    ada.switch(ours)
    assert grace.open(ada.seal(b"new", now=NOW), now=NOW) == b"new"
    assert ada.open(grace.seal(b"newer", now=NOW), now=NOW) == b"newer"


def test_nothing_can_be_dropped_at_the_seam():
    ada, grace = ends()
    grace.open(ada.seal(b"1", now=NOW), now=NOW)
    ada.seal(b"dropped by somebody", now=NOW)
    ours, theirs = pair()
    grace.expect(theirs)
    ada.switch(ours)
    with pytest.raises(SageError):
        grace.open(ada.seal(b"2", now=NOW), now=NOW)


def test_an_old_key_is_gone_after_the_switch():
    ours, theirs = pair()
    ada, grace = Records(ours), Records(theirs)
    late = ours.seal(b"late", now=NOW)
    new_ours, new_theirs = pair()
    grace.expect(new_theirs)
    grace.switch(new_theirs)
    ada.switch(new_ours)
    # As if Ada had sealed nothing before the switch.
    new = new_ours.seal(b"new", (0).to_bytes(8, "big"), now=NOW)
    assert grace.open(new, now=NOW) == b"new"
    with pytest.raises((AuthenticationError, ReplayError)):
        grace.open(late, now=NOW)
    assert theirs.closed


def test_an_old_key_is_gone_once_both_directions_have_switched():
    old, theirs = pair()
    ada, grace = Records(old), Records(theirs)
    ours, new = pair()
    ada.expect(ours)
    grace.expect(new)
    grace.switch(new)
    assert ada.open(grace.seal(b"x", now=NOW), now=NOW) == b"x"
    assert not old.closed  # of what Ada sends
    ada.switch(ours)
    assert old.closed


@given(st.lists(st.sampled_from(["ada", "grace", "renew"]), max_size=60))
def test_nothing_is_lost_or_repeated_across_any_renewals(steps):
    """Whoever is silent for how many renewals: the seam leads over all of them."""
    ada, grace = ends()
    numbers = {"ada": 0, "grace": 0}
    for step in steps:
        if step == "renew":
            ours, theirs = pair()
            ada.expect(ours)
            grace.expect(theirs)
            grace.switch(theirs)
            ada.switch(ours)
            continue
        out, into = (ada, grace) if step == "ada" else (grace, ada)
        data = b"%d" % numbers[step]
        assert into.open(out.seal(data, now=NOW), now=NOW) == data
        numbers[step] += 1
    assert grace.open(ada.end(now=NOW), now=NOW) == b""
    ada.close()
    grace.close()


def test_a_refused_successor_is_wiped():
    ada, grace = ends()
    ours, theirs = pair()
    ada.expect(ours)
    ada.forget(ours)
    assert ours.closed
    with pytest.raises(AuthenticationError):
        ada.open(theirs.seal(b"x", now=NOW), now=NOW)
    assert grace.open(ada.seal(b"x", now=NOW), now=NOW) == b"x"


def test_a_refused_successor_leaves_its_place_to_others():
    ada, _ = ends()
    kept, refused = pair()[0], pair()[0]
    ada.expect(kept)
    ada.expect(refused)
    ada.forget(refused)
    for _ in range(STREAM_SUCCESSORS_MAX - 1):
        ada.expect(pair()[0])
    assert not kept.closed


def test_a_successor_in_use_is_not_wiped_where_it_is_forgotten():
    """Its peer has used it, whatever the answer to the renewal says."""
    ada, grace = ends()
    ours, theirs = pair()
    ada.expect(ours)
    grace.expect(theirs)
    grace.switch(theirs)
    grace.forget(theirs)
    assert ada.open(grace.seal(b"x", now=NOW), now=NOW) == b"x"
    ada.forget(ours)
    assert ada.open(grace.seal(b"y", now=NOW), now=NOW) == b"y"


def test_of_many_successors_the_oldest_gives_way():
    ada, _ = ends()
    offered = [pair()[0] for _ in range(STREAM_SUCCESSORS_MAX + 2)]
    for session in offered:
        ada.expect(session)
    closed = [session.closed for session in offered]
    assert closed == [True, True] + [False] * STREAM_SUCCESSORS_MAX


# How a renewal ends that Ada began: both know; Grace does; nobody but Ada does.
RENEWALS = ("known", "answer lost", "request lost")


@given(
    st.lists(st.sampled_from(["ada", "grace", *RENEWALS]), max_size=60),
    st.sampled_from([1, 14]),
)
def test_nothing_is_lost_where_nobody_knows_whether_it_was_renewed(steps, in_a_row):
    """Whatever arrives late: after a success, and so many tries in doubt."""
    ada, grace = ends()
    in_doubt, under_way = 0, {"ada": [], "grace": []}

    def arrive():
        for name, into in (("ada", grace), ("grace", ada)):
            for data, record in under_way[name]:
                assert into.open(record, now=NOW) == data
            under_way[name].clear()

    for number, step in enumerate(steps * in_a_row):
        if step in under_way:
            data = b"%d" % number
            record = (ada if step == "ada" else grace).seal(data, now=NOW)
            under_way[step].append((data, record))
            continue
        ours, theirs = pair()
        if step == "known" or in_doubt == 14:
            in_doubt = 0
            # The answer comes behind what Grace has sent, and finds it read.
            ada.expect(ours)
            arrive()
            grace.expect(theirs)
            grace.switch(theirs)
            ada.switch(ours)
            continue
        in_doubt += 1
        ada.expect(ours)
        if step == "answer lost":
            grace.expect(theirs)
            grace.switch(theirs)
    arrive()
    assert grace.open(ada.end(now=NOW), now=NOW) == b""
    assert ada.open(grace.end(now=NOW), now=NOW) == b""


def test_a_session_in_use_outlives_the_renewals_in_doubt_behind_it():
    ada, grace = ends()
    ours, theirs = pair()
    ada.expect(ours)
    grace.expect(theirs)
    grace.switch(theirs)
    ada.switch(ours)
    late = []
    for number in range(14):
        mine, yours = pair()
        ada.expect(mine)
        late.append((b"%d" % number, grace.seal(b"%d" % number, now=NOW)))
        grace.expect(yours)
        grace.switch(yours)
    assert grace.open(ada.seal(b"x", now=NOW), now=NOW) == b"x"
    for data, record in late:
        assert ada.open(record, now=NOW) == data


def test_closing_wipes_all():
    ours, _ = pair()
    successor, _ = pair()
    ada = Records(ours)
    ada.expect(successor)
    ada.close()
    ada.close()
    assert ours.closed
    assert successor.closed
    with pytest.raises(SessionClosed):
        ada.seal(b"x", now=NOW)
