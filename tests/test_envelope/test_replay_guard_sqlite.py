"""What only the guard in a file promises: restarts, crashes, other processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sage.envelope import Reservation, SqliteReplayGuard
from sage.errors import (
    Code,
    ConfigError,
    Overloaded,
    ReplayError,
    StaleError,
    UsageError,
)
from sage.types import Did

ADA = Did("did:sage:web:agents.example.com:ada")
GRACE = Did("did:sage:web:agents.example.com:grace")
T0 = 1_730_000_000

Open = Callable[..., SqliteReplayGuard]


def reservation(name: str | None = None, *, expires: int = T0 + 300) -> Reservation:
    name = name or str(uuid.uuid4())
    return Reservation(
        sender=ADA, recipient=GRACE, id=name, nonce=name, expires=expires
    )


def reserve(
    guard: SqliteReplayGuard,
    what: Reservation | None = None,
    *,
    now: float = 0.0,
    unix_time: int = T0,
) -> None:
    step = guard.reserve(what or reservation(), now=now, unix_time=unix_time)
    asyncio.run(step)


def refused(code: Code, guard: SqliteReplayGuard, *what: Any, **times: Any) -> None:
    with pytest.raises((ReplayError, StaleError)) as caught:
        reserve(guard, *what, **times)
    assert caught.value.code == code


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "replay.db"


@pytest.fixture
def open_guard(path: Path) -> Iterator[Open]:
    made: list[SqliteReplayGuard] = []

    def build(**options: Any) -> SqliteReplayGuard:
        made.append(SqliteReplayGuard(path, **options))
        return made[-1]

    yield build
    for guard in made:
        guard.close()


def edit(path: Path, statement: str, *values: object) -> None:
    """Change the file as only something outside the guard does."""
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement, values)
    connection.close()


# --- restarts ----------------------------------------------------------------------


@pytest.mark.parametrize("in_order", [True, False])
def test_a_restart_remembers_and_does_not_wait(
    in_order: bool, open_guard: Open
) -> None:
    first = open_guard(assume_no_history=True)
    once = reservation()
    reserve(first, once)
    if in_order:
        first.close()
    second = open_guard()
    refused(Code.SIG_REPLAY, second, once)
    reserve(second)


@pytest.mark.parametrize("name", [":memory:", "file:x?mode=memory", "replay.db"])
@pytest.mark.skipif(os.name != "posix", reason="elsewhere no file is named so")
def test_a_name_is_a_file_whatever_sqlite_takes_it_for(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    once = reservation()
    guards = [SqliteReplayGuard(name, assume_no_history=True) for _ in range(2)]
    reserve(guards[0], once)
    refused(Code.SIG_REPLAY, guards[1], once)
    for guard in guards:
        guard.close()


def test_another_working_folder_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    once, guard = reservation(), SqliteReplayGuard("replay.db", assume_no_history=True)
    reserve(guard, once)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    refused(Code.SIG_REPLAY, guard, once)
    guard.close()
    assert not list(elsewhere.iterdir())


def test_two_guards_on_one_file_are_one_guard(open_guard: Open) -> None:
    first = open_guard(assume_no_history=True)
    second = open_guard()
    for here, there in ((first, second), (second, first)):
        once = reservation()
        reserve(here, once)
        refused(Code.SIG_REPLAY, there, once)


def test_one_that_closes_leaves_the_other_working(open_guard: Open) -> None:
    first = open_guard(assume_no_history=True)
    second = open_guard()
    first.close()
    once = reservation()
    reserve(second, once)
    refused(Code.SIG_REPLAY, open_guard(), once)


def test_the_room_is_counted_across_restarts(open_guard: Open) -> None:
    first = open_guard(assume_no_history=True, max_entries=4)
    reserve(first)
    first.close()
    second = open_guard(max_entries=4)
    reserve(second)
    with pytest.raises(Overloaded):
        reserve(second)
    for _ in range(2):
        late = reservation(expires=T0 + 600)
        reserve(second, late, unix_time=T0 + 330)


def test_a_quarantine_goes_on_after_a_restart(open_guard: Open) -> None:
    first = open_guard(now=1000.0)
    refused(Code.REPLAY_STATE_LOST, first, now=1100.0)
    first.close()
    # What one assumes does not undo what another knows.
    second = open_guard(now=1200.0, assume_no_history=True)
    refused(Code.REPLAY_STATE_LOST, second, now=1359.0)
    reserve(second, now=1360.0)
    second.close()
    reserve(open_guard(now=1361.0), now=1361.0)


def test_a_clock_set_back_between_two_runs_is_noticed(open_guard: Open) -> None:
    first = open_guard(assume_no_history=True)
    reserve(first, unix_time=T0)
    first.close()
    second = open_guard(now=10.0)
    refused(Code.REPLAY_STATE_LOST, second, now=10.0, unix_time=T0 - 31)
    second.close()
    third = open_guard(now=369.0)
    refused(Code.REPLAY_STATE_LOST, third, now=369.0, unix_time=T0)
    reserve(third, now=370.0)


def test_a_refusal_is_remembered_as_time_seen(open_guard: Open) -> None:
    first = open_guard(assume_no_history=True)
    refused(Code.SIG_STALE, first, reservation(expires=T0 - 100), unix_time=T0)
    first.close()
    refused(Code.REPLAY_STATE_LOST, open_guard(), unix_time=T0 - 31)


# --- reboots -----------------------------------------------------------------------


def test_a_reboot_after_closing_in_order_costs_nothing(
    path: Path, open_guard: Open
) -> None:
    guard = open_guard(assume_no_history=True)
    once = reservation()
    reserve(guard, once, now=5000.0)
    guard.close()
    edit(path, "UPDATE state SET boot = 'another'")
    guard = open_guard(now=3.0)
    refused(Code.SIG_REPLAY, guard, once, now=3.0)
    reserve(guard, now=3.0)


def test_a_reboot_without_closing_is_lost_state(path: Path, open_guard: Open) -> None:
    guard = open_guard(assume_no_history=True)
    reserve(guard, now=5000.0)
    edit(path, "UPDATE state SET boot = 'another'")
    guard = open_guard(now=3.0, assume_no_history=True)
    refused(Code.REPLAY_STATE_LOST, guard, now=3.0)
    refused(Code.REPLAY_STATE_LOST, guard, now=362.0)
    reserve(guard, now=363.0)


def test_a_reboot_in_quarantine_starts_it_again(path: Path, open_guard: Open) -> None:
    guard = open_guard(now=5000.0)
    refused(Code.REPLAY_STATE_LOST, guard, now=5300.0)
    guard.close()
    edit(path, "UPDATE state SET boot = 'another'")
    guard = open_guard(now=6000.0)
    refused(Code.REPLAY_STATE_LOST, guard, now=6359.0)
    reserve(guard, now=6360.0)


def test_closing_one_of_two_is_not_closing_in_order(
    path: Path, open_guard: Open
) -> None:
    first = open_guard(assume_no_history=True)
    second = open_guard()
    first.close()
    reserve(second)
    # The machine dies with the second still at work.
    edit(path, "UPDATE state SET boot = 'another'")
    refused(Code.REPLAY_STATE_LOST, open_guard(now=1.0), now=1.0)


# --- loss and damage -----------------------------------------------------------------


def remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def test_a_file_deleted_between_two_runs_is_lost_state(
    path: Path, open_guard: Open
) -> None:
    guard = open_guard(assume_no_history=True)
    guard.close()
    remove(path)
    guard = open_guard(now=0.0)
    refused(Code.REPLAY_STATE_LOST, guard, now=359.0)
    reserve(guard, now=360.0)


def test_a_file_deleted_at_work_is_lost_state(path: Path, open_guard: Open) -> None:
    guard = open_guard(assume_no_history=True)
    reserve(guard, now=100.0)
    remove(path)
    refused(Code.REPLAY_STATE_LOST, guard, now=100.0)
    refused(Code.REPLAY_STATE_LOST, open_guard(), now=459.0)
    reserve(guard, now=460.0)


def test_a_file_replaced_at_work_is_used_from_then_on(
    path: Path, open_guard: Open
) -> None:
    guard = open_guard(assume_no_history=True)
    remove(path)
    other = open_guard(assume_no_history=True)
    once = reservation()
    reserve(other, once)
    refused(Code.SIG_REPLAY, guard, once)


def test_a_folder_deleted_at_work_is_a_config_error(
    path: Path, open_guard: Open
) -> None:
    guard = open_guard(assume_no_history=True)
    remove(path)
    path.parent.rmdir()
    for _ in range(2):
        with pytest.raises(ConfigError):
            reserve(guard)
    path.parent.mkdir()
    refused(Code.REPLAY_STATE_LOST, guard)


def damage(path: Path, start: int) -> None:
    """Overwrite all of the file from ``start`` with what is no page."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xa5" * (size - start))


def test_a_file_damaged_between_two_runs_is_set_aside(
    path: Path, open_guard: Open
) -> None:
    guard = open_guard(assume_no_history=True)
    for _ in range(300):
        reserve(guard)
    guard.close()
    damage(path, 100)
    guard = open_guard(now=0.0, assume_no_history=True)
    refused(Code.REPLAY_STATE_LOST, guard, now=359.0)
    reserve(guard, now=360.0)
    assert Path(f"{path}.damaged").stat().st_size > 4096


def test_a_file_damaged_at_work_is_set_aside(path: Path, open_guard: Open) -> None:
    guard = open_guard(assume_no_history=True)
    reserve(guard)
    edit(path, "DELETE FROM state")
    refused(Code.REPLAY_STATE_LOST, guard, now=10.0)
    reserve(guard, now=370.0)
    assert Path(f"{path}.damaged").exists()


def test_a_damaged_file_put_in_place_at_work_is_set_aside(
    path: Path, open_guard: Open, tmp_path: Path
) -> None:
    guard = open_guard(assume_no_history=True)
    reserve(guard)
    other = SqliteReplayGuard(tmp_path / "other", assume_no_history=True)
    for _ in range(300):
        reserve(other)
    other.close()
    damage(tmp_path / "other", 100)
    remove(path)
    (tmp_path / "other").rename(path)
    refused(Code.REPLAY_STATE_LOST, guard, now=10.0)
    reserve(guard, now=370.0)
    assert Path(f"{path}.damaged").stat().st_size > 4096


def test_a_file_without_its_tables_is_a_config_error(
    path: Path, open_guard: Open
) -> None:
    guard = open_guard(assume_no_history=True)
    edit(path, "DROP TABLE reservation")
    with pytest.raises(ConfigError):
        reserve(guard)


def test_a_locked_file_is_overload(path: Path, open_guard: Open) -> None:
    guard = open_guard(assume_no_history=True)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    once = reservation()
    with pytest.raises(Overloaded, match="busy"):
        reserve(guard, once)
    holder.execute("ROLLBACK")
    holder.close()
    reserve(guard, once)


def test_a_guard_has_room_for_one_envelope(path: Path) -> None:
    with pytest.raises(UsageError):
        SqliteReplayGuard(path, max_entries=2)
    assert not path.exists()


# --- other processes -----------------------------------------------------------

CHILD = """
import asyncio, resource, sys
from sage.envelope import Reservation, SqliteReplayGuard
from sage.errors import ConfigError, Overloaded, ReplayError

path, mode = sys.argv[1:3]
guard = SqliteReplayGuard(path, assume_no_history=True)

async def reserve(name):
    what = Reservation(
        sender="did:sage:web:agents.example.com:ada",
        recipient="did:sage:web:agents.example.com:grace",
        id=name, nonce=name, expires=1_730_000_300,
    )
    await guard.reserve(what, now=1.0, unix_time=1_730_000_000)

async def main():
    print("ready", flush=True)
    if mode == "disk-full":
        limit = (256 * 1024, resource.RLIM_INFINITY)
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    sys.stdin.readline()
    for number in range(int(sys.argv[3])):
        while True:
            try:
                await reserve(f"name-{number}")
            except ReplayError:
                break
            except Overloaded:
                if mode == "disk-full":
                    print("refused", flush=True)
                    return
                continue
            except ConfigError:
                print("refused", flush=True)
                return
            print(number, flush=True)
            break

asyncio.run(main())
if mode != "disk-full":
    guard.close()
"""


def start(path: Path, mode: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), mode, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_of_two_processes_exactly_one_accepts(path: Path) -> None:
    count = 400
    # Both begin on a file that does not exist yet.
    processes = [start(path, "race", count) for _ in range(2)]
    try:
        for process in processes:
            assert line(process) == "ready"
        for process in processes:
            go(process)
        outputs = [process.communicate(timeout=60)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert [process.returncode for process in processes] == [0, 0]
    accepted = [int(number) for output in outputs for number in output.split()]
    assert sorted(accepted) == list(range(count))


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_process_killed_at_work_takes_nothing_along(
    path: Path, open_guard: Open
) -> None:
    process = start(path, "kill", 1_000_000)
    try:
        assert line(process) == "ready"
        go(process)
        acknowledged = [line(process) for _ in range(100)]
        process.send_signal(signal.SIGKILL)
        acknowledged += process.communicate(timeout=60)[0].split("\n")
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL
    guard = open_guard()
    whole = [number for number in acknowledged if number]
    assert len(whole) >= 100
    for number in whole:
        refused(Code.SIG_REPLAY, guard, reservation(f"name-{number}"), now=1.0)
    reserve(guard, now=1.0)


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_FSIZE")
def test_a_full_disk_refuses_and_keeps_what_was_acknowledged(
    path: Path, open_guard: Open
) -> None:
    process = start(path, "disk-full", 100_000)
    try:
        assert line(process) == "ready"
        go(process)
        output = process.communicate(timeout=60)[0].split()
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert output.pop() == "refused"
    assert len(output) > 10
    guard = open_guard()
    for number in output:
        refused(Code.SIG_REPLAY, guard, reservation(f"name-{number}"), now=1.0)
