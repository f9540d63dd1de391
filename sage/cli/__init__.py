"""The command line, one file per verb: ``sage info``, ``agent``, ``key``,
``registry``, ``serve``, ``send``, ``demo``, ``loadtest``, ``loadtest-service``,
``bench``.

It is a thin shell over `sage.service`, `sage.transport` and `sage.identity`. Without
typer and rich, ``sage info`` still says what runs, and why.
"""

from __future__ import annotations

import os
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
    _open_closed_streams()
    try:
        return _run(words)
    except SageError as exc:  # a switch in the environment, or a core that is broken
        print(f"sage: {describe(exc)}", file=sys.stderr)
        return exit_code(exc)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


def _open_closed_streams() -> None:
    """Put the null device where the shell has closed a stream (``>&-``).

    Python has ``None`` there, and the next file to be opened would get the stream's
    number, and with it whatever a library prints to that.
    """
    if None not in (sys.stdin, sys.stdout, sys.stderr):
        return
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


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
