"""What a process has used: processor time and memory, and on what code it runs."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from ..._accel import backend
from ...encoding import parse_strict
from ...errors import DecodeError

__all__ = ["USAGE_QUESTION", "Usage", "own_usage"]

USAGE_QUESTION: Final = b"sage-loadtest/usage@1"
"""The payload that asks the other end for its usage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One reading.

    Attributes:
        cpu_s: processor seconds since the process began, of all its threads.
        rss_bytes: memory in use; 0 where the system does not say.
        core: which twin of the core runs, and on which engine.
    """

    cpu_s: float
    rss_bytes: int
    core: str

    def encode(self) -> bytes:
        """Return it as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, answer: bytes) -> Usage | None:
        """Read an answer to `USAGE_QUESTION`; ``None`` if it is something else."""
        try:
            value = parse_strict(answer)
        except DecodeError:
            return None
        if not isinstance(value, dict) or value.keys() != cls.__annotations__.keys():
            return None
        cpu_s, rss, core = value["cpu_s"], value["rss_bytes"], value["core"]
        if (
            not isinstance(cpu_s, int | float)
            or not isinstance(rss, int)
            or not isinstance(core, str)
        ):
            return None
        return cls(cpu_s=float(cpu_s), rss_bytes=rss, core=core)


def own_usage() -> Usage:
    """Return what this process has used so far."""
    facts = backend()
    return Usage(
        cpu_s=time.process_time(),
        rss_bytes=_rss_bytes(),
        core=f"{facts['core']} core, {facts['engine']} engine",
    )


def _rss_bytes() -> int:
    try:
        status = Path("/proc/self/status").read_text("ascii", errors="replace")
    except OSError:  # not Linux
        return 0
    lines = (line.split() for line in status.splitlines())
    return next((int(words[1]) * 1024 for words in lines if words[0] == "VmRSS:"), 0)
