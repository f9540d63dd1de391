"""Bytes and text that mean the same to everyone: strict JSON, JCS, base64url.

No keys, no I/O. `parse_strict` reads what strangers send, `jcs` writes what gets
signed, `b64u_encode` and `b64u_decode` carry binary values inside JSON.
"""

from .base64url import b64u_decode, b64u_encode
from .jcs import encode_string, jcs
from .strict_json import parse_strict

__all__ = ["b64u_decode", "b64u_encode", "encode_string", "jcs", "parse_strict"]
