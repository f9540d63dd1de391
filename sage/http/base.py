"""The signature base: the exact bytes that are signed (RFC 9421, section 2.5).

One line for each covered component, its identifier and its value, and a last line
with the signature's own parameters. A value never holds a line end, so that nobody
can write a line of their own into it.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

from ..errors import Code, DecodeError, ProtocolError
from ..limits import HTTP_STRUCTURED_MAX_BYTES
from .component import Component
from .fields import Lines, combined, lines_by_name, unfolded
from .message import Message, RequestMessage
from .structured import (
    STRUCTURED_FIELDS,
    parse_structured,
    serialize_member,
    serialize_structured,
)
from .target import Target, parse_target, query_parameter

__all__ = ["MessageView", "component_value", "signature_base"]

# RFC 9421, 2.5: ASCII; of the control characters a tab alone, and our line ends.
_FORBIDDEN: Final = re.compile(r"[^\t\n -~]")
_NO_MORE_FIELDS: Final[Mapping[str, str]] = {}


class MessageView:
    """A message made ready to be asked for components; nothing is parsed twice.

    Args:
        message: what is signed or verified.
        request: the request that a response answers, as it was sent.
        structured: types of structured fields beyond `STRUCTURED_FIELDS`.

    Raises:
        DecodeError: a field name that is not ASCII (``sig.malformed``).
    """

    __slots__ = (
        "_parsed",
        "_parsed_bytes",
        "_structured",
        "_target",
        "_trailers",
        "lines",
        "message",
        "request",
    )

    def __init__(
        self,
        message: Message,
        *,
        request: MessageView | None = None,
        structured: Mapping[str, str] = _NO_MORE_FIELDS,
    ) -> None:
        self.message = message
        self.request = request
        self.lines = lines_by_name(message.fields)
        self._structured = structured
        self._parsed: dict[tuple[str, str], Any] = {}
        self._parsed_bytes = 0
        self._target: Target | None = None
        self._trailers: Lines | None = None

    def field(self, name: str) -> str | None:
        """Return a header field's combined value, or ``None``."""
        lines = self.lines.get(name)
        return None if lines is None else combined(lines)

    @property
    def target(self) -> Target:
        """The request's target, taken apart.

        Raises:
            DecodeError: not an absolute URI (``sig.malformed``).
            ProtocolError: a response has none (``sig.coverage``).
        """
        if self._target is None:
            if not isinstance(self.message, RequestMessage):
                raise _not_there("a response has no target")
            self._target = parse_target(self.message.target_uri)
        return self._target

    @property
    def trailers(self) -> Lines:
        """The trailer fields by name."""
        if self._trailers is None:
            self._trailers = lines_by_name(self.message.trailers)
        return self._trailers

    def kind_of(self, name: str) -> str:
        """Return the type of a structured field.

        Raises:
            ProtocolError: not known to be one (``sig.base-mismatch``).
        """
        kind = self._structured.get(name) or STRUCTURED_FIELDS.get(name)
        if kind is None:
            raise _mismatch(f"{name} is not known as a structured field")
        return kind

    def parsed(self, value: str, kind: str) -> Any:
        """Parse a field's value once, however many of its members are covered.

        Raises:
            DecodeError: it is none (``sig.malformed``), or more than 4 KiB of this
                message would be parsed (``size.exceeded``).
        """
        if (kind, value) not in self._parsed:
            self._parsed_bytes += len(value)
            if self._parsed_bytes > HTTP_STRUCTURED_MAX_BYTES:
                raise DecodeError(
                    f"structured: more than {HTTP_STRUCTURED_MAX_BYTES} bytes",
                    code=Code.SIZE_EXCEEDED,
                )
            self._parsed[kind, value] = parse_structured(value, kind)
        return self._parsed[kind, value]


def signature_base(
    view: MessageView, components: tuple[Component, ...], parameters: str
) -> bytes:
    """Return the bytes to sign: ASCII, no line end behind the last line.

    Args:
        view: the message.
        components: in the order of the signature.
        parameters: the value of ``@signature-params``.

    Raises:
        ProtocolError: a component that this message has not, or cannot have
            (``sig.base-mismatch``).
        DecodeError: a value that is not one line of ASCII (``sig.malformed``), or too
            long to be covered as a structured field (``size.exceeded``).
    """
    lines = [f"{c.identifier}: {component_value(view, c)}" for c in components]
    lines.append(f'"@signature-params": {parameters}')
    base = "\n".join(lines)
    if _FORBIDDEN.search(base) or base.count("\n") != len(components):
        raise DecodeError("a covered value is not one line", code=Code.SIG_MALFORMED)
    return base.encode("ascii")


def component_value(view: MessageView, component: Component) -> str:
    """Return one component's value (RFC 9421, sections 2.1 and 2.2).

    Raises:
        ProtocolError: the message has no such component (``sig.base-mismatch``).
        DecodeError: it cannot be read (``sig.malformed``), or is too long for that
            (``size.exceeded``).
    """
    if component.req:
        if view.request is None:
            raise _mismatch("only a response has a request")
        view = view.request
    name = component.name
    if name.startswith("@"):
        return _derived(view, component)
    lines = (view.trailers if component.tr else view.lines).get(name)
    if lines is None:
        raise _not_there(name)
    if component.plain:
        return combined(lines)
    return _field(view, component, lines)


def _derived(view: MessageView, component: Component) -> str:
    name, message = component.name, view.message
    if not isinstance(message, RequestMessage):
        if name == "@status":
            return str(message.status)
        raise _mismatch("a response has no such component but its request's")
    if name == "@method":
        return message.method
    if name == "@status":
        raise _mismatch("a request has no status")
    target = view.target
    if name == "@target-uri":
        # Of OPTIONS an empty path means the server, not its root (RFC 9110, 4.2.3).
        return message.target_uri if message.method == "OPTIONS" else target.uri
    if name == "@query-param":
        return query_parameter(target.query, component.parameter or "")
    if name == "@request-target":
        return message.request_target or target.request_target
    value: str = getattr(target, name[1:])
    return value


def _field(view: MessageView, component: Component, lines: list[str]) -> str:
    if component.bs:
        return ", ".join(map(_wrapped, lines))
    value = combined(lines)
    if component.key is not None:
        members = view.parsed(value, "dictionary")
        if component.key not in members:
            raise _not_there(component.key)
        return serialize_member(members[component.key])
    if component.sf:
        kind = view.kind_of(component.name)
        return serialize_structured(view.parsed(value, kind))
    return value


def _wrapped(line: str) -> str:
    # The one way to cover bytes that are not ASCII (RFC 9421, 2.1.3).
    try:
        return f":{b64encode(unfolded(line).encode('latin-1')).decode('ascii')}:"
    except UnicodeEncodeError:
        raise DecodeError(
            "a field value is ISO-8859-1", code=Code.SIG_MALFORMED
        ) from None


def _not_there(what: str) -> ProtocolError:
    return _mismatch(f"{what} is covered and not there")


def _mismatch(message: str) -> ProtocolError:
    return ProtocolError(message, code=Code.SIG_BASE_MISMATCH)
