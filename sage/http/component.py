"""Component identifiers: what a signature covers, by name (RFC 9421, section 2).

An identifier is a name and parameters, such as ``"content-digest";req``. Everything
about it that needs no message is checked when it is read: derived names that do not
exist, parameters that do not belong together, upper case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from ..errors import Code, DecodeError, PeerError, UsageError
from ..limits import (
    HTTP_PARSED_CACHE_ENTRIES,
    HTTP_PARSED_CACHE_TEXT_MAX,
    SIGNATURE_COMPONENTS_MAX,
)
from .structured import parse_structured, serialize_structured

__all__ = [
    "DERIVED",
    "Component",
    "check_distinct",
    "named_components",
    "parse_components",
    "parsed_component",
    "texts",
]

DERIVED: Final = frozenset(
    {
        "@authority",
        "@method",
        "@path",
        "@query",
        "@query-param",
        "@request-target",
        "@scheme",
        "@status",
        "@target-uri",
    }
)
"""The derived components of RFC 9421, section 2.2."""

# RFC 9110, 5.6.2, without upper case: identifiers are lower case (RFC 9421, 2.1).
_FIELD_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+\Z")
_FLAGS: Final = frozenset({"req", "sf", "bs", "tr"})
_TEXTS: Final = {"key": "key", "name": "parameter"}


@dataclass(frozen=True, slots=True)
class Component:
    """One covered component.

    Attributes:
        identifier: in strict form, as it stands in the signature base.
        name: a derived name or a lower-case field name.
        req: taken from the request that a response answers.
        sf: the field is a structured one and is written strictly.
        bs: each of the field's lines is wrapped as a byte sequence.
        tr: taken from the trailers.
        key: the member of a dictionary field.
        parameter: the name of ``@query-param``, encoded.
        plain: no parameter at all.
    """

    identifier: str
    name: str
    req: bool = False
    sf: bool = False
    bs: bool = False
    tr: bool = False
    key: str | None = None
    parameter: str | None = None
    plain: bool = True


def parsed_component(item: tuple[Any, dict[str, Any]]) -> Component:
    """Make a component of a parsed item.

    Raises:
        DecodeError: not an identifier of RFC 9421 (``sig.malformed``).
    """
    name, parameters = item
    if type(name) is not str:
        raise _malformed("a component identifier is a string")
    found = Component(
        serialize_structured(item),
        name,
        **{_attribute(key, value): value for key, value in parameters.items()},
        plain=not parameters,
    )
    if name.startswith("@"):
        _check_derived(found)
    else:
        _check_field(found)
    return found


def parse_components(text: str) -> tuple[Component, ...]:
    """Parse an inner list without parameters, such as ``("@method" "date")``.

    Raises:
        DecodeError: not such a list, an identifier that is none, twice the same, or
            more than 64 (``sig.malformed``).
    """
    # What a stranger makes long is read, and not kept.
    kept = len(text) <= HTTP_PARSED_CACHE_TEXT_MAX
    return _parsed_once(text) if kept else _parsed(text)


def _parsed(text: str) -> tuple[Component, ...]:
    members = parse_structured(f"a={text}", "dictionary")
    items, parameters = members["a"]
    if not isinstance(items, list) or parameters or len(members) > 1:
        raise _malformed("covered components are an inner list")
    return check_distinct(map(parsed_component, items))


_parsed_once: Final = lru_cache(maxsize=HTTP_PARSED_CACHE_ENTRIES)(_parsed)


def check_distinct(components: Iterable[Component]) -> tuple[Component, ...]:
    """Return the components, if none is there twice (RFC 9421, 2.5).

    Raises:
        DecodeError: one is, in whatever order its parameters stand; or more than 64.
    """
    listed = tuple(components)
    if len(listed) > SIGNATURE_COMPONENTS_MAX:
        raise _malformed(f"at most {SIGNATURE_COMPONENTS_MAX} components are covered")
    if len({_identity(component) for component in listed}) != len(listed):
        raise _malformed("a component is covered twice")
    return listed


def texts(values: Iterable[str], name: str) -> tuple[str, ...]:
    """Return several texts of a configuration.

    Raises:
        UsageError: one text alone, whose letters would be taken for them; or no texts.
    """
    several = hasattr(values, "__iter__") and not isinstance(values, str)
    found = tuple(values) if several else ()
    if not several or not all(type(value) is str for value in found):
        raise UsageError(f"{name} are several texts, such as a set or a tuple")
    return found


@lru_cache(maxsize=HTTP_PARSED_CACHE_ENTRIES)
def named_components(names: tuple[str, ...]) -> tuple[Component, ...]:
    """Return the components that our own code or configuration names.

    Args:
        names: plain names (``content-digest``), or whole identifiers
            (``"content-digest";req``).

    Raises:
        UsageError: one is not an identifier, or is there twice.
    """
    quoted = (name if name.startswith('"') else f'"{name}"' for name in names)
    try:
        return parse_components(f"({' '.join(quoted)})")
    except (PeerError, UnicodeEncodeError) as exc:
        raise UsageError(f"{names!r} are not components: {exc}") from exc


def _attribute(parameter: str, value: Any) -> str:
    """Return which attribute a parameter is: a bare flag, or a string."""
    if parameter in _FLAGS and value is True:
        return parameter
    if parameter in _TEXTS and type(value) is str:
        return _TEXTS[parameter]
    raise _malformed("an unknown component parameter")


def _check_derived(found: Component) -> None:
    if found.name not in DERIVED:
        raise _malformed("an unknown derived component")
    if found.sf or found.bs or found.tr or found.key is not None:
        raise _malformed("a derived component takes no field parameter")
    if (found.name == "@query-param") != (found.parameter is not None):
        raise _malformed("@query-param, and nothing else, has a name")
    if found.req and found.name == "@status":
        raise _malformed("a request has no status")


def _check_field(found: Component) -> None:
    if not _FIELD_NAME.match(found.name) or found.parameter is not None:
        raise _malformed("not a lower-case field name")
    if found.bs and (found.sf or found.key is not None):
        raise _malformed("bs excludes sf and key")


def _identity(found: Component) -> tuple[object, ...]:
    flags = (found.req, found.sf, found.bs, found.tr)
    return (found.name, *flags, found.key, found.parameter)


def _malformed(message: str) -> DecodeError:
    return DecodeError(message, code=Code.SIG_MALFORMED)
