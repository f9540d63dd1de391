"""HTTP messages as values: what is signed, and what a signature is checked against.

A message here is what both ends agree on, whatever HTTP version or library carries
it: method, target URI and status, the field lines in order, the content after
transfer framing is removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from ..errors import UsageError

__all__ = ["FieldLines", "Message", "RequestMessage", "ResponseMessage"]

FieldLines: TypeAlias = tuple[tuple[str, str], ...]
"""Field lines as received: (name, value), repeated names kept, ISO-8859-1 text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestMessage:
    """A request.

    Attributes:
        method: as sent, such as ``"POST"``.
        target_uri: absolute, such as ``"https://agents.example/inbox?page=1"``,
            without a fragment. On a server: made of the scheme that was really used,
            the ``Host`` field (or ``:authority``) and the request target.
        fields: the header lines in order; a name that came twice is here twice.
        content: the whole body; ``None`` where it is streamed and checked elsewhere
            (see `ContentDigester`).
        trailers: the lines behind the body.
        request_target: what the request line says, where it is not the path and
            query of the target URI (``OPTIONS *``, ``CONNECT``, a proxy).

    Raises:
        UsageError: a type that HTTP has not.
    """

    method: str
    target_uri: str
    fields: FieldLines = ()
    content: bytes | None = b""
    trailers: FieldLines = ()
    request_target: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is no message at all."""
        if type(self.method) is not str or type(self.target_uri) is not str:
            raise UsageError("method and target_uri are str")
        _check(self)

    def with_fields(self, *more: tuple[str, str]) -> RequestMessage:
        """Return the same request with more header lines behind the others."""
        return RequestMessage(
            method=self.method,
            target_uri=self.target_uri,
            fields=(*self.fields, *more),
            content=self.content,
            trailers=self.trailers,
            request_target=self.request_target,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseMessage:
    """A response.

    Attributes:
        status: 100 to 999.
        fields: the header lines in order; a name that came twice is here twice.
        content: the whole body; ``None`` where it is streamed and checked elsewhere.
        trailers: the lines behind the body.

    Raises:
        UsageError: a type or a status that HTTP has not.
    """

    status: int
    fields: FieldLines = ()
    content: bytes | None = b""
    trailers: FieldLines = ()

    def __post_init__(self) -> None:
        """Refuse what is no message at all."""
        if type(self.status) is not int or not 100 <= self.status <= 999:
            raise UsageError("a status is an int from 100 to 999")
        _check(self)

    def with_fields(self, *more: tuple[str, str]) -> ResponseMessage:
        """Return the same response with more header lines behind the others."""
        return ResponseMessage(
            status=self.status,
            fields=(*self.fields, *more),
            content=self.content,
            trailers=self.trailers,
        )


Message: TypeAlias = RequestMessage | ResponseMessage


_PAIR: Final[list[type]] = [str, str]


def _check(message: Message) -> None:
    if message.content is not None and type(message.content) is not bytes:
        raise UsageError("content is bytes, or None where it is streamed")
    if type(message.fields) is not tuple or type(message.trailers) is not tuple:
        raise UsageError("fields are a tuple of pairs")
    for line in (*message.fields, *message.trailers):
        if type(line) is not tuple or [type(part) for part in line] != _PAIR:
            raise UsageError("fields are pairs of str: name and value")
