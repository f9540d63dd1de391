"""A JSON parser that refuses what two parsers could read differently (JCS-01..04).

Duplicate names, negative zero, integers that a double cannot hold, lone surrogates:
each is a place where a signer and a verifier may see two documents in the same
bytes. The standard library parses; its hooks and one walk refuse.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, AnyStr, Final, NoReturn

from ..errors import Code, DecodeError, UsageError
from ..limits import JSON_DEPTH_MAX, JSON_INTEGER_MAX, JSON_MAX_BYTES
from ..types import Buffer, Json

__all__ = ["has_more", "parse_strict"]

_FEW: Final = JSON_DEPTH_MAX // 2  # of each kind of bracket
_INTEGER_MAX_DIGITS = len(str(JSON_INTEGER_MAX))


def parse_strict(data: Buffer | str, *, max_bytes: int = JSON_MAX_BYTES) -> Json:
    """Parse exactly one JSON value.

    Args:
        data: UTF-8 bytes without a byte-order mark, or text.
        max_bytes: the longest input in UTF-8 bytes; at most 16 MiB.

    Raises:
        DecodeError: not UTF-8, a byte-order mark, not JSON, trailing data, a name
            twice in one object (after unescaping), a lone surrogate, NaN or
            Infinity, a number beyond the doubles, negative zero in any form, an
            integer beyond ±(2^53 - 1), nested deeper than 64 (``json.malformed``);
            longer than ``max_bytes`` (``size.exceeded``).
        UsageError: ``data`` is neither ``str`` nor a contiguous buffer.
    """
    text = _text(data, min(max_bytes, JSON_MAX_BYTES))
    try:
        value: Json = _decode(text)
    except RecursionError:
        raise _malformed(f"JSON is nested deeper than {JSON_DEPTH_MAX}") from None
    except ValueError as exc:
        raise _malformed(f"not JSON: {exc}") from None
    # After decoding UTF-8, a surrogate can only come from an escape, and nothing is
    # nested deeper than there are brackets: most texts need no walk.
    # (A single character is found forty times as fast as two.)
    escapes = "\\" in text and "\\u" in text
    if escapes or has_more(text, "{", _FEW) or has_more(text, "[", _FEW):
        _check(value, JSON_DEPTH_MAX, escapes=escapes)
    return value


def has_more(text: AnyStr, character: AnyStr, most: int) -> bool:
    """Whether a character is there more than so many times.

    For long texts in which it is rare: searching is fifteen times as fast as counting.
    """
    at = text.find(character)
    while at >= 0 and most > 0:
        at = text.find(character, at + 1)
        most -= 1
    return at >= 0


def _text(data: Buffer | str, max_bytes: int) -> str:
    text = (
        _checked(data, max_bytes) if isinstance(data, str) else _utf8(data, max_bytes)
    )
    if text.startswith("\ufeff"):
        raise _malformed("JSON starts with a byte-order mark")
    return text


def _checked(text: str, max_bytes: int) -> str:
    # No text is shorter in UTF-8 than in characters: refuse before encoding.
    size = len(text)
    if size <= max_bytes and not text.isascii():
        try:
            size = len(text.encode("utf-8"))
        except UnicodeEncodeError:
            raise _malformed("JSON text has a lone surrogate") from None
    if size > max_bytes:
        raise _too_long(max_bytes)
    return text


def _utf8(data: Buffer, max_bytes: int) -> str:
    try:
        view = memoryview(data).cast("B")
    except (TypeError, ValueError, BufferError) as exc:
        kind = type(data).__name__
        raise UsageError(
            f"JSON must be str or a contiguous buffer, not {kind}"
        ) from exc
    if view.nbytes > max_bytes:
        raise _too_long(max_bytes)
    try:
        return str(view, "utf-8")
    except UnicodeDecodeError:
        raise _malformed("JSON is not UTF-8") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _malformed("JSON object has a name twice")
    return members


def _integer(digits: str) -> int:
    if digits == "-0":
        raise _malformed("JSON number is negative zero")
    # The length first: int() takes quadratic time.
    if len(digits) <= _INTEGER_MAX_DIGITS + 1:
        value = int(digits)
        if -JSON_INTEGER_MAX <= value <= JSON_INTEGER_MAX:
            return value
    raise _malformed("JSON integer is beyond 2^53 - 1")


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise _malformed("JSON number is beyond the doubles")
    if value == 0 and digits.startswith("-"):
        raise _malformed("JSON number is negative zero")
    return value


def _constant(name: str) -> NoReturn:
    raise _malformed(f"{name} is not JSON")


_decoder: Final[Any] = json.JSONDecoder(  # its stub does not know `scan_once`
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_float=_float,
    parse_constant=_constant,
)
_SPACE: Final = re.compile(r"[ \t\n\r]*")


def _decode(text: str) -> Any:
    """Do what `JSONDecoder.decode` does, in one step where it starts at once."""
    if text.startswith("{"):
        try:
            value, end = _decoder.scan_once(text, 0)
        except StopIteration:
            pass  # a value is missing; `decode` says where
        else:
            if end == len(text) or _SPACE.fullmatch(text, end):
                return value
    return _decoder.decode(text)


def _check(value: Any, depth: int, *, escapes: bool) -> None:
    """Refuse what the decoder lets through: depth, and escaped lone surrogates."""
    if isinstance(value, str):
        if escapes and not value.isascii():
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                raise _malformed("JSON string has a lone surrogate") from None
    elif isinstance(value, dict | list):
        if depth == 0:
            raise _malformed(f"JSON is nested deeper than {JSON_DEPTH_MAX}")
        if isinstance(value, dict):
            for name in value:
                _check(name, depth, escapes=escapes)
            value = value.values()
        for item in value:
            _check(item, depth - 1, escapes=escapes)


def _malformed(message: str) -> DecodeError:
    return DecodeError(message, code=Code.JSON_MALFORMED)


def _too_long(max_bytes: int) -> DecodeError:
    return DecodeError(
        f"JSON is longer than {max_bytes} bytes", code=Code.SIZE_EXCEEDED
    )
