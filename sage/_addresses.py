"""Where a function of a library lies that `ctypes` has opened, for the core to call."""

from __future__ import annotations

import ctypes

__all__ = ["address_of"]


def address_of(library: ctypes.CDLL, function: str) -> int:
    """Return the address of a function, which is good for as long as the library is.

    Raises:
        LookupError: the library does not show it.
    """
    try:
        pointer = getattr(library, function)
    except AttributeError:
        raise LookupError(f"{function} is not to be seen") from None
    address = ctypes.cast(pointer, ctypes.c_void_p).value
    if not address:
        raise LookupError(f"{function} has no address")
    return address
