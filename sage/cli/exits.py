"""How a command ends: the exit codes, and one line for each error.

The line says what went wrong and what to do next. Which error gives which code, and
which advice, is in the two tables of this file and nowhere else.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from ..errors import (
    Code,
    ConfigError,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    Overloaded,
    PeerError,
    RemoteFailure,
    ResolutionError,
    ResourceError,
    SageError,
    TransportError,
    UsageError,
)
from .text import one_line

__all__ = ["Exit", "describe", "exit_code"]


class Exit(IntEnum):
    """What the shell sees."""

    OK = 0
    FAILED = 1
    """The operation failed, here or at the peer; or nobody reads our output."""
    USAGE = 2
    """The command line itself is wrong."""
    CONFIG = 3
    """A file, a passphrase, a port or a missing extra."""
    RESOLUTION = 4
    """An agent's record or key was not found, or is not usable."""
    NETWORK = 5
    """No connection, a lost one, or a time limit."""
    PEER = 6
    """What the other side sent is not authentic, or not the protocol."""
    INTERRUPTED = 130
    """Ctrl-C."""


_EXITS: Final[tuple[tuple[type[BaseException], Exit], ...]] = (
    (RemoteFailure, Exit.FAILED),
    (PeerError, Exit.PEER),
    (ResolutionError, Exit.RESOLUTION),
    (TransportError, Exit.NETWORK),
    (ConfigError, Exit.CONFIG),
    (UsageError, Exit.USAGE),
    (ResourceError, Exit.FAILED),
    (KeyboardInterrupt, Exit.INTERRUPTED),
    (OSError, Exit.CONFIG),
)

_ADVICE_BY_CODE: Final = {
    Code.RECORD_NOT_FOUND: "publish it first: sage registry publish",
    Code.RECORD_UNREACHABLE: "check the host map, and that the registry runs",
    Code.RECORD_STALE: "check the clocks, and that the registry was not set back",
    Code.RECORD_INACTIVE: "ask whoever controls that agent",
    Code.ID_UNKNOWN_KIND: "only did:sage:web:… can be resolved",
    Code.KEY_REVOKED: "ask whoever controls that agent for a new key",
    Code.KEY_EXPIRED: "ask whoever controls that agent for a new key",
    Code.KEY_NOT_IN_RECORD: "publish the record that this agent file holds",
    Code.SIG_STALE: "check the clocks of both machines",
    Code.REPLAY_STATE_LOST: "wait 6 minutes",
}

_ADVICE: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (RemoteFailure, "the service's log says why"),
    (
        PeerError,
        "whoever answered is not the agent you named, or was altered on the way",
    ),
    (ConnectFailed, "check the URL and the certificate authority, and that it runs"),
    (ConnectionLost, "the service's log says why"),
    (DeadlineExceeded, "check the network, then try again"),
    (Overloaded, "try again later"),
)


def exit_code(error: BaseException) -> Exit:
    """Return the exit code of an error."""
    for kind, code in _EXITS:
        if isinstance(error, kind):
            return code
    return Exit.FAILED


def describe(error: BaseException) -> str:
    """Return one line: what went wrong, its diagnostic code, what to do next."""
    if not isinstance(error, SageError | OSError):
        return one_line(
            f"internal error: {type(error).__name__}: {error}; --debug shows where"
        )
    code = None if isinstance(error, RemoteFailure) else getattr(error, "code", None)
    what = f"{error} ({code})" if code else str(error)
    advice = _advice(error, code)
    return one_line(f"{what}; {advice}" if advice else what)


def _advice(error: BaseException, code: Code | None) -> str | None:
    if code in _ADVICE_BY_CODE:
        return _ADVICE_BY_CODE[code]
    return next((text for kind, text in _ADVICE if isinstance(error, kind)), None)
