"""Code in an interpreter of its own, which no switch of this one reaches."""

from __future__ import annotations

import errno
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import pytest


def run(
    code: str, *options: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter with these of our variables and no others."""
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        env=_clean() | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def failure(code: str, *options: str, **environment: str) -> str:
    """Return the last line that a failing interpreter says."""
    done = run(code, *options, **environment)
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    return done.stderr.strip().splitlines()[-1]


def answer_and_warnings(
    code: str, *options: str, **environment: str
) -> tuple[str, str]:
    """Return what an interpreter prints, and what it complains of."""
    done = run(code, *options, **environment)
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stdout.strip(), done.stderr


def answer(code: str, *options: str, **environment: str) -> str:
    """Return what an interpreter prints that has nothing to complain of."""
    printed, complaints = answer_and_warnings(code, *options, **environment)
    assert complaints == ""
    return printed


def memory_of(code: str, *arguments: str, **environment: str) -> bytes:
    """Return all memory that it can write to, once it has printed ``ready``.

    It waits then until there is nothing more to read.
    """
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=_clean() | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == b"ready\n"
            try:
                return b"\0".join(_stretches(child.pid))
            except PermissionError:
                pytest.skip("this system lets no process look into another")
        finally:
            child.stdin.close()


def _clean() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("SAGE_")}


def _stretches(pid: int) -> Iterator[bytes]:
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in maps:
            where, access, *_ = line.split()
            if "rw" in access and "[v" not in line:
                start, end = (int(part, 16) for part in where.split("-"))
                yield _readable(memory, start, end)


def _readable(memory: FileIO, start: int, end: int) -> bytes:
    data = b""
    while start < end:
        memory.seek(start)
        try:
            piece = memory.read(end - start)
        except OSError as exc:
            if exc.errno != errno.EIO:
                raise
            piece = bytes(mmap.PAGESIZE)  # a guard below a thread's stack
        if not piece:
            break
        data += piece
        start += len(piece)
    return data
