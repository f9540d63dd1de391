"""Runs one contestant in a process of its own, and gathers what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from tempfile import TemporaryFile
from typing import IO, Any, Final

from ..text import one_line
from .contestants import Contestant
from .figures import Figure
from .timing import Effort

__all__ = ["Result", "race"]

_WORKER: Final = f"{__package__}.worker"
_STOP_S: Final = 3.0
# `sage.errors.ConfigError: what is wrong`
_ERROR: Final = re.compile(r"^[\w.]+(?:Error|Exception): ")


@dataclass(slots=True, kw_only=True)
class Result:
    """What one contestant came to.

    Attributes:
        contestant: whose it is.
        facts: versions; of sage, which core and engine.
        figures: in the order in which they were measured.
        absent: why there are no figures, or no more of them.
    """

    contestant: Contestant
    facts: dict[str, str] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    absent: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return everything for programs."""
        return {
            "name": self.contestant.name,
            "title": self.contestant.title,
            "absent": self.absent,
            "facts": self.facts,
            "figures": [figure.as_json() for figure in self.figures],
        }


def race(
    contestant: Contestant,
    effort: Effort,
    rows: Sequence[str],
    *,
    progress: Callable[[float], None],
    environment: Mapping[str, str] = os.environ,
) -> Result:
    """Measure a contestant; where that does not work, say why.

    Args:
        contestant: who.
        effort: how much.
        rows: of `figures.ROWS`; all of them when empty.
        progress: told how much is done, 0 to 1.
        environment: what the process inherits, but for what the contestant sets.
    """
    order = {"contestant": contestant.name, "rows": list(rows), **asdict(effort)}
    result = Result(contestant=contestant)
    with TemporaryFile() as errors:
        process = subprocess.Popen(  # noqa: S603  # ourselves, and our own words
            [sys.executable, "-m", _WORKER, json.dumps(order)],
            env={**environment, **contestant.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
        )
        assert process.stdout is not None  # noqa: S101  # it is a pipe
        try:
            _gather(result, process.stdout, progress)
            code = process.wait()
        finally:
            _stop(process)
            process.stdout.close()
        if code:
            result.absent = _last_words(errors) or f"it ended with {code}"
    return result


def _gather(result: Result, lines: IO[str], progress: Callable[[float], None]) -> None:
    cases = done = 0
    for line in lines:
        message = json.loads(line)
        if "absent" in message:
            result.absent = message["absent"]
        elif "facts" in message:
            result.facts, cases = message["facts"], message["cases"]
        else:
            done += 1
            result.figures += (Figure(**figure) for figure in message["figures"])
            progress(done / cases)
    progress(1.0)


def _stop(process: subprocess.Popen[str]) -> None:
    """End it, where we were interrupted before it was done."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last_words(errors: IO[bytes]) -> str:
    """Return the last line of a traceback, without the error's name."""
    errors.seek(0)
    lines = errors.read().decode("utf-8", "replace").strip().splitlines()
    return _ERROR.sub("", one_line(lines[-1])) if lines else ""
