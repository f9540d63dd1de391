from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sage.cli.receipts import Part, Receipt
from sage.cli.receiver import Receiver
from sage.cli.saving import SaveFolder
from sage.errors import RemoteFailure
from sage.service import Clock, Message
from sage.types import Did, SessionId

ADA, EVE = Did("did:sage:web:a.example:ada"), Did("did:sage:web:a.example:eve")


def transfer(number: int) -> str:
    return f"{number:021d}A"


def part(
    data: bytes = b"", offset: int = 0, size: int | None = None, number: int = 0
) -> Part:
    whole = offset + len(data) if size is None else size
    return Part(
        transfer=transfer(number), path="a/b", offset=offset, size=whole, data=data
    )


async def give(receiver: Receiver, piece: Part | bytes, peer: Did = ADA) -> Receipt:
    payload = piece.encode() if isinstance(piece, Part) else piece
    message = Message(
        payload=payload, peer=peer, id="id", session_id=SessionId("A" * 22)
    )
    return Receipt.decode(await receiver(message))


async def refused(receiver: Receiver, piece: Part | bytes, peer: Did = ADA) -> str:
    with pytest.raises(RemoteFailure) as caught:
        await give(receiver, piece, peer)
    return caught.value.reason


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[SaveFolder]:
    folder = SaveFolder(tmp_path)
    yield folder
    folder.close()


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_each_receipt_is_of_everything_so_far(
    tmp_path: Path, pieces: list[bytes]
) -> None:
    whole, offset, folder = b"".join(pieces), 0, SaveFolder(tmp_path)
    receiver = Receiver(folder=folder)
    for data in pieces or [b""]:
        receipt = await give(receiver, part(data, offset, len(whole)))
        offset += len(data)
        assert receipt == Receipt(
            transfer=transfer(0),
            path="a/b",
            size=offset,
            sha256=hashlib.sha256(whole[:offset]).hexdigest(),
        )
    assert (tmp_path / "a.example/ada/a/b").read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == ["a.example"]
    folder.close()


async def test_a_part_out_of_order_fails_and_changes_nothing() -> None:
    receiver = Receiver()
    await give(receiver, part(b"one", 0, 9))
    for wrong in (
        part(b"one", 0, 9),
        part(b"two", 6, 9),
        part(b"two", 3, 8),
        Part(transfer=transfer(0), path="other", offset=3, size=9, data=b"two"),
        part(b"two", 3, 9, number=1),
    ):
        assert await refused(receiver, wrong) == "operation_failed"
    await give(receiver, part(b"two", 3, 9))
    receipt = await give(receiver, part(b"end", 6, 9))
    assert receipt.sha256 == hashlib.sha256(b"onetwoend").hexdigest()


async def test_a_finished_transfer_does_not_go_on() -> None:
    receiver = Receiver()
    await give(receiver, part(b"all"))
    assert await refused(receiver, part(b"more", 3, 9)) == "operation_failed"


async def test_anothers_transfer_is_out_of_reach() -> None:
    receiver = Receiver()
    await give(receiver, part(b"one", 0, 6))
    assert await refused(receiver, part(b"two", 3, 6), EVE) == "operation_failed"
    await give(receiver, part(b"two", 3, 6))


async def test_malformed_payloads_are_operation_failed() -> None:
    assert await refused(Receiver(), b"nonsense") == "operation_failed"
    escape = Part(transfer=transfer(0), path="../x", offset=0, size=0).encode()
    assert await refused(Receiver(), escape) == "operation_failed"


async def test_open_transfers_are_bounded_for_each_peer_and_in_all() -> None:
    receiver = Receiver(max_open=3, max_open_per_peer=2)
    for number in range(2):
        await give(receiver, part(b"x", 0, 2, number))
    assert await refused(receiver, part(b"x", 0, 2, 2)) == "unavailable"
    await give(receiver, part(b"x", 0, 2, 0), EVE)
    assert await refused(receiver, part(b"x", 0, 2, 1), EVE) == "unavailable"
    # Whole files need no room, and one that ends gives its room back.
    await give(receiver, part(b"x", 0, 1, 7))
    await give(receiver, part(b"x", 1, 2, 1))
    await give(receiver, part(b"x", 0, 2, 2))


@pytest.mark.parametrize("whole", [True, False])
async def test_nothing_is_left_of_what_cannot_be_kept(
    folder: SaveFolder, tmp_path: Path, whole: bool
) -> None:
    """A folder has the file's name; or the file is gone before it is complete."""
    receiver = Receiver(folder=folder)
    if whole:
        (tmp_path / "a.example/ada/a/b").mkdir(parents=True)
        assert await refused(receiver, part(b"x")) == "operation_failed"
    else:
        await give(receiver, part(b"x", 0, 2))
        (begun,) = tmp_path.glob(".sage-*.part")
        begun.unlink()
        assert await refused(receiver, part(b"y", 1, 2)) == "operation_failed"
    assert not list(tmp_path.glob(".sage-*.part"))
    # It is given up: the same transfer begins with its first part.
    assert await refused(receiver, part(b"y", 1, 2)) == "operation_failed"
    assert not receiver._open


async def test_a_transfer_that_stands_still_gives_way(
    folder: SaveFolder, tmp_path: Path
) -> None:
    now = [0.0]
    receiver = Receiver(
        folder=folder, clock=Clock(monotonic=lambda: now[0]), max_open_per_peer=1
    )
    await give(receiver, part(b"x", 0, 2, 0))
    now[0] = 119.0
    assert await refused(receiver, part(b"x", 0, 2, 1)) == "unavailable"
    now[0] = 121.0
    await give(receiver, part(b"x", 0, 2, 1))
    assert await refused(receiver, part(b"x", 1, 2, 0)) == "operation_failed"
    assert len(list(tmp_path.iterdir())) == 1
    receiver.close()
    assert not list(tmp_path.iterdir())


async def test_only_allowed_agents_are_received_from() -> None:
    receiver = Receiver(allowed=[ADA])
    await give(receiver, part(b"x"))
    assert await refused(receiver, part(b"x"), EVE) == "policy_denied"


async def test_nobody_replaces_what_somebody_else_sent(
    folder: SaveFolder, tmp_path: Path
) -> None:
    receiver = Receiver(folder=folder)
    await give(receiver, part(b"of ada", 0, 6), ADA)
    await give(receiver, part(b"of eve", 0, 6), EVE)
    kept = {path: path.read_bytes() for path in tmp_path.rglob("b")}
    assert sorted(kept.values()) == [b"of ada", b"of eve"]
    assert kept[tmp_path / "a.example/ada/a/b"] == b"of ada"


async def test_what_cannot_be_written_is_operation_failed(
    folder: SaveFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = tmp_path / "a.example" / "ada"
    own.mkdir(parents=True)
    (own / "a").symlink_to(tmp_path.parent)
    assert await refused(Receiver(folder=folder), part(b"x")) == "operation_failed"
    assert [path.name for path in own.iterdir()] == ["a"]
    assert ADA in caplog.text


async def test_a_forged_line_does_not_reach_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "sage.receipts")
    piece = Part(
        transfer=transfer(0), path="x\nWARNING refused", offset=0, size=1, data=b"x"
    )
    await give(Receiver(), piece)
    (record,) = caplog.records
    assert "\n" not in record.getMessage()


def test_the_bounds_are_keyword_only() -> None:
    wrong: Any = Receiver
    with pytest.raises(TypeError):
        wrong(None, None)


async def test_who_is_not_allowed_is_not_on_a_stream_either() -> None:
    class Untouched:
        peer = EVE

        def __aiter__(self) -> Any:
            raise AssertionError("its records were read")

    with pytest.raises(RemoteFailure) as caught:
        await Receiver(allowed=[ADA]).serve_stream(Untouched())  # type: ignore[arg-type]
    assert caught.value.reason == "policy_denied"
