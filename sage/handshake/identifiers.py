"""Fresh identifiers from the caller's entropy: UUIDv4 texts and nonces."""

from __future__ import annotations

import re

from ..encoding import b64u_encode
from ..identity.entropy import Entropy, draw
from ..limits import NONCE_BYTES

__all__ = ["is_uuid4", "new_nonce", "new_uuid4"]

_UUID4 = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII
)


def new_uuid4(entropy: Entropy) -> str:
    """Return a UUIDv4 as 36 lower-case characters (RFC 9562, 5.4).

    Raises:
        UsageError: ``entropy`` did not return 16 bytes.
    """
    raw = bytearray(draw(entropy, 16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_uuid4(text: object) -> bool:
    """Tell whether ``text`` is a UUIDv4 in its lower-case form, and nothing else."""
    return isinstance(text, str) and _UUID4.fullmatch(text) is not None


def new_nonce(entropy: Entropy) -> str:
    """Return a nonce of 16 bytes as 22 characters of base64url (MSG-05).

    Raises:
        UsageError: ``entropy`` did not return 16 bytes.
    """
    return b64u_encode(draw(entropy, NONCE_BYTES))
