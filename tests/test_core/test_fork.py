"""A session belongs to the process that made it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import weakref

import pytest

from sage import _core_py as pure
from sage.limits import WARM_SESSIONS
from sage.session import STREAM, V0_10
from sage.types import Role

from ..other_process import answer

# In an interpreter of its own: forking the test runner would copy its threads' locks.
CODE = """
import os
import sys

import sage
from sage.errors import SessionClosed
from sage.session import Session
from sage.types import Role

seed, th = bytes(32), bytes(range(32))
ada, grace, other, idle = (
    Session.v0_10(seed, th, role)
    for role in (Role.INITIATOR, Role.RESPONDER, Role.INITIATOR, Role.INITIATOR)
)
for _ in range(3):  # both are at work, with numbers set aside
    grace.open(ada.seal(b""))
record = ada.seal(b"hello")
acts = {
    "seal": lambda: ada.seal(b"x"),
    "open": lambda: grace.open(record),
    "seal_many": lambda: other.seal_many([b"x"]),
    "derive": lambda: idle.derive_stream(bytes(16)),
}
child = os.fork()
if child == 0:
    said = []
    for name, act in acts.items():
        try:
            act()
        except SessionClosed as error:
            said.append(f"{name}: {error}")
    said.append(f"closed: {[s.closed for s in (ada, grace, other, idle)]}")
    fresh = Session.v0_10(seed, th, Role.INITIATOR)
    said.append(f"fresh: {len(fresh.seal(b''))}")
    print("\\n".join(said), flush=True)
    os._exit(0)
_, status = os.waitpid(child, 0)
print(f"child: {status}")
print(f"parent: {grace.open(record)!r} {len(ada.seal(b'x'))}")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_copy_closes_and_the_original_goes_on():
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "seal: session closed",
        "open: session closed",
        "seal_many: session closed",
        "derive: session closed",
        "closed: [True, True, True, True]",
        "fresh: 36",
        "child: 0",
        "parent: b'hello' 37",
    ]


HELD = """
import os, threading, warnings
from sage import _core_py as pure
from sage.session import V0_10
from sage.types import Role

warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside a thread
ada, grace = (pure.SessionCore(V0_10, bytes(32), bytes(32), role) for role in Role)
grace.open(ada.seal(b""))
held, done = threading.Event(), threading.Event()

def hold():
    with grace._lock:
        held.set()
        done.wait()

holder = threading.Thread(target=hold)
holder.start()
held.wait()
child = os.fork()
if child == 0:
    print(grace.received, repr(grace).split(", ")[-1], flush=True)
    os._exit(0)
os.waitpid(child, 0)
done.set()
holder.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_copy_tells_its_counts_though_its_lock_is_held_elsewhere():
    assert answer(HELD) == "1 1 received>"


def test_a_session_at_work_is_not_waited_for_by_its_own_thread(twin):
    """Deriving runs the caller's constructor, in the middle of the session's lock."""
    seed, th = bytes(32), bytes(range(32))
    others = [
        twin.SessionCore(STREAM, seed, th, Role.INITIATOR, session_id=bytes(16))
        for _ in range(200)
    ]

    class Curious(twin.SessionCore):
        def __init__(self, *args, **kwargs):
            if twin.__name__ == "sage._core_py":
                super().__init__(*args, **kwargs)
            if self.profile.layout == "stream":
                for other in others:
                    other.seal(b"")

    ada = Curious(V0_10, seed, th, Role.INITIATOR)
    ada.seal(b"")  # it keeps its engine from here on
    derived = ada.derive(STREAM, bytes(16))
    assert derived.seal(b"")[:8] == bytes(8)
    assert ada.seal(b"")[:8] == (1).to_bytes(8, "big")


def others(count: int) -> list[pure.SessionCore]:
    return [
        pure.SessionCore(
            STREAM, bytes(32), bytes(32), Role.INITIATOR, session_id=bytes(16)
        )
        for _ in range(count)
    ]


def test_a_handler_may_use_another_session_while_one_joins_the_warm(monkeypatch):
    first, second = others(2)
    waiting = [second]

    def interrupted(session: pure.SessionCore) -> weakref.ref[pure.SessionCore]:
        while waiting:  # what a signal's handler or a finaliser does in between
            waiting.pop().seal(b"")
        return weakref.ref(session)

    monkeypatch.setattr(pure, "ref", interrupted)
    thread = threading.Thread(target=first.seal, args=(b"",), daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert (first.sent, second.sent) == (1, 1)


def test_one_at_work_while_it_is_displaced_does_not_keep_its_engines_for_good():
    ada = others(1)[0]
    ada.seal(b"")
    with ada._lock:
        for other in others(WARM_SESSIONS):
            other.seal(b"")
    ada.seal(b"")
    assert ada._sealers
    for other in others(WARM_SESSIONS):
        other.seal(b"")
    assert not ada._sealers
