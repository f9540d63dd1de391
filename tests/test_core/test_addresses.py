"""Functions are found where the library says that they are, or not at all."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import pytest

from sage._addresses import address_of

FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int)


def test_what_is_found_is_the_function():
    library = SimpleNamespace(seven=FUNCTION(lambda: 7))
    assert FUNCTION(address_of(library, "seven"))() == 7


def test_what_is_not_there():
    with pytest.raises(LookupError, match=r"^seven is not to be seen$"):
        address_of(SimpleNamespace(), "seven")


def test_what_lies_nowhere():
    library = SimpleNamespace(seven=ctypes.c_void_p(None))
    with pytest.raises(LookupError, match=r"^seven has no address$"):
        address_of(library, "seven")
