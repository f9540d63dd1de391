"""What a request is aimed at: the derived components of the target URI.

RFC 9421, sections 2.2.2 to 2.2.8. The authority is lower case and without the
scheme's own port, an empty path is ``/``, an absent query is ``?``; nothing is
decoded, but for `query_parameter`, which the RFC reads as a form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote

from ..errors import Code, DecodeError, ProtocolError

__all__ = ["Target", "parse_target", "query_parameter"]

_TARGET: Final = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#@\\\s]+)(/[^?#\s]*)?(\?[^#\s]*)?\Z"
)
_AUTHORITY: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(?::([0-9]*))?\Z")
_DEFAULT_PORTS: Final = {"https": "443", "http": "80"}

# A query within the 32 KiB of a head; more parameters than this are no form.
_QUERY_PARAMETERS_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class Target:
    """A target URI, taken apart and normalised (RFC 9110, 4.2.3).

    Attributes:
        uri: the whole, with ``/`` for an empty path.
        scheme: lower case.
        authority: lower case, without the scheme's default port.
        path: as sent; ``/`` where it is empty.
        query: with its ``?``; just that where there is none.
        request_target: path and query as the request line has them.
    """

    uri: str
    scheme: str
    authority: str
    path: str
    query: str
    request_target: str


def parse_target(uri: str) -> Target:
    """Take an absolute URI apart.

    Raises:
        DecodeError: not absolute, not ASCII, with user information, white space or a
            fragment, or without a host (``sig.malformed``).
    """
    found = _TARGET.match(uri) if uri.isascii() else None
    if found is None:
        raise _malformed()
    scheme, authority, path, query = found.groups(default="")
    scheme = scheme.lower()
    whole = uri if path else f"{found[1]}://{authority}/{query}"
    path = path or "/"
    return Target(
        whole,
        scheme,
        _normal_authority(scheme, authority.lower()),
        path,
        query or "?",
        path + query,
    )


def query_parameter(query: str, name: str) -> str:
    """Return the value of one parameter, encoded anew (RFC 9421, 2.2.8).

    Args:
        query: with or without its ``?``.
        name: in the encoded form, as the component identifier has it.

    Raises:
        ProtocolError: absent, or there more than once (``sig.base-mismatch``).
        DecodeError: more parameters than anybody needs (``sig.malformed``).
    """
    try:
        pairs = parse_qsl(
            query.removeprefix("?"),
            keep_blank_values=True,
            max_num_fields=_QUERY_PARAMETERS_MAX,
        )
    except ValueError:
        raise _malformed() from None
    values = [value for key, value in pairs if _form_encoded(key) == name]
    if len(values) != 1:
        raise ProtocolError(
            "a covered query parameter is there once", code=Code.SIG_BASE_MISMATCH
        )
    return _form_encoded(values[0])


def _form_encoded(text: str) -> str:
    # The application/x-www-form-urlencoded set of WHATWG URL, with %20 for a space.
    return quote(text, safe="*-._").replace("~", "%7E")


def _normal_authority(scheme: str, authority: str) -> str:
    found = _AUTHORITY.match(authority)
    if found is None:
        raise _malformed()
    host, port = found[1], found[2]
    if not port or port == _DEFAULT_PORTS.get(scheme):
        return host
    return f"{host}:{port}"


def _malformed() -> DecodeError:
    return DecodeError("not an absolute target URI", code=Code.SIG_MALFORMED)
