"""One input of the fuzzer: the same steps on both twins, or a race on the compiled one.

The compiled core must do what its specification does: give the same, raise the same
with the same words, leave the same state and the same bytes in every buffer, and let
go of each of them. In a race there is no such oracle; there nothing may crash, no
sequence number may be used twice, and no error of the language may come out.
"""

from __future__ import annotations

import threading
from types import ModuleType
from typing import Any

from caller import Caller
from profiles import PROFILES
from reader import Reader
from stage import Stage
from steps import Call, Pair, Step

from sage import _core as compiled
from sage import _core_py as pure
from sage.types import Role

__all__ = ["Mismatch", "compiled", "run_both", "run_input", "run_one", "steps_of"]

STEPS_MAX = 40
RACE_STEPS_MAX = 12
RACING = 232  # first bytes from here on: one input in ten
TEXT = 231
THREADS = 3
ROLES = (Role.INITIATOR, Role.RESPONDER)
# What no argument of ours can bring about.
BUGS = (SystemError, UnboundLocalError, AttributeError, NameError, AssertionError)


class Mismatch(AssertionError):
    """The twins differ, or a race broke a law."""


def run_input(data: bytes) -> None:
    """Do what an input says."""
    _choose_for_bulk(data)
    if data[:1] >= bytes([RACING]):
        run_race(data[1:])
    elif data[:1] == bytes([TEXT]):
        run_text(data[1:])
    else:
        run_both(data)


def run_both(data: bytes) -> None:
    """Run a sequence on both twins, and compare after each step."""
    stages = Stage(pure), Stage(compiled)
    comparable = True
    for number, step in enumerate(steps_of(data)):
        wanted, found = (step.run(stage) for stage in stages)
        comparable &= step.comparable
        if comparable and wanted != found:
            text = difference(wanted, found)
            raise Mismatch(f"step {number}, {step}:\n{text}\n  of {wanted!r:.2000}")


def difference(wanted: Any, found: Any) -> str:
    """Return the first places in which two accounts differ."""
    kinds = {type(wanted), type(found)}
    if kinds <= {tuple, list} and len(wanted) == len(found):
        parts = [
            difference(one, other)
            for one, other in zip(wanted, found, strict=True)
            if one != other
        ]
        return "\n".join(parts)
    return f"  pure      {wanted!r}\n  compiled  {found!r}"


def run_one(data: bytes, core: ModuleType = compiled) -> None:
    """Run a sequence on one twin, for what it leaves behind."""
    _choose_for_bulk(data)
    if data[:1] >= bytes([RACING]):
        run_race(data[1:])
        return
    if data[:1] == bytes([TEXT]):
        run_text(data[1:])
        return
    stage = Stage(core)
    for step in steps_of(data):
        step.run(stage)


def _choose_for_bulk(data: bytes) -> None:
    """Let each input have its way with long AES records, whatever is quicker here."""
    compiled.send_bulk_elsewhere(len(data) % 2 == 1)


def steps_of(data: bytes) -> list[Step]:
    caller = Caller(Reader(data))
    steps: list[Step] = [caller.pair()]
    while caller.reader.more and len(steps) < STEPS_MAX:
        steps.append(caller.step())
    return steps


def run_text(data: bytes) -> None:
    """Read an input as base64url, and write it."""
    for text in (data.decode("latin-1"), data.decode("utf-8", "surrogateescape")):
        wanted, found = (twin.base64url_decode(text) for twin in (pure, compiled))
        if wanted != found:
            raise Mismatch(f"{text!r} read:\n{difference(wanted, found)}")
    for buffer in (data, memoryview(data), bytearray(data)):
        text = compiled.base64url_encode(buffer)
        if text != pure.base64url_encode(data):
            raise Mismatch(f"{data!r} written: {text!r}")
        if compiled.base64url_decode(text) != data:
            raise Mismatch(f"{data!r} written and read: {text!r}")


def run_race(data: bytes) -> None:
    """Let threads use the same sessions and the same buffers at the same time."""
    stage, reader = Stage(compiled), Reader(data)
    for _ in range(2):
        Pair(reader.pick(PROFILES), ROLES).run(stage)
    callers = [Caller(Reader(data[3 + at :: THREADS])) for at in range(THREADS)]
    plans = [
        [caller.race() for _ in range(RACE_STEPS_MAX) if caller.reader.more]
        for caller in callers
    ]
    used: list[tuple[int, int]] = []
    bugs: list[Any] = []
    start = threading.Barrier(THREADS)

    def act(plan: list[Step]) -> None:
        start.wait()
        for step in plan:
            try:
                account = step.run(stage)
            except Exception as exc:
                bugs.append((step, repr(exc)))
                return
            if isinstance(step, Call):
                if account[0][0] in BUGS:
                    bugs.append((step, account[0]))
                used.extend(numbers_of(step, account[0], len(stage.sessions)))

    threads = [threading.Thread(target=act, args=(plan,)) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if bugs:
        raise Mismatch(f"in a race: {bugs}")
    if len(used) != len(set(used)):
        raise Mismatch(f"in a race: sequence numbers used twice among {sorted(used)}")


def numbers_of(step: Call, found: list[Any], sessions: int) -> list[tuple[int, int]]:
    """Return the sequence numbers that a call put into its records, and of whom."""
    if step.who is None or found[0] != "value":
        return []
    if step.method == "seal":
        records = [found[1]]
    elif step.method == "seal_many":
        records = found[1][1]
    else:  # into buffers that others write to
        records = []
    numbers = [int.from_bytes(record[:8], "big") for record in records]
    return [(step.who % sessions, number) for number in numbers]
