"""Other packages that do part of sage's job, where they are installed.

Each does what its own documentation shows, with ChaCha20-Poly1305 where it has a
choice. None is a dependency.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import repeat
from typing import Any, Final

from ..._crypto import x25519_load_private, x25519_public_bytes
from .figures import PRIMITIVES, SIZES, Case, Figure, NotHere
from .handshakes import primitives
from .reference import SEED, against_encrypt
from .timing import Effort, Subject, compare

__all__ = ["noise_cases", "pyhpke_cases", "pynacl_cases", "qh3_cases"]

_NONCE: Final = bytes(12)
_PEER_SEED: Final = bytes(range(32, 64))
_PUBLIC, _PEER_PUBLIC = (
    x25519_public_bytes(x25519_load_private(seed)) for seed in (SEED, _PEER_SEED)
)
_PATTERN: Final = b"Noise_KK_25519_ChaChaPoly_SHA256"

Seal = Callable[[bytes], Any]
Open = Callable[[Any], Any]


def noise_cases() -> Iterator[Case]:
    """Yield noiseprotocol: its transport, and the handshake of two that have met."""
    noise = _package("noise.connection", "noiseprotocol")
    ours, theirs = _shake_noise_hands(noise)
    yield from _round_trips(ours.encrypt, theirs.decrypt, note="KK, 25519, SHA256")

    def measure(effort: Effort) -> list[Figure]:
        shaking = _repeated(lambda: _shake_noise_hands(noise))
        times = compare([shaking, primitives()], effort)
        return [
            Figure.of(
                times,
                row="handshake",
                bytes=None,
                against=PRIMITIVES,
                note="KK, no signatures",
            )
        ]

    yield Case("handshake", None, measure)


def pynacl_cases() -> Iterator[Case]:
    """Yield PyNaCl: libsodium's AEAD, with the nonce that the caller counts."""
    nacl = _package("nacl.bindings", "PyNaCl")
    encrypt = nacl.crypto_aead_chacha20poly1305_ietf_encrypt
    decrypt = nacl.crypto_aead_chacha20poly1305_ietf_decrypt
    yield from _round_trips(
        lambda plaintext: encrypt(plaintext, None, _NONCE, SEED),
        lambda sealed: decrypt(sealed, None, _NONCE, SEED),
    )


def pyhpke_cases() -> Iterator[Case]:
    """Yield pyhpke: records under one context, and the contexts of both ends."""
    hpke = _package("pyhpke", "pyhpke")
    suite = hpke.CipherSuite.new(
        hpke.KEMId.DHKEM_X25519_HKDF_SHA256,
        hpke.KDFId.HKDF_SHA256,
        hpke.AEADId.CHACHA20_POLY1305,
    )
    keys = suite.kem.derive_key_pair(SEED)

    def set_up() -> tuple[Any, Any]:
        enc, sender = suite.create_sender_context(keys.public_key)
        return sender, suite.create_recipient_context(enc, keys.private_key)

    sender, recipient = set_up()
    yield from _round_trips(sender.seal, recipient.open)
    yield Case("setup", None, against_encrypt("setup", None, _repeated(set_up)))


def qh3_cases() -> Iterator[Case]:
    """Yield qh3: the AEAD behind its QUIC packets."""
    qh3 = _package("qh3._hazmat", "qh3")
    aead = qh3.AeadChaCha20Poly1305(SEED, _NONCE)
    yield from _round_trips(
        lambda plaintext: aead.encrypt(1, plaintext, b""),
        lambda sealed: aead.decrypt(1, sealed, b""),
    )


def _package(module: str, distribution: str) -> Any:
    try:
        return import_module(module)
    except ImportError as exc:
        missing = isinstance(exc, ModuleNotFoundError) and exc.name is not None
        if missing and exc.name == module.partition(".")[0]:
            raise NotHere(f"{distribution} is not installed") from exc
        raise NotHere(f"{distribution} does not load: {exc}") from exc


def _round_trips(seal: Seal, open_: Open, *, note: str | None = None) -> Iterator[Case]:
    for size in SIZES:
        plaintext = bytes(size)
        if bytes(open_(seal(plaintext))) != plaintext:
            raise NotHere("it does not open what it sealed")
        subject = _there_and_back(seal, open_, plaintext)
        yield Case("rt", size, against_encrypt("rt", size, subject, note=note))


def _there_and_back(seal: Seal, open_: Open, plaintext: bytes) -> Subject:
    def prepare(count: int) -> Callable[[], object]:
        def burst() -> None:
            for _ in repeat(None, count):
                open_(seal(plaintext))

        return burst

    return Subject(prepare)


def _repeated(act: Callable[[], object]) -> Subject:
    def prepare(count: int) -> Callable[[], object]:
        def burst() -> None:
            for _ in repeat(None, count):
                act()

        return burst

    return Subject(prepare)


def _shake_noise_hands(noise: Any) -> tuple[Any, Any]:
    """Return both ends of a connection whose ends knew each other's keys."""
    ends = []
    for own, other, begin in (
        (SEED, _PEER_PUBLIC, "set_as_initiator"),
        (_PEER_SEED, _PUBLIC, "set_as_responder"),
    ):
        end = noise.NoiseConnection.from_name(_PATTERN)
        getattr(end, begin)()
        end.set_keypair_from_private_bytes(noise.Keypair.STATIC, own)
        end.set_keypair_from_public_bytes(noise.Keypair.REMOTE_STATIC, other)
        end.start_handshake()
        ends.append(end)
    ours, theirs = ends
    theirs.read_message(ours.write_message())
    ours.read_message(theirs.write_message())
    return ours, theirs
