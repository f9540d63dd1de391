"""Field lines survive the way from bytes to text and back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sage.http.raw_fields import decode_fields, encode_fields

NAMES = st.from_regex(rb"[a-z][a-z0-9-]{0,8}", fullmatch=True)


@given(st.lists(st.tuples(NAMES, st.binary(max_size=12)), max_size=6))
def test_every_byte_survives(pairs):
    assert encode_fields(decode_fields(pairs)) == pairs


def test_names_go_out_in_lower_case():
    assert encode_fields((("Signature-Input", "A"),)) == [(b"signature-input", b"A")]
