from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.cli.receipts import PART_MAX_BYTES, Part, Receipt, check_path
from sage.errors import Code, DecodeError

TRANSFER = "AAAAAAAAAAAAAAAAAAAAAA"

transfers = st.from_regex(r"[A-Za-z0-9_-]{21}[AQgw]", fullmatch=True)
names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"),
    min_size=1,
    max_size=12,
).filter(lambda name: name not in {".", ".."})
paths = st.lists(names, min_size=1, max_size=6).map("/".join)


@st.composite
def parts(draw: st.DrawFn) -> Part:
    data = draw(st.binary(max_size=200))
    offset = draw(st.integers(0, 2**40)) if data else 0
    after = draw(st.integers(0, 2**40)) if data else 0
    return Part(
        transfer=draw(transfers),
        path=draw(paths),
        offset=offset,
        size=offset + len(data) + after,
        data=data,
    )


receipts = st.builds(
    Receipt,
    transfer=transfers,
    path=paths,
    size=st.integers(0, 2**53 - 1),
    sha256=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
)


@given(parts())
def test_a_part_survives_the_wire(part: Part) -> None:
    assert Part.decode(part.encode()) == part
    assert Part.decode(memoryview(bytearray(part.encode()))) == part
    assert part.is_last == (part.end == part.size)


@given(receipts)
def test_a_receipt_survives_the_wire(receipt: Receipt) -> None:
    assert Receipt.decode(receipt.encode()) == receipt


@given(parts(), st.data())
def test_no_cut_part_is_another_part_of_the_same_header(
    part: Part, data: st.DataObject
) -> None:
    frame = part.encode()
    cut = frame[: data.draw(st.integers(0, len(frame) - 1))]
    with contextlib.suppress(DecodeError):
        found = Part.decode(cut)
        assert len(found.data) < len(part.data)
        assert not found.is_last


@given(st.binary(max_size=400))
def test_any_bytes_are_a_part_or_a_decode_error(frame: bytes) -> None:
    for decode in (Part.decode, Receipt.decode):
        with contextlib.suppress(DecodeError):
            decode(frame)


def framed(data: bytes = b"abc", **changes: Any) -> bytes:
    members = {"transfer": TRANSFER, "path": "a", "offset": 0, "size": 3} | changes
    kept = {name: value for name, value in members.items() if value is not ...}
    header = json.dumps(kept).encode()
    return len(header).to_bytes(4) + header + data


def test_the_frame_that_the_changes_start_from_is_good() -> None:
    assert Part.decode(framed()).data == b"abc"


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\0\0\0",
        b"\0\0\0\2{",
        b"\xff\xff\xff\xff{}",
        framed(transfer=...),
        framed(more=1),
        framed(transfer="A" * 21 + "B"),
        framed(transfer=7),
        framed(path=7),
        framed(offset=-1),
        framed(offset=True),
        framed(offset="0"),
        framed(size=None),
        framed(size=2),
        framed(offset=1),
        framed(b""),
        framed(b"", offset=3),
        framed(b"x" * (PART_MAX_BYTES + 1), size=PART_MAX_BYTES + 1),
        (2).to_bytes(4) + b"[]",
        framed(path="a" * 9000),
    ],
)
def test_malformed_parts_are_refused(frame: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        Part.decode(frame)
    assert caught.value.code in {Code.FRAME_MALFORMED, Code.JSON_MALFORMED}


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/etc/passwd",
        "..",
        "../a",
        "a/../b",
        "a/./b",
        ".",
        "a//b",
        "a/",
        "a\0b",
        "é" * 513,
        "a\ud800",
        7,
        None,
    ],
)
def test_paths_that_lead_elsewhere_are_refused(path: object) -> None:
    with pytest.raises(DecodeError) as caught:
        check_path(path)
    assert caught.value.code is Code.FRAME_MALFORMED


@pytest.mark.parametrize("path", ["a", "a/b", "...", "a b\nc", "é" * 512, "..a/b.."])
def test_other_paths_are_fine(path: str) -> None:
    assert check_path(path) == path


@pytest.mark.parametrize(
    "change", [{"sha256": "0" * 63}, {"sha256": "A" * 64}, {"size": -1}, {"x": 1}]
)
def test_malformed_receipts_are_refused(change: dict[str, object]) -> None:
    members = {"transfer": TRANSFER, "path": "a", "size": 3, "sha256": "0" * 64}
    Receipt.decode(json.dumps(members).encode())
    with pytest.raises(DecodeError) as caught:
        Receipt.decode(json.dumps(members | change).encode())
    assert caught.value.code is Code.FRAME_MALFORMED
