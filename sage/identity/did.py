"""Names: ``did:sage`` identifiers and the key URLs below them (ID-01, ID-02).

::

    did:sage:web:agents.example:ada#sign-1
             ─┬─ ──────┬─────── ─┬─ ──┬───
             kind   locator  agent-id key-id
             └──registry id─┘

Two names are equal when their bytes are equal. There is one spelling for each
name, so whatever is not in that spelling is refused rather than corrected.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NoReturn

from ..errors import Code, DecodeError, UsageError
from ..limits import (
    DID_MAX_BYTES,
    KEY_URL_MAX_BYTES,
    PARSED_NAME_CACHE_ENTRIES,
)
from ..types import Did, KeyUrl

__all__ = ["ParsedDid", "ParsedKeyUrl", "is_key_name", "parse_did", "parse_key_url"]


@dataclass(frozen=True, slots=True)
class ParsedDid:
    """A ``did:sage`` identifier in normal form, taken apart.

    Attributes:
        did: the whole identifier, at most 256 ASCII bytes.
        kind: what sort of registry holds the record: ``web`` or ``eip155``.
        locator: which registry: a DNS name, or ``chain-id:0xaddress``.
        agent_id: which record in it, 1 to 64 characters.
    """

    did: Did
    kind: str
    locator: str
    agent_id: str

    @property
    def registry_id(self) -> str:
        """``kind:locator``, the name of one registry (ID-02)."""
        return f"{self.kind}:{self.locator}"


@dataclass(frozen=True, slots=True)
class ParsedKeyUrl:
    """A full key URL in normal form, taken apart.

    Attributes:
        url: the whole URL, at most 289 ASCII bytes.
        did: the agent that the key belongs to.
        key_name: the fragment, 1 to 32 characters.
    """

    url: KeyUrl
    did: ParsedDid
    key_name: str


def parse_did(text: str) -> ParsedDid:
    """Parse an identifier without a fragment (ID-01).

    Raises:
        DecodeError: not in normal form (``id.malformed``), or of a registry kind
            whose locator we do not know how to read (``id.unknown-kind``).
        UsageError: ``text`` is not a ``str``.
    """
    if not isinstance(text, str):
        raise _not_text(text)
    return _parse_did(text)


def parse_key_url(text: str) -> ParsedKeyUrl:
    """Parse a full key URL: a DID, ``#`` and a key name (ID-01).

    Raises:
        DecodeError: as `parse_did`; a bare DID is ``id.malformed`` here.
        UsageError: ``text`` is not a ``str``.
    """
    if not isinstance(text, str):
        raise _not_text(text)
    return _parse_key_url(text)


def is_key_name(text: str) -> bool:
    """Whether ``text`` may name a key or a service: 1..32 of ``A-Za-z0-9-_``."""
    return _KEY_NAME.fullmatch(text) is not None


# Explicit ASCII sets and `fullmatch`: `\d`, `\w` and `$` would let in other
# scripts' digits and a line feed at the end.
_KIND: Final = re.compile(r"[a-z][a-z0-9-]*")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KEY_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_LOCATORS: Final = {
    "web": re.compile(rf"{_LABEL}(?:\.{_LABEL})*"),
    "eip155": re.compile(r"[1-9][0-9]{0,31}:0x[0-9a-f]{40}"),
}
# URL parsers read a host whose last label is a decimal or 0x number as an IPv4
# address ("1.2.3.4", "127.1", "0x7f000001"); no top-level domain looks like that.
_ADDRESS: Final = re.compile(r"(?:\A|\.)(?:[0-9]+|0x[0-9a-f]*)\Z")


@lru_cache(maxsize=PARSED_NAME_CACHE_ENTRIES)
def _parse_did(text: str) -> ParsedDid:
    _require_size(text, DID_MAX_BYTES)
    method, _, rest = text.partition("did:sage:")
    kind, *segments = rest.split(":")
    if method or not _KIND.fullmatch(kind) or len(segments) < 2:
        _malformed()
    if not all(map(_SEGMENT.fullmatch, segments)):
        _malformed()
    *locator, agent_id = segments
    if kind not in _LOCATORS:
        raise DecodeError("registry kind is not known", code=Code.ID_UNKNOWN_KIND)
    name = ":".join(locator)
    if not _LOCATORS[kind].fullmatch(name) or agent_id in {".", ".."}:
        _malformed()
    if kind == "web" and _ADDRESS.search(name):
        _malformed()
    return ParsedDid(Did(text), kind, name, agent_id)


@lru_cache(maxsize=PARSED_NAME_CACHE_ENTRIES)
def _parse_key_url(text: str) -> ParsedKeyUrl:
    _require_size(text, KEY_URL_MAX_BYTES)
    did, _, name = text.partition("#")
    if not is_key_name(name):
        _malformed()
    return ParsedKeyUrl(KeyUrl(text), parse_did(did), name)


def _not_text(text: object) -> UsageError:
    return UsageError(f"an identifier is str, not {type(text).__name__}")


def _require_size(text: str, max_bytes: int) -> None:
    if len(text) > max_bytes or not text.isascii():
        _malformed()


def _malformed() -> NoReturn:
    raise DecodeError("identifier is not in normal form", code=Code.ID_MALFORMED)
