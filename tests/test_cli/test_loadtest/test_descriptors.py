from __future__ import annotations

import subprocess
import sys

LIMITS = """
import resource
from sage.cli.loadtest.descriptors import allow_connections
from sage.errors import ConfigError
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
try:
    allow_connections({count})
except ConfigError as exc:
    print(exc)
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def limits_after(soft: int, hard: int, count: int) -> list[str]:
    code = LIMITS.format(soft=soft, hard=hard, count=count)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_the_soft_limit_rises_as_far_as_needed() -> None:
    assert limits_after(200, 1000, 300) == ["428 1000"]


def test_enough_is_left_as_it_is() -> None:
    assert limits_after(900, 1000, 300) == ["900 1000"]


def test_the_hard_limit_is_named() -> None:
    said, after = limits_after(200, 300, 300)
    assert said == (
        "300 connections need 428 open files, and this process may have 300;"
        " raise the hard limit (ulimit -Hn)"
    )
    assert after == "200 300"
