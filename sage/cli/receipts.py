"""The file application: files in parts, and a receipt for each part.

One part travels as the payload of one request, its receipt as the answer to it. All
of it is inside the sealed record: request metadata would show the file's name.

Wire of a part::

    be32 length of the header | header, canonical JSON | the bytes, at most 1 MiB

    {"offset":0,"path":"notes/a.txt","size":5,"transfer":"<22 characters>"}

``size`` is the whole file's; a part is the last when it reaches it. A file of 0 bytes
is one part without bytes; no other part is empty. Parts of one transfer come in order,
each after the receipt of the one before. A receipt is canonical JSON::

    {"path":"notes/a.txt","sha256":"<64 hex digits>","size":5,"transfer":"…"}

``size`` and ``sha256`` are of everything received so far in this transfer, so the
receipt of the last part is the receipt for the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, NoReturn

from ..encoding import jcs, parse_strict
from ..errors import Code, DecodeError
from ..limits import JSON_INTEGER_MAX
from ..types import Buffer

__all__ = ["PART_MAX_BYTES", "PATH_MAX_BYTES", "Part", "Receipt", "check_path"]

PART_MAX_BYTES: Final = 1024 * 1024
PATH_MAX_BYTES: Final = 1024

_HEADER_MAX_BYTES: Final = 8192  # JSON writes some bytes of a path as six
_RECEIPT_MAX_BYTES: Final = 8192
_TRANSFER: Final = re.compile(r"[A-Za-z0-9_-]{21}[AQgw]")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One piece of one file.

    Attributes:
        transfer: 16 random bytes as base64url: which file of which sender.
        path: relative, with ``/``; see `check_path`.
        offset: where the bytes belong.
        size: the whole file's, in bytes.
        data: 1 byte to 1 MiB; none only in a file of 0 bytes.
    """

    transfer: str
    path: str
    offset: int
    size: int
    data: bytes = field(default=b"", repr=False)

    @property
    def end(self) -> int:
        """The offset of the part that would follow."""
        return self.offset + len(self.data)

    @property
    def is_last(self) -> bool:
        """Whether the file is complete with this part."""
        return self.end == self.size

    def encode(self) -> bytes:
        """Return the payload of a request."""
        header = jcs(
            {
                "transfer": self.transfer,
                "path": self.path,
                "offset": self.offset,
                "size": self.size,
            }
        )
        return b"".join((len(header).to_bytes(4), header, self.data))

    @classmethod
    def decode(cls, payload: Buffer) -> Part:
        """Read the payload of a request.

        Raises:
            DecodeError: anything but a whole, well-formed part.
        """
        frame = bytes(payload)
        length = int.from_bytes(frame[:4])
        if len(frame) < 4 or length > min(len(frame) - 4, _HEADER_MAX_BYTES):
            _malformed("the frame is cut off, or its header is too long")
        header = _members(
            frame[4 : 4 + length],
            names={"transfer", "path", "offset", "size"},
            max_bytes=_HEADER_MAX_BYTES,
        )
        part = cls(
            transfer=_text(header["transfer"], _TRANSFER),
            path=check_path(header["path"]),
            offset=_count(header["offset"]),
            size=_count(header["size"]),
            data=frame[4 + length :],
        )
        if len(part.data) > PART_MAX_BYTES or part.end > part.size:
            _malformed("more bytes than the header says")
        if not part.data and part.size:
            _malformed("a part without bytes")
        return part


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What has arrived.

    Attributes:
        transfer: of the part that this answers.
        path: of the file.
        size: bytes received so far.
        sha256: of those bytes, 64 hex digits.
    """

    transfer: str
    path: str
    size: int
    sha256: str

    def encode(self) -> bytes:
        """Return the answer to a request."""
        return jcs(
            {
                "transfer": self.transfer,
                "path": self.path,
                "size": self.size,
                "sha256": self.sha256,
            }
        )

    @classmethod
    def decode(cls, data: Buffer) -> Receipt:
        """Read the answer to a request.

        Raises:
            DecodeError: not a receipt.
        """
        members = _members(
            bytes(data),
            names={"transfer", "path", "size", "sha256"},
            max_bytes=_RECEIPT_MAX_BYTES,
        )
        return cls(
            transfer=_text(members["transfer"], _TRANSFER),
            path=check_path(members["path"]),
            size=_count(members["size"]),
            sha256=_text(members["sha256"], _SHA256),
        )


def check_path(path: object) -> str:
    """Return a path that stays below whatever folder it is put in.

    Relative, 1 to 1,024 bytes of UTF-8, ``/`` between the names, none of which is
    empty, ``.`` or ``..``; no NUL.

    Raises:
        DecodeError: any other.
    """
    if not isinstance(path, str):
        _malformed("the path is not a text")
    try:
        length = len(path.encode("utf-8"))
    except UnicodeEncodeError:
        _malformed("the path is not UTF-8")
    if length > PATH_MAX_BYTES or "\0" in path:
        _malformed(f"the path has a NUL, or more than {PATH_MAX_BYTES} bytes")
    if not {"", ".", ".."}.isdisjoint(path.split("/")):
        _malformed("the path is not relative, or leaves its folder")
    return path


def _members(data: bytes, *, names: set[str], max_bytes: int) -> dict[str, object]:
    value = parse_strict(data, max_bytes=max_bytes)
    if not isinstance(value, dict) or value.keys() != names:
        _malformed(f"not an object of {', '.join(sorted(names))}")
    return dict(value)


def _text(value: object, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        _malformed("a member does not have the right form")
    return value


def _count(value: object) -> int:
    # `type`, because True is an int.
    if type(value) is not int or not 0 <= value <= JSON_INTEGER_MAX:
        _malformed("an offset or a size is not a number of bytes")
    return value


def _malformed(message: str) -> NoReturn:
    raise DecodeError(message, code=Code.FRAME_MALFORMED)
