"""Log lines that a program can read: what happened, why, and what belongs together.

Every refusal and every ending carries three fields beside its text: ``event``, a word
from `Event`; ``code``, the diagnostic code; ``correlation_id``. The last one is the id
of the envelope once that has been verified, and until then the random id of the
connection: a stranger does not choose under which id we log. It belongs to the task,
so the lines of a handler carry it too.

No line holds a key, a payload, a passphrase or a record.
"""

from __future__ import annotations

import json
import logging
import secrets
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

__all__ = [
    "Event",
    "JsonLogFormatter",
    "correlate",
    "correlation_id",
    "fields",
    "new_connection_id",
]

_current: Final[ContextVar[str | None]] = ContextVar("sage_correlation", default=None)


class Event(StrEnum):
    """What a log line is about."""

    CONNECTION_REFUSED = "connection_refused"
    CONNECTION_ENDED = "connection_ended"
    REFUSED = "refused"
    HANDSHAKE = "handshake"
    HANDLER_FAILED = "handler_failed"
    STREAM_REFUSED = "stream_refused"
    STREAM_ENDED = "stream_ended"
    SESSION_ENDED = "session_ended"
    RENEWAL_FAILED = "renewal_failed"
    RESPONSE_DROPPED = "response_dropped"
    INTERNAL_ERROR = "internal_error"
    DENIED = "denied"
    NOT_SERVED = "not_served"
    NOT_READY = "not_ready"
    READY = "ready"


def new_connection_id() -> str:
    """Return 16 hexadecimal digits by chance."""
    return secrets.token_hex(8)


def correlate(identifier: str) -> None:
    """Log what this task does from now on under an id.

    Args:
        identifier: our own, or one that has been verified.
    """
    _current.set(identifier)


def correlation_id() -> str | None:
    """Return the id under which this task logs: for a handler's own lines."""
    return _current.get()


def fields(
    event: Event, code: str | None = None, *, identifier: str | None = None
) -> dict[str, object]:
    """Return the ``extra`` of a log call.

    Args:
        event: what the line is about.
        code: the diagnostic code.
        identifier: the correlation id; the task's own when not given.
    """
    return {
        "event": event.value,
        "code": code,
        "correlation_id": identifier or _current.get(),
    }


class JsonLogFormatter(logging.Formatter):
    """One JSON object a line, in ASCII: nothing in it can forge a second line.

    Its members: ``time`` (RFC 3339, UTC), ``level``, ``logger``, ``message``, and where
    there are any ``event``, ``code``, ``correlation_id`` and ``exception``, a
    traceback. Other ``extra`` fields are left out, because nobody vouches for them.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, without its end."""
        time = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "event": getattr(record, "event", None),
            "code": getattr(record, "code", None),
            "correlation_id": getattr(record, "correlation_id", None) or _current.get(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        known = {name: value for name, value in line.items() if value is not None}
        return json.dumps(known, default=str)
