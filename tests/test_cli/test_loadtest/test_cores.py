from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sage.cli.loadtest.cores import cores_apart

needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="the system has no say in it"
)


@pytest.fixture
def child():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1) as process:
        yield process.pid
        process.communicate(b"\n")


@needs_affinity
@pytest.mark.skipif(
    hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) < 2,
    reason="one core",
)
def test_each_has_a_core_and_ours_are_given_back(child: int) -> None:
    before = os.sched_getaffinity(0)
    with cores_apart(child) as cores:
        ours, theirs = cores
        assert ours != theirs
        assert os.sched_getaffinity(0) == {ours}
        assert os.sched_getaffinity(child) == {theirs}
    assert os.sched_getaffinity(0) == before


@needs_affinity
def test_one_core_is_shared(child: int) -> None:
    before = os.sched_getaffinity(0)
    one = {min(before)}
    os.sched_setaffinity(0, one)
    try:
        with cores_apart(child) as cores:
            assert cores is None
            assert os.sched_getaffinity(0) == one
    finally:
        os.sched_setaffinity(0, before)


def test_a_system_without_a_say_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    with cores_apart(1) as cores:
        assert cores is None


@needs_affinity
def test_a_sandbox_that_forbids_it_is_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    with cores_apart(1) as cores:
        assert cores is None
