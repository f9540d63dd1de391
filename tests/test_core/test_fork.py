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


NOT_THE_ARGUMENTS = """
import os
from importlib import import_module
from sage.errors import SageError
from sage.session import V0_10
from sage.types import Role

twin = import_module(sys.argv[1])
wrong = {
    "seal": [None],
    "seal_into": [b"", b""],
    "seal_many": [None],
    "seal_batch": [None],
    "open": [b""],
    "open_into": [b"", b""],
    "open_many": [None],
    "open_batch": [None],
    "authenticate": [b""],
    "accept": [-1],
    "derive": [None, None],
}
sessions = {
    name: twin.SessionCore(V0_10, bytes(32), bytes(32), Role.INITIATOR)
    for name in wrong
}
if os.fork():
    os.wait()
else:
    for name, arguments in wrong.items():
        try:
            getattr(sessions[name], name)(*arguments)
        except SageError as exc:
            print(name, exc, sessions[name].closed, flush=True)
    os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_copy_is_closed_whatever_it_is_given(twin):
    code = NOT_THE_ARGUMENTS.replace("sys.argv[1]", repr(twin.__name__))
    said = answer(code).splitlines()
    assert len(said) == 11
    for line in said:
        assert line.endswith(" session closed True")


HELD = """
import os, signal, threading, warnings
from sage import _core_py as pure
from sage.errors import SessionClosed
from sage.session import V0_10
from sage.types import Role

warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside a thread
ada, grace = (pure.SessionCore(V0_10, bytes(32), bytes(32), role) for role in Role)
grace.open(ada.seal(b""))
record = ada.seal(b"")
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
    signal.alarm(20)  # nobody is left behind
    print(grace.received, repr(grace).split(", ")[-1], flush=True)
    for act in lambda: grace.seal(b""), lambda: grace.open(record), grace.close:
        try:
            act()
        except SessionClosed as exc:
            print(exc, flush=True)
    os._exit(0)
os.waitpid(child, 0)
done.set()
holder.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_copy_does_not_wait_for_its_lock_that_is_held_elsewhere():
    assert answer(HELD).splitlines() == [
        "1 1 received>",
        "session closed",
        "session closed",
    ]


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


AT_EACH_LINE = """
import os, sys
from sage import _core_py as pure
from sage.errors import SessionClosed
from sage.session import V0_10
from sage.types import Role

def forked_at(event, act):
    left, child = event, None

    def trace(frame, kind, arg):
        nonlocal left, child
        if frame.f_code.co_filename == pure.__file__:
            left -= 1
            if left == -1:
                sys.settrace(None)
                child = os.fork()
        return trace

    sys.settrace(trace)
    try:
        result = act()
    except SessionClosed:
        result = None
    finally:
        sys.settrace(None)
    if child == 0:
        os._exit(1 if result is None else 0)
    assert result is not None
    if child is None:
        return None
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

for sent in 0, 3, 256:  # the first, one that is set aside, one with a new key
    for name in "seal", "open":
        event, refused = 0, []
        while not refused or refused[-1] is not None:
            ada, grace = (
                pure.SessionCore(V0_10, bytes(32), bytes(32), role) for role in Role
            )
            for _ in range(sent):
                grace.open(ada.seal(b""))
            record = ada.seal(b"") if name == "open" else None
            act = {"seal": lambda: ada.seal(b""), "open": lambda: grace.open(record)}
            refused.append(forked_at(event, act[name]))
            event += 1
        print(len(refused), refused.count(0))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_what_a_fork_interrupts_goes_on_in_one_process():
    for line in answer(AT_EACH_LINE, SAGE_NO_EXTENSIONS="1").splitlines():
        lines, behind_the_last_look = map(int, line.split())
        assert lines > 10
        assert behind_the_last_look < 5


WAITING = """
import os, signal, sys, threading, time, warnings
from importlib import import_module
from sage.errors import SessionClosed
from sage.session import STREAM, V0_10
from sage.types import Role

warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside a thread
twin = import_module(sys.argv[1])
held, child = threading.Event(), None

class Slow(twin.SessionCore):
    def __init__(self, *args, **kwargs):
        if twin.__name__ == "sage._core_py":
            super().__init__(*args, **kwargs)
        if self.profile.layout == "stream":
            held.set()
            time.sleep(1)

def fork(*_):
    global child
    signal.setitimer(signal.ITIMER_REAL, 0)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)  # nobody is left behind

ada = Slow(V0_10, bytes(32), bytes(32), Role.INITIATOR)
holder = threading.Thread(target=ada.derive, args=(STREAM, bytes(16)))
holder.start()
held.wait()
signal.signal(signal.SIGALRM, fork)
# Again and again: whoever is not asleep just then takes no notice.
signal.setitimer(signal.ITIMER_REAL, 0.2, 0.003)
try:
    ada.seal(b"")
    said = "sealed"
except SessionClosed as exc:
    said = str(exc)
if child == 0:
    print(said, flush=True)
    os._exit(0)
os.waitpid(child, 0)
holder.join()
print(said)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_who_waits_for_a_lock_does_not_go_on_waiting_in_a_forked_copy(twin):
    code = WAITING.replace("sys.argv[1]", repr(twin.__name__))
    assert answer(code).splitlines() == ["session closed", "sealed"]
