"""HPKE's exporter, Base mode, for the one suite of SAGE (RFC 9180; HPKE-01).

KEM 0x0020 DHKEM(X25519, HKDF-SHA256), KDF 0x0001 HKDF-SHA256, AEAD 0x0003
ChaCha20-Poly1305. The AEAD only takes part by its number: nothing is encrypted
here, both ends export one secret from the same context (RFC 9180, 5.3).

The functions carry the RFC's names. ``LabeledExtract`` and ``LabeledExpand``
(section 4) put a label before the input, and every label is written once, below.
"""

from __future__ import annotations

from typing import Final, NoReturn

from .._accel import hkdf_expand_into
from .._crypto import (
    X25519PrivateKey,
    x25519_exchange,
    x25519_generate,
    x25519_load_private,
    x25519_public_bytes,
)
from ..errors import Code, ProtocolError, UsageError
from ..identity.signature import as_bytes
from ..types import Buffer
from .derive import HASH_BYTES, extract, hkdf
from .erase import wipe

__all__ = [
    "EXPORT_MAX_BYTES",
    "ExporterContext",
    "exporter_secret",
    "extract_and_expand",
    "key_schedule_context",
    "setup_recipient",
    "setup_sender",
]

EXPORT_MAX_BYTES: Final = 255 * 32
"""The most that one export gives: HKDF-Expand counts its blocks in one byte."""

_MODE_BASE: Final = b"\x00"

# Every label, behind the version and the suite that it belongs to (RFC 9180, 4).
_KEM: Final = b"HPKE-v1KEM" + bytes.fromhex("0020")
_HPKE: Final = b"HPKE-v1HPKE" + bytes.fromhex("0020 0001 0003")
_EAE_PRK: Final = _KEM + b"eae_prk"
_SHARED_SECRET: Final = _KEM + b"shared_secret"
_PSK_ID: Final = _HPKE + b"psk_id_hash"
_INFO: Final = _HPKE + b"info_hash"
_SECRET: Final = _HPKE + b"secret"
_EXP: Final = _HPKE + b"exp"
_SEC: Final = _HPKE + b"sec"
_KEY_LENGTH: Final = HASH_BYTES.to_bytes(2, "big")


class ExporterContext:
    """What both ends hold after the setup: a secret to export secrets from.

    The exporter secret is overwritten by `wipe`, best effort.
    """

    __slots__ = ("_secret",)

    def __init__(self, secret: bytearray) -> None:
        self._secret: bytearray | None = secret

    def export(self, exporter_context: Buffer, length: int) -> bytes:
        """Return ``length`` bytes bound to ``exporter_context`` (RFC 9180, 5.3).

        Args:
            exporter_context: any bytes; other bytes give unrelated secrets.
            length: 1 to 8160 bytes.

        Raises:
            UsageError: another length or type, or the context was wiped.
        """
        if type(length) is not int or not 1 <= length <= EXPORT_MAX_BYTES:
            raise UsageError(f"an export is 1..{EXPORT_MAX_BYTES} bytes")
        out = bytearray(length)
        self.export_into(exporter_context, out)
        return bytes(out)

    def export_into(self, exporter_context: Buffer, out: bytearray) -> None:
        """Fill ``out``, 1 to 8160 bytes, so that the caller can wipe it later.

        Raises:
            UsageError: another length or type, or the context was wiped.
        """
        if self._secret is None:
            raise UsageError("this exporter context was wiped")
        context = as_bytes(exporter_context, "exporter context")
        # The engines refuse other types too, each in its own way.
        if not isinstance(out, bytearray):
            raise UsageError(f"out is a bytearray, not {type(out).__name__}")
        if not 1 <= len(out) <= EXPORT_MAX_BYTES:
            raise UsageError(f"an export is 1..{EXPORT_MAX_BYTES} bytes")
        label = len(out).to_bytes(2, "big") + _SEC
        hkdf_expand_into(self._secret, label + context, out)

    def wipe(self) -> None:
        """Forget the exporter secret; every later export is refused. Best effort."""
        if self._secret is not None:
            wipe(self._secret)
            self._secret = None

    def __reduce__(self) -> NoReturn:
        """Refuse to be written down."""
        raise TypeError("an exporter context cannot be pickled or copied")


def setup_sender(
    public_key: Buffer, info: Buffer, *, ephemeral: X25519PrivateKey | None = None
) -> tuple[bytes, ExporterContext]:
    """Open a context towards the holder of ``public_key`` (SetupBaseS).

    Args:
        public_key: the recipient's raw X25519 key, 32 bytes.
        info: application data that both ends must agree on.
        ephemeral: a key pair used for this call and never again; fresh by default.

    Returns:
        ``enc``, 32 bytes to send to the recipient, and the context.

    Raises:
        ProtocolError: the public key is not 32 bytes or of small order
            (``handshake.invalid-kem``).
        UsageError: a key or ``info`` is not a buffer.
    """
    recipient = as_bytes(public_key, "public key")
    about = as_bytes(info, "info")
    secret = x25519_generate() if ephemeral is None else ephemeral
    enc = x25519_public_bytes(secret)
    return enc, _context(_dh(secret, recipient), enc + recipient, about)


def setup_recipient(
    enc: Buffer,
    private_key: Buffer | X25519PrivateKey,
    info: Buffer,
    *,
    public_key: bytes | None = None,
) -> ExporterContext:
    """Open the same context from the ``enc`` of a sender (SetupBaseR).

    Args:
        enc: what the sender's setup returned, 32 bytes.
        private_key: the recipient's raw X25519 key, 32 bytes, or a loaded one.
        info: the same bytes as at the sender; others give another context.
        public_key: the raw public key of ``private_key``, where it is at hand.

    Raises:
        ProtocolError: ``enc`` is not 32 bytes or of small order
            (``handshake.invalid-kem``).
        UsageError: the private key is not 32 bytes, or something is not a buffer.
    """
    encapsulated, about = as_bytes(enc, "enc"), as_bytes(info, "info")
    if not isinstance(private_key, X25519PrivateKey):
        private_key = x25519_load_private(as_bytes(private_key, "private key"))
    if public_key is None:
        public_key = x25519_public_bytes(private_key)
    return _context(_dh(private_key, encapsulated), encapsulated + public_key, about)


def extract_and_expand(dh: Buffer, kem_context: bytes) -> bytearray:
    """Return the KEM's 32-byte shared secret (RFC 9180, 4.1)."""
    ikm = bytearray().join((_EAE_PRK, dh))
    try:
        return hkdf(b"", ikm, _KEY_LENGTH + _SHARED_SECRET + kem_context)
    finally:
        wipe(ikm)


def key_schedule_context(info: bytes) -> bytes:
    """Return the 65 bytes ``mode ‖ psk_id_hash ‖ info_hash`` (RFC 9180, 5.1)."""
    return _MODE_BASE + _PSK_ID_HASH + extract(b"", _INFO + info)


def exporter_secret(shared_secret: Buffer, info: bytes) -> bytearray:
    """Return the key schedule's 32-byte ``exporter_secret`` (RFC 9180, 5.1).

    It is expanded from ``secret``, which is extracted here without a PSK.
    """
    label = _KEY_LENGTH + _EXP + key_schedule_context(info)
    return hkdf(shared_secret, _SECRET, label)


def _dh(private: X25519PrivateKey, public: bytes) -> bytearray:
    try:
        return x25519_exchange(private, public)
    except ProtocolError as exc:
        raise ProtocolError(
            "unusable KEM public key", code=Code.HANDSHAKE_INVALID_KEM
        ) from exc


def _context(dh: bytearray, kem_context: bytes, info: bytes) -> ExporterContext:
    """Run the key schedule; consumes ``dh``."""
    shared_secret = bytearray()
    try:
        shared_secret = extract_and_expand(dh, kem_context)
        return ExporterContext(exporter_secret(shared_secret, info))
    finally:
        wipe(dh, shared_secret)


# There is never a PSK, so its id is always the empty one.
_PSK_ID_HASH: Final = bytes(extract(b"", _PSK_ID))
