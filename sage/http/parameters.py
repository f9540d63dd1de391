"""The parameters of a signature: when, until when, by whom, for which use.

RFC 9421, section 2.3. Read with their types checked; written in the order of the
profile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..errors import Code, DecodeError, UsageError
from .signature_input import encode_string

__all__ = ["SignatureParameters", "encode_parameters", "read_parameters"]

_INTEGERS: Final = ("created", "expires")
_STRINGS: Final = ("keyid", "alg", "nonce", "tag")

# RFC 9651, 3.3.1: fifteen digits.
_INTEGER_MAX: Final = 999_999_999_999_999


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureParameters:
    """What the registered parameters say; ``None`` where one is absent.

    Attributes:
        keyid: whose key.
        alg: the algorithm, by its registered name.
        created: wall seconds.
        expires: wall seconds.
        nonce: text that this key never uses again.
        tag: the application that the signature is for.
    """

    keyid: str | None = None
    alg: str | None = None
    created: int | None = None
    expires: int | None = None
    nonce: str | None = None
    tag: str | None = None


def read_parameters(given: Mapping[str, Any]) -> SignatureParameters:
    """Take the registered parameters out of those received; others are left alone.

    Raises:
        DecodeError: one has the wrong type, or a time is negative (``sig.malformed``).
    """
    get = given.get
    for name in _INTEGERS:
        value = get(name)
        if value is not None and (type(value) is not int or value < 0):
            raise _malformed(name, "seconds")
    for name in _STRINGS:
        value = get(name)
        if value is not None and type(value) is not str:
            raise _malformed(name, "a string")
    return SignatureParameters(
        keyid=get("keyid"),
        alg=get("alg"),
        created=get("created"),
        expires=get("expires"),
        nonce=get("nonce"),
        tag=get("tag"),
    )


def encode_parameters(parameters: SignatureParameters, order: tuple[str, ...]) -> str:
    """Return ``;name=value`` for each that is there, in this order.

    Raises:
        UsageError: a text that no structured string holds, or a time that is no
            integer from 0 to 999999999999999.
    """
    return "".join([_encoded(name, getattr(parameters, name)) for name in order])


def _encoded(name: str, value: object) -> str:
    if value is None:
        return ""
    if type(value) is int and name in _INTEGERS and 0 <= value <= _INTEGER_MAX:
        return f";{name}={value}"
    text = None
    if type(value) is str and name in _STRINGS:
        text = encode_string(value)
    if text is None:
        raise UsageError(f"{name}={value!r} cannot be a parameter of a signature")
    return f";{name}={text}"


def _malformed(name: str, what: str) -> DecodeError:
    return DecodeError(f"{name} is {what}", code=Code.SIG_MALFORMED)
