"""Component identifiers: RFC 9421, section 2."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.errors import Code, DecodeError, UsageError
from sage.http.component import (
    DERIVED,
    Component,
    check_distinct,
    named_components,
    parse_components,
    parsed_component,
)

from .conftest import outcome


def test_a_list_is_parsed_in_order() -> None:
    text = '("@method" "content-digest";req "x";key="a" "y";bs;tr "z";sf)'
    assert parse_components(text) == (
        Component('"@method"', "@method"),
        Component('"content-digest";req', "content-digest", req=True, plain=False),
        Component('"x";key="a"', "x", key="a", plain=False),
        Component('"y";bs;tr', "y", bs=True, tr=True, plain=False),
        Component('"z";sf', "z", sf=True, plain=False),
    )
    assert parse_components("()") == ()
    (query,) = parse_components('("@query-param";name="a b%20")')
    assert query.parameter == "a b%20"


def test_white_space_goes() -> None:
    (one, two) = parse_components('(  "@method"   "date";   req )')
    assert (one.identifier, two.identifier) == ('"@method"', '"date";req')


@pytest.mark.parametrize("name", sorted(DERIVED - {"@query-param"}))
def test_derived_names_are_known(name: str) -> None:
    (component,) = named_components((name,))
    assert component.name == name
    assert component.plain


@pytest.mark.parametrize(
    "text",
    [
        '("@unknown")',
        '("@signature-params")',
        '("@METHOD")',
        '("@method";sf)',
        '("@method";bs)',
        '("@method";tr)',
        '("@method";key="a")',
        '("@method";name="a")',
        '("@query-param")',
        '("@query-param";name)',
        '("@query-param";name=a)',
        '("@status";req)',
        '("Date")',
        '("")',
        '("a b")',
        '("date\\"")',
        '("date";unknown)',
        '("date";req=1)',
        '("date";req=?0)',
        '("date";sf="yes")',
        '("date";key)',
        '("date";key=token)',
        '("date";name="a")',
        '("date";bs;sf)',
        '("date";bs;key="a")',
        "(date)",
        "(1)",
        "(:YWJj:)",
        '("date" "date")',
        '("date";req;tr "date";tr;req)',
        '("date";req;req)',
        '"date"',
        '("date"',
        '("date");x=1, b',
        '("date");x=1',
        '("date"), b',
        '("date"), a=("x")',
        "",
    ],
)
def test_what_is_no_list_of_components(text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_components(text)
    assert caught.value.code is Code.SIG_MALFORMED


def test_the_same_name_with_other_parameters_is_another_component() -> None:
    assert len(parse_components('("date" "date";req "date";tr "date";bs)')) == 4
    assert len(parse_components('("a";key="x" "a";key="y" "a";key="x";req)')) == 3


def test_their_number_is_limited() -> None:
    names = " ".join(f'"x{n}"' for n in range(64))
    assert len(parse_components(f"({names})")) == 64
    with pytest.raises(DecodeError, match="64"):
        parse_components(f'({names} "one-more")')


def test_our_own_names_are_plain_or_whole() -> None:
    components = named_components(("@method", "date", '"date";req'))
    assert [c.identifier for c in components] == ['"@method"', '"date"', '"date";req']
    for wrong in (("Date",), ("date", "date"), ('"date',), ("@nothing",), ("ä",)):
        with pytest.raises(UsageError):
            named_components(wrong)


def test_distinct_components_stay_as_they_are() -> None:
    one, two = Component('"a"', "a"), Component('"b"', "b")
    assert check_distinct([two, one]) == (two, one)


@given(st.text(alphabet='()"@;=: abcmethodreqkynasfbtr?01-\\'))
def test_any_list_is_components_or_a_documented_error(text: str) -> None:
    components = outcome(lambda: parse_components(f"({text})"))
    if components is not Code.SIG_MALFORMED:
        again = f"({' '.join(c.identifier for c in components)})"
        assert parse_components(again) == components


def test_an_identifier_is_a_string() -> None:
    with pytest.raises(DecodeError):
        parsed_component((b"date", {}))


def test_what_a_stranger_makes_long_is_not_kept() -> None:
    def listed(number: int) -> str:
        names = [f'"x-{number}-{n:0100}"' for n in range(60)]
        return f"({' '.join(names)})"

    short = '("date" "x-once")'
    assert parse_components(short) is parse_components(short)
    tracemalloc.start()
    try:
        for number in range(20):
            assert len(parse_components(listed(number))) == 60
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 20 * 3_000  # kept, each would hold 30,000
