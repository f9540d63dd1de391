"""The command line, one file per verb: ``sage info``, ``agent``, ``key``,
``registry``, ``serve``, ``send``, ``demo``, ``loadtest``, ``loadtest-service``,
``bench``.

It is a thin shell over `sage.service`, `sage.transport` and `sage.identity`. Without
typer and rich, ``sage info`` still says what runs, and why.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..errors import SageError
from .exits import Exit, describe, exit_code

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (see `Exit`).

    Args:
        arguments: what follows the program's name; the process's own when not given.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(words)
    except SageError as exc:  # a switch in the environment, or a core that is broken
        print(f"sage: {describe(exc)}", file=sys.stderr)
        return exit_code(exc)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


def _run(words: list[str]) -> int:
    """Import the commands, which may fail, and run one, which handles its errors."""
    try:
        from .app import run
    except ModuleNotFoundError as exc:
        if exc.name not in ("typer", "rich"):
            raise
        return _run_without_extra(words)
    return run(words)


def _run_without_extra(words: list[str]) -> int:
    """Answer ``info``; say of everything else what it needs."""
    if words in (["info"], ["info", "--json"]):
        from . import facts

        print(facts.as_json() if "--json" in words else facts.as_text())
        return Exit.OK
    print(
        "sage: the command line needs typer and rich: pip install 'sage-secure[cli]'",
        file=sys.stderr,
    )
    return Exit.CONFIG
