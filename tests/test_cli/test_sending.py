from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sage.cli.files import Found, find_files
from sage.cli.receipts import PART_MAX_BYTES, Part, Receipt
from sage.cli.receiver import Receiver
from sage.cli.sending import Outcome, send_files
from sage.errors import ConnectionLost, DeadlineExceeded, RemoteFailure
from sage.service import Message
from sage.types import Did, SessionId

PEER = Did("did:sage:web:a.example:ada")


class Wire:
    """The real receiver at the other end, without the network between."""

    def __init__(self, alter: Callable[[Receipt], Receipt] | None = None) -> None:
        self.receiver = Receiver()
        self.alter = alter
        self.asked = self.now = self.most = 0

    async def ask(self, payload: bytes) -> bytes:
        self.asked += 1
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        message = Message(
            payload=payload, peer=PEER, id="id", session_id=SessionId("A" * 22)
        )
        answer = await self.receiver(message)
        self.now -= 1
        if self.alter is not None:
            return self.alter(Receipt.decode(answer)).encode()
        return answer


class Count:
    def __init__(self) -> None:
        self.size = 0
        self.paths: list[str] = []

    def advance(self, size: int) -> None:
        self.size += size

    def finish(self, path: str) -> None:
        self.paths.append(path)


async def send(wire: Wire, top: Path, parallel: int = 8) -> tuple[Outcome, Count]:
    count = Count()
    outcome = await send_files(
        wire.ask, find_files(top), progress=count, parallel=parallel
    )
    return outcome, count


async def test_every_file_gets_its_receipt(tmp_path: Path) -> None:
    sizes = [0, 1, 65_535, 65_536, PART_MAX_BYTES, 2 * PART_MAX_BYTES + 1]
    for index, size in enumerate(sizes):
        (tmp_path / str(index)).write_bytes(os.urandom(size))
    (tmp_path / "link").symlink_to("0")
    wire = Wire()
    outcome, count = await send(wire, tmp_path)
    assert outcome.receipts == {
        str(index): (
            size,
            hashlib.sha256((tmp_path / str(index)).read_bytes()).hexdigest(),
        )
        for index, size in enumerate(sizes)
    }
    assert not outcome.failures
    assert outcome.skipped == {"link": "a symbolic link"}
    assert wire.asked == len(outcome.latencies_s) == 8
    assert count.size == outcome.total_bytes == sum(sizes)
    assert sorted(count.paths) == sorted(outcome.receipts)
    assert outcome.seconds > 0


@pytest.mark.parametrize("parallel", [1, 4])
async def test_as_many_at_once_as_asked_for(tmp_path: Path, parallel: int) -> None:
    for index in range(20):
        (tmp_path / str(index)).write_bytes(b"x")
    wire = Wire()
    outcome, _ = await send(wire, tmp_path, parallel)
    assert len(outcome.receipts) == 20
    assert wire.most == parallel


@pytest.mark.parametrize(
    ("alter", "why"),
    [
        (lambda r: replace(r, sha256="0" * 64), "SHA-256 is another"),
        (lambda r: replace(r, size=r.size + 1), "for something else"),
        (lambda r: replace(r, path="other"), "for something else"),
        (lambda r: replace(r, transfer="A" * 22), "for something else"),
        (lambda r: replace(r, sha256="zero"), "not a receipt"),
    ],
)
async def test_a_wrong_receipt_is_no_receipt(
    tmp_path: Path, alter: Callable[[Receipt], Receipt], why: str
) -> None:
    (tmp_path / "x").write_bytes(b"x")
    outcome, count = await send(Wire(alter), tmp_path)
    assert not outcome.receipts
    assert why in outcome.failures["x"]
    assert count.paths == ["x"]


async def test_one_files_failure_is_not_anothers(tmp_path: Path) -> None:
    for name in ("bad", "gone", "good"):
        (tmp_path / name).write_bytes(b"x")
    files = [
        *find_files(tmp_path),
        Found(tmp_path / "good", "x" * 2000, 1),
        Found(tmp_path / "good", "not \ud800 text", 1),
    ]
    (tmp_path / "gone").unlink()
    wire = Wire()

    async def ask(payload: bytes) -> bytes:
        if Part.decode(payload).path == "bad":
            raise RemoteFailure("policy_denied")
        return await wire.ask(payload)

    outcome = await send_files(ask, files, progress=Count())
    assert list(outcome.receipts) == ["good"]
    assert outcome.failures["bad"] == "the peer answered: policy_denied"
    assert "No such file" in outcome.failures["gone"]
    assert len(outcome.failures) == 4


@pytest.mark.parametrize("error", [ConnectionLost, DeadlineExceeded])
async def test_a_failed_channel_ends_everything(
    tmp_path: Path, error: type[Exception]
) -> None:
    for index in range(20):
        (tmp_path / str(index)).write_bytes(b"x")
    wire = Wire()

    async def ask(payload: bytes) -> bytes:
        if wire.asked == 5:
            raise error("the end")
        return await wire.ask(payload)

    with pytest.raises(error, match="the end"):
        await send_files(ask, find_files(tmp_path), progress=Count(), parallel=3)
    assert len(asyncio.all_tasks()) == 1


def test_latencies_are_real_ones() -> None:
    outcome = Outcome()
    assert outcome.latency_s(0.5) == 0.0
    outcome.latencies_s.extend(float(n) for n in range(100, 0, -1))
    assert outcome.latency_s(0.0) == 1.0
    assert outcome.latency_s(0.5) == 50.0
    assert outcome.latency_s(0.99) == 99.0
    assert outcome.latency_s(1.0) == 100.0
