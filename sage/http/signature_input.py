"""The ``Signature-Input`` and ``Signature`` fields (RFC 9421, sections 4.1 and 4.2).

What arrives is nearly always one signature whose parameters are plain strings and
integers. That form is read here by a pattern, which tests hold against `http-sf` on
generated input; anything else goes to `http-sf` itself. The list of components is
always parsed by it, once for each text: all requests of one client share theirs.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from ..errors import Code, DecodeError
from ..limits import HTTP_PARSED_CACHE_ENTRIES, HTTP_PARSED_CACHE_TEXT_MAX
from .component import Component, check_distinct, parse_components, parsed_component
from .structured import parse_structured, serialize_member

__all__ = [
    "SignatureInput",
    "encode_signature",
    "encode_string",
    "is_label",
    "parse_signature_input",
    "parse_signatures",
]

_LABEL: Final = r"[a-z*][a-z0-9_\-.*]*"
_PARAMETER: Final = (
    r';([a-z*][a-z0-9_\-.*]*)=(?:"([ !#-\[\]-~]*)"|(0|[1-9][0-9]{0,14}))'
)
_ONE_INPUT: Final = re.compile(rf"({_LABEL})=(\([^()]*\))((?:{_PARAMETER})*)\Z")
_EACH: Final = re.compile(_PARAMETER)
_ONE_SIGNATURE: Final = re.compile(rf"({_LABEL})=:([A-Za-z0-9+/]+={{0,2}}):\Z")
_PLAIN_STRING: Final = re.compile(r"[ -~]*\Z")

Parameters: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SignatureInput:
    """One member of ``Signature-Input``.

    Attributes:
        components: what is covered, in order.
        parameters: of the signature, in order; values as `http-sf` gives them.
        text: components and parameters in strict form: the last line of the base.
    """

    components: tuple[Component, ...]
    parameters: Parameters
    text: str


def parse_signature_input(text: str) -> Mapping[str, SignatureInput]:
    """Parse the field's combined value: what each label covers, and how.

    Raises:
        DecodeError: not a dictionary of inner lists of component identifiers, or
            something in it twice (``sig.malformed``).
    """
    # What a stranger makes long is read, and not kept.
    kept = len(text) <= HTTP_PARSED_CACHE_TEXT_MAX
    return _parsed_once(text) if kept else _parsed(text)


def _parsed(text: str) -> Mapping[str, SignatureInput]:
    found = _ONE_INPUT.match(text)
    if found is not None:
        return {found[1]: _plain(found[2], found[3])}
    members = parse_structured(text, "dictionary")
    return MappingProxyType({name: _member(m) for name, m in members.items()})


_parsed_once: Final = lru_cache(maxsize=HTTP_PARSED_CACHE_ENTRIES)(_parsed)


def parse_signatures(text: str) -> dict[str, bytes]:
    """Parse the ``Signature`` field's combined value: the bytes of each label.

    Raises:
        DecodeError: not a dictionary of byte sequences, or a label in it twice
            (``sig.malformed``).
    """
    found = _ONE_SIGNATURE.match(text)
    if found is not None and len(found[2]) % 4 == 0:
        signature = b64decode(found[2])
        if encode_signature(found[1], signature) == text:
            return {found[1]: signature}
    members = parse_structured(text, "dictionary")
    return {name: _signature(member) for name, member in members.items()}


def encode_signature(label: str, signature: bytes) -> str:
    """Return one member of ``Signature``."""
    return f"{label}=:{b64encode(signature).decode('ascii')}:"


def encode_string(text: str) -> str | None:
    """Return a structured string with its quotes; ``None`` for what is not ASCII."""
    if not _PLAIN_STRING.match(text):
        return None
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def is_label(text: object) -> bool:
    """Whether a text can name a signature: a key of RFC 9651, section 3.1.2."""
    return type(text) is str and re.fullmatch(_LABEL, text) is not None


def _plain(listed: str, parameters: str) -> SignatureInput:
    components = parse_components(listed)
    values: dict[str, Any] = {}
    for name, string, number in _EACH.findall(parameters):
        if name in values:
            raise _malformed(f"{name!r} is twice in one parameter")
        values[name] = int(number) if number else string
    return SignatureInput(components, values, _listed(components) + parameters)


def _listed(components: tuple[Component, ...]) -> str:
    return f"({' '.join([component.identifier for component in components])})"


def _member(member: tuple[Any, dict[str, Any]]) -> SignatureInput:
    items, parameters = member
    if not isinstance(items, list):
        raise _malformed("covered components are an inner list")
    components = check_distinct(map(parsed_component, items))
    # The identifiers in it are strict already: what is written here is the same.
    return SignatureInput(
        components, MappingProxyType(parameters), serialize_member(member)
    )


def _signature(member: tuple[Any, dict[str, Any]]) -> bytes:
    value, parameters = member
    if type(value) is not bytes or parameters:
        raise _malformed("a signature is a byte sequence")
    return value


def _malformed(message: str) -> DecodeError:
    return DecodeError(message, code=Code.SIG_MALFORMED)
