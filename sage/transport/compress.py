"""Compression of payloads, and decompression that a hostile peer cannot abuse.

One payload is one whole zstd frame (RFC 8878) or one gzip member (RFC 1952), with its
checksum. What comes out is bounded twice: by size, and by its ratio to what went in,
so that a peer pays for the memory that it makes us hold. Nothing is allocated for
what a header promises; the output grows with the input that is really there.

Compressing a secret beside text that an attacker chooses tells the attacker about the
secret by the length alone. Nothing here can know; see the explanation of compression.
"""

from __future__ import annotations

import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from ..errors import Code, ConfigError, DecodeError, ProtocolError, UsageError
from ..limits import (
    COMPRESS_MIN_BYTES,
    COMPRESSORS_KEPT,
    DECOMPRESS_MAX_RATIO,
    RECORD_PLAINTEXT_MAX_BYTES,
)

__all__ = ["ENCODINGS", "compress_payload", "decompress_payload", "require_encodings"]


def require_encodings(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of encodings as they were given, once each can be used.

    Raises:
        UsageError: a name that is not in `ENCODINGS`, or a name twice.
        ConfigError: ``zstd`` before Python 3.14 without the extra ``zstd``.
    """
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise UsageError(f"encodings are a tuple of names, not {names!r}")
    chosen = tuple(names)
    if len(set(chosen)) != len(chosen) or not set(chosen) <= set(ENCODINGS):
        raise UsageError(f"encodings are different ones of {ENCODINGS}, not {chosen}")
    if "zstd" in chosen:
        _zstd()
    return chosen


def compress_payload(payload: bytes, encoding: str) -> bytes | None:
    """Return a payload compressed, or ``None`` where it should be sent as it is.

    That is so below 1 KiB, where it does not shrink, and where it shrinks by more
    than the 100 times that `decompress_payload` permits. The context of a zstd
    compressor is used again, and keeps what it saw until then. Any thread may call.

    Raises:
        UsageError: an unknown encoding.
        ConfigError: ``zstd`` before Python 3.14 without the extra ``zstd``.
    """
    codec = _CODECS.get(encoding)
    if codec is None:
        raise UsageError(f"{encoding!r} is not one of {ENCODINGS}")
    if len(payload) < COMPRESS_MIN_BYTES:
        return None
    data = codec.compress(payload)
    shrank = len(data) < len(payload) <= DECOMPRESS_MAX_RATIO * len(data)
    return data if shrank else None


def decompress_payload(
    data: bytes,
    encoding: str,
    *,
    max_bytes: int = RECORD_PLAINTEXT_MAX_BYTES,
    max_ratio: int = DECOMPRESS_MAX_RATIO,
) -> bytes:
    """Return what one whole frame holds. Any thread may call.

    Args:
        data: exactly one frame or member, nothing before or behind it.
        encoding: a name from `ENCODINGS`, as the signed metadata has it.
        max_bytes: how long the result may be.
        max_ratio: how many times as long as ``data`` it may be.

    Raises:
        ProtocolError: an unknown encoding (``payload.encoding``).
        DecodeError: it grows beyond a bound (``size.exceeded``); it is cut off,
            altered, followed by anything, or not of this encoding
            (``payload.malformed``).
        ConfigError: ``zstd`` before Python 3.14 without the extra ``zstd``.
        UsageError: a bound is not positive.
    """
    codec = _CODECS.get(encoding)
    if codec is None:
        raise ProtocolError("an unknown encoding", code=Code.PAYLOAD_ENCODING)
    if max_bytes < 1 or max_ratio < 1:
        raise UsageError("both bounds are at least 1")
    limit = min(max_bytes, max_ratio * len(data))
    # One byte more than permitted tells "too much" from "exactly enough".
    plain, whole = codec.decompress(data, limit + 1)
    if len(plain) > limit:
        raise DecodeError("it decompresses to too much", code=Code.SIZE_EXCEEDED)
    if not whole:
        raise _malformed()
    return plain


@dataclass(frozen=True, slots=True)
class _Codec:
    """One encoding: bytes to bytes, and back up to a length.

    ``decompress`` also says whether its input was exactly one whole frame.
    """

    compress: Callable[[bytes], bytes]
    decompress: Callable[[bytes, int], tuple[bytes, bool]]


# --- gzip ---------------------------------------------------------------------

# Window bits of 15, and 16 for gzip's header and trailer around it (zlib's manual).
_GZIP: Final = 16 + zlib.MAX_WBITS


def _gzip_compress(payload: bytes) -> bytes:
    return zlib.compress(payload, wbits=_GZIP)


def _gzip_decompress(data: bytes, limit: int) -> tuple[bytes, bool]:
    machine = zlib.decompressobj(wbits=_GZIP)
    try:
        plain = machine.decompress(data, limit)
    except zlib.error:
        raise _malformed() from None
    return plain, machine.eof and not machine.unused_data


# --- zstd ---------------------------------------------------------------------

_FRAME_MAGIC: Final = b"\x28\xb5\x2f\xfd"

# No frame of a payload needs a longer window than the longest payload. Without this
# bound, a header of a few bytes would make us set aside 128 MiB.
_WINDOW_LOG_MAX: Final = RECORD_PLAINTEXT_MAX_BYTES.bit_length()

_compressors: Final[deque[Any]] = deque(maxlen=COMPRESSORS_KEPT)


def _zstd_compress(payload: bytes) -> bytes:
    zstd = _zstd()
    try:
        compressor = _compressors.pop()
    except IndexError:
        compressor = zstd.ZstdCompressor(
            options={zstd.CompressionParameter.checksum_flag: 1}
        )
    data: bytes = compressor.compress(payload, compressor.FLUSH_FRAME)
    # Only after success: one that failed halfway is not lent again.
    _compressors.append(compressor)
    return data


def _zstd_decompress(data: bytes, limit: int) -> tuple[bytes, bool]:
    zstd = _zstd()
    if not data.startswith(_FRAME_MAGIC):  # the library would skip frames of others
        raise _malformed()
    machine = zstd.ZstdDecompressor(
        options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX}
    )
    try:
        plain: bytes = machine.decompress(data, limit)
    except zstd.ZstdError:
        raise _malformed() from None
    return plain, machine.eof and not machine.unused_data


@cache
def _zstd() -> Any:
    """Return the module, from the standard library where it is there."""
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ModuleNotFoundError as exc:
        raise ConfigError(
            "zstd needs backports.zstd: pip install 'sage-secure[zstd]'"
        ) from exc
    return zstd


def _malformed() -> DecodeError:
    return DecodeError("not one whole frame", code=Code.PAYLOAD_MALFORMED)


_CODECS: Final = MappingProxyType(
    {
        "zstd": _Codec(_zstd_compress, _zstd_decompress),
        "gzip": _Codec(_gzip_compress, _gzip_decompress),
    }
)

ENCODINGS: Final = tuple(_CODECS)
"""What a payload may be compressed with, the better first."""
