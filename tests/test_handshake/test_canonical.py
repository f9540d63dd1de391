"""Forms write what `jcs` writes, whatever the object."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.encoding import jcs
from sage.errors import UsageError
from sage.handshake.canonical import BINDING, INITIATION, TRANSCRIPT, Form

NAMES = ("v", "ctx", "initDid", "a", "Z")
FORM = Form(*NAMES)
ascii_texts = st.text(st.characters(max_codepoint=127))
texts = st.text(st.characters(exclude_categories=["Cs"]))
scalars = st.none() | st.booleans() | st.integers(0, 2**53 - 1) | texts


@given(st.fixed_dictionaries(dict.fromkeys(NAMES, ascii_texts)))
def test_ascii_texts(members):
    assert FORM.write(members) == jcs(members)
    assert FORM.write(dict(reversed(members.items()))) == jcs(members)


@pytest.mark.parametrize("character", [*map(chr, range(129))])
@pytest.mark.parametrize("name", NAMES)
def test_each_character_alone_in_each_value(name, character):
    members = dict.fromkeys(NAMES, "text") | {name: f"a{character}b"}
    assert FORM.write(members) == jcs(members)


@given(st.fixed_dictionaries(dict.fromkeys(NAMES, scalars | st.lists(scalars))))
def test_other_values(members):
    assert FORM.write(members) == jcs(members)


@given(st.dictionaries(st.sampled_from(NAMES) | texts, scalars))
def test_other_names(members):
    assert FORM.write(members) == jcs(members)


@pytest.mark.parametrize(
    "value", ["\ud800", b"bytes", float("nan"), type("T", (str,), {})("x")]
)
def test_what_is_no_json_value(value):
    members = dict.fromkeys(NAMES, "text") | {"a": value}
    with pytest.raises(UsageError) as ours:
        FORM.write(members)
    with pytest.raises(UsageError) as theirs:
        jcs(members)
    assert str(ours.value) == str(theirs.value)


def test_worked_objects(worked):
    initiation = {
        name: value
        for name, value in worked["transcript"].items()
        if name not in ("ephS", "kid")
    }
    for form, members in (
        (BINDING, worked["binding"]),
        (INITIATION, initiation),
        (TRANSCRIPT, worked["transcript"]),
    ):
        assert form.write(members) == jcs(members)
        # The form, not the way around it: it takes exactly these names.
        assert form._names == members.keys()
