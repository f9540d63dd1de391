from __future__ import annotations

import pytest

from sage import errors
from sage.cli.exits import Exit, describe, exit_code
from sage.errors import (
    AuthenticationError,
    Code,
    ConfigError,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    LimitReached,
    Overloaded,
    ReplayError,
    ResolutionError,
    SageError,
    UsageError,
)

NOT_FOUND = ResolutionError("no", code=Code.RECORD_NOT_FOUND)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.RemoteFailure("operation_failed"), 1),
        (Overloaded("full"), 1),
        (LimitReached("used up"), 1),
        (ValueError("a bug"), 1),
        (UsageError("not so"), 2),
        (ConfigError("no file"), 3),
        (PermissionError(13, "denied"), 3),
        (NOT_FOUND, 4),
        (ConnectFailed("refused"), 5),
        (ConnectionLost("gone"), 5),
        (DeadlineExceeded("late"), 5),
        (AuthenticationError(), 6),
        (ReplayError("again", code=Code.SIG_REPLAY), 6),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_kind_of_error_has_its_code(error: BaseException, code: int) -> None:
    assert exit_code(error) == code


def test_every_error_of_the_tree_has_a_code_of_its_own_kind() -> None:
    for name in errors.__all__:
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, SageError):
            error = kind.__new__(kind)
            found = exit_code(error)
            assert found in set(Exit) - {Exit.OK}
            if issubclass(kind, errors.TransportError):
                assert found is Exit.NETWORK  # DeadlineExceeded is an OSError, too


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (NOT_FOUND, "no (record.not-found); publish it first: sage registry publish"),
        (ConfigError("two\nlines"), "two lines"),
        (
            errors.RemoteFailure("unavailable"),
            "the peer answered: unavailable; the service's log says why",
        ),
        (KeyError("x\x1b"), "internal error: KeyError: 'x\\x1b'; --debug shows where"),
    ],
)
def test_an_error_is_one_line_with_advice(error: BaseException, line: str) -> None:
    assert describe(error) == line


def test_authentication_failures_have_code_and_advice() -> None:
    line = describe(AuthenticationError(code=Code.SIG_BAD))
    assert line.startswith("authentication failed (sig.bad); ")
