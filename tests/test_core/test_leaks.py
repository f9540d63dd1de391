"""Sessions and messages without end, and a process that does not grow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="reads Linux's view of a process"
)

# A process of its own: nobody else's caches grow in it. Every fourth pair is closed,
# the others are dropped; a forgery, a batch, a stream and a session of a profile of its
# own go with each.
WORK = """
import gc, importlib, sys
from dataclasses import replace
from sage.errors import SageError
from sage.session import STREAM, V0_10
from sage.types import Role

core, sessions, messages = importlib.import_module(sys.argv[1]), *map(int, sys.argv[2:])
seed, th, name, text = bytes(32), bytes(range(32)), bytes(16), bytes(100)
make, ada_, grace_ = core.SessionCore, Role.INITIATOR, Role.RESPONDER

def resident():
    gc.collect()
    with open("/proc/self/statm") as facts:
        return int(facts.read().split()[1]) * 4096

def make_sessions(count):
    for number in range(count // 4):
        ada = make(V0_10, seed, th, ada_, now=0.0)
        grace = make(V0_10, seed, th, grace_, now=0.0)
        stream = ada.derive(STREAM, name, now=0.0)
        other = grace.derive(STREAM, name, now=0.0)
        make(replace(V0_10, idle_s=1.0 + number), seed, th, ada_, now=0.0)
        if number % 4 == 0:
            record = ada.seal(text, now=1.0)
            try:
                grace.open(record[:-1] + b"?", now=1.0)
            except SageError:
                pass
            grace.open(record, now=1.0)
            other.open_many(stream.seal_many([text] * 3, now=1.0), now=1.0)
            ada.close()
            grace.close()

def send(count):
    ada = make(STREAM, seed, th, ada_, session_id=name, now=0.0)
    grace = make(STREAM, seed, th, grace_, session_id=name, now=0.0)
    out, room = bytearray(136), bytearray(100)
    for number in range(count // 2):
        grace.open(ada.seal(text, now=1.0), now=1.0)
        ada.seal_into(text, out, now=1.0)
        grace.open_into(out, room, now=1.0)

make_sessions(sessions // 5)
send(messages // 5)
before = resident()
make_sessions(sessions)
between = resident()
send(messages)
print(between - before, resident() - between)
"""


def growth(core: ModuleType, sessions: int, messages: int) -> list[int]:
    """Return by how many bytes a process grew for its sessions and its messages."""
    done = subprocess.run(
        [sys.executable, "-c", WORK, core.__name__, str(sessions), str(messages)],
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(word) for word in done.stdout.split()]


def test_nothing_grows(twin):
    assert max(growth(twin, 40_000, 200_000)) <= 2**20


@pytest.mark.slow
def test_nothing_grows_over_a_million_sessions_and_ten_million_messages(twin):
    assert sum(growth(twin, 1_000_000, 10_000_000)) <= 2**20
