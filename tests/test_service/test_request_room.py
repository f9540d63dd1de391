"""Places and bytes: never more than there are, some always left for those known."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.errors import Overloaded
from sage.service.request_room import RequestRoom

ADA, BOB = "did:sage:web:a.example:ada", "did:sage:web:a.example:bob"


def test_no_more_requests_than_there_are_places():
    room = RequestRoom(2, 100)
    with room.enter() as one, room.enter():
        one.give_to(ADA)
        with pytest.raises(Overloaded, match="requests"), room.enter():
            pass
    with room.enter(), room.enter():
        pass


@pytest.mark.parametrize(("places", "strangers"), [(1, 1), (2, 1), (3, 2), (8, 4)])
def test_strangers_have_half_of_them(places, strangers):
    room = RequestRoom(places, 100)
    with ExitStack() as stack:
        for _ in range(strangers):
            stack.enter_context(room.enter())
            assert not room.is_crowded
        if places > strangers:
            place = stack.enter_context(room.enter())
            assert room.is_crowded
            place.give_to(ADA)
            place.give_to(ADA)
            assert not room.is_crowded
    assert not room.is_crowded


@pytest.mark.parametrize(("places", "each"), [(1, 1), (2, 1), (3, 2), (8, 4)])
def test_so_has_each_peer(places, each):
    room = RequestRoom(places, 100)
    with ExitStack() as stack:
        for _ in range(each):
            stack.enter_context(room.enter()).give_to(ADA)
        if places > each:
            with room.enter() as more, pytest.raises(Overloaded, match="one peer"):
                more.give_to(ADA)
            with room.enter() as other:
                other.give_to(BOB)
    with room.enter() as place:
        place.give_to(ADA)
    assert not room._requests_of


def test_who_leaves_takes_nobody_else_along():
    room = RequestRoom(5, 100)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(room.enter()).give_to(ADA)
        with room.enter() as third:
            third.give_to(ADA)
        with room.enter() as fourth, ExitStack() as leaving:
            leaving.enter_context(room.enter()).give_to(ADA)
            with pytest.raises(Overloaded, match="one peer"):
                fourth.give_to(ADA)


def test_what_one_place_gives_back_is_not_all_of_its_peers():
    room = RequestRoom(9, 100)
    with room.enter() as first, room.enter() as second:
        for place in (first, second):
            place.give_to(ADA)
        first.take(20)
        second.take(5)
        second.release()
        second.take(5)
        with pytest.raises(Overloaded, match="one peer"):
            second.take(1)


def test_nobody_has_more_than_a_quarter_of_the_bytes():
    room = RequestRoom(9, 100)
    with ExitStack() as stack:
        for peer in (None, ADA, BOB):
            first, second = (stack.enter_context(room.enter()) for _ in range(2))
            if peer is not None:
                first.give_to(peer)
                second.give_to(peer)
            first.take(20)
            second.take(5)
            with pytest.raises(Overloaded, match="one peer"):
                second.take(1)
            second.release()
    assert room.bytes == 0


def test_all_together_have_no_more_than_there_are():
    room = RequestRoom(9, 8)
    with ExitStack() as stack:
        for number in range(4):
            place = stack.enter_context(room.enter())
            place.give_to(f"{ADA}{number}")
            place.take(2)
        place = stack.enter_context(room.enter())
        place.give_to(BOB)
        with pytest.raises(Overloaded, match=r"too many bytes at once$"):
            place.take(1)
    assert room.bytes == 0


def test_what_was_read_moves_with_its_owner():
    room = RequestRoom(9, 100)
    with room.enter() as place:
        place.take(25)
        place.give_to(ADA)
        with room.enter() as stranger:
            stranger.take(25)
        with room.enter() as another:
            another.give_to(ADA)
            with pytest.raises(Overloaded):
                another.take(1)
    assert room.bytes == 0


@given(
    st.lists(
        st.tuples(
            st.integers(0, 5),
            st.sampled_from(["enter", "leave", "give", "take", "release"]),
            st.integers(0, 30),
        ),
        max_size=80,
    )
)
def test_the_counts_are_those_of_a_model(steps):
    """Whatever is done in whatever order, what is counted is what there is."""
    room = RequestRoom(4, 100)
    open_places: dict[int, tuple[object, ExitStack]] = {}
    taken: dict[int, int] = {}
    for number, act, amount in steps:
        try:
            if act == "enter" and number not in open_places:
                stack = ExitStack()
                open_places[number] = stack.enter_context(room.enter()), stack
                taken[number] = 0
            elif number in open_places and act != "enter":
                place, stack = open_places[number]
                if act == "leave":
                    stack.close()
                    del open_places[number], taken[number]
                elif act == "give":
                    place.give_to((ADA, BOB)[amount % 2])
                elif act == "take":
                    taken[number] += amount
                    place.take(amount)
                else:
                    taken[number] = 0
                    place.release()
        except Overloaded:
            if number in open_places:  # as a request that is refused
                open_places.pop(number)[1].close()
                del taken[number]
            else:
                assert len(open_places) == 4
        assert room.bytes == sum(taken.values())
        strangers = sum(place.peer is None for place, _ in open_places.values())
        assert room.is_crowded == (strangers > 2)
    for _, stack in open_places.values():
        stack.close()
    assert (room.bytes, room.is_crowded) == (0, False)
    assert not room._bytes_of
    assert not room._requests_of
