"""The commands put together, and the one place where errors become exit codes."""

from __future__ import annotations

import io
import logging
import os
import sys
import traceback
from typing import Annotated

import typer

from .agent import agent
from .bench import bench
from .demo import demo
from .exits import Exit, describe, exit_code
from .info import info
from .key import key
from .loadtest import loadtest, loadtest_service
from .registry import registry
from .send import send
from .serve import serve
from .text import one_line

__all__ = ["app", "run"]

# Typer carries click within itself in some versions and imports it in others; the
# exceptions that it exports lead to the ones that it does not.
_ClickError = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="sage",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(info)
app.add_typer(agent, name="agent")
app.add_typer(key, name="key")
app.add_typer(registry, name="registry")
app.command()(serve)
app.command()(send)
app.command()(demo)
app.command()(loadtest)
app.command()(loadtest_service)
app.command()(bench)


@app.callback()
def _sage(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error came from.")
    ] = False,
) -> None:
    """Identity, key agreement and sealed messages for software agents."""


def run(arguments: list[str]) -> int:
    """Run one command; print at most one line about an error.

    Args:
        arguments: what follows the program's name. ``--debug`` may stand anywhere.
    """
    # Where nobody set up logging, Python prints warnings: a second line.
    logging.getLogger("sage").addHandler(logging.NullHandler())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal cannot show is no reason to stop.
            stream.reconfigure(errors="backslashreplace")
    debug = "--debug" in arguments
    words = [word for word in arguments if word != "--debug"]
    try:
        code = app(args=words, prog_name="sage", standalone_mode=False)
        sys.stdout.flush()
        return Exit.OK if code is None else int(code)
    except typer.Abort:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return Exit.FAILED
    except (Exception, KeyboardInterrupt) as exc:
        if debug:
            traceback.print_exc()
        return _fail(exc)


def _fail(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return Exit.INTERRUPTED
    if isinstance(error, _ClickError):
        return _fail_usage(error)
    print(f"sage: {describe(error)}", file=sys.stderr)
    return exit_code(error)


def _fail_usage(error: BaseException) -> int:
    """Say what is wrong with the command line, in one line."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "sage"
    text = one_line(getattr(error, "format_message", error.__str__)())
    # Typer validates with pydantic, which puts its own word before what we raise.
    text = text.replace(": Value error, ", ": ", 1).rstrip(".")
    # Without any arguments, typer has shown the help already.
    if text and type(error).__name__ != "NoArgsIsHelpError":
        print(f"{command}: {text}; see: {command} --help", file=sys.stderr)
    return int(getattr(error, "exit_code", Exit.USAGE))


def _drop_output() -> None:
    """Let the interpreter's last flush go nowhere, instead of complaining."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
