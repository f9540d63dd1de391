"""What was so from the kernels' first commit on, beside what it was instead of.

No commit has the plainer way to compare with, so it stands here, written out with the
same primitives: six HKDF calls where the draft needs two, a random nonce where a
session counts, an AEAD object for each record where a session keeps one.
"""

from __future__ import annotations

from os import urandom
from time import process_time
from typing import ClassVar

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from .house import AEADS, SEED

version = "1"
timer = process_time
MANY = 1000
LABELS = [b"label %d" % n for n in range(6)]


class Keys:
    """Six keys of 32 bytes for a session, a hundred times."""

    number = 1
    repeat = 5
    warmup_time = 0.05

    def time_six_hkdf_100(self) -> None:
        for _ in range(100):
            for label in LABELS:
                HKDF(SHA256(), 32, b"salt", label).derive(SEED)

    def time_one_hkdf_100(self) -> None:
        for _ in range(100):
            prk = HKDF.extract(SHA256(), b"salt", SEED)
            HKDFExpand(SHA256(), 192, b"label").derive(prk)


class Nonces:
    """Twelve bytes that no record before has had, a thousand times."""

    number = 1
    repeat = 5
    warmup_time = 0.05

    def time_random_1000(self) -> None:
        for _ in range(MANY):
            urandom(12)

    def time_counted_1000(self) -> None:
        for number in range(MANY):
            number.to_bytes(12, "big")


class Contexts:
    """A thousand records of 64 bytes with one AEAD object, and with one each."""

    params: ClassVar = [AEADS]
    param_names: ClassVar = ["aead"]
    number = 1
    repeat = 5
    warmup_time = 0.05

    def setup(self, aead: str) -> None:
        self.make = AESGCM if aead == "aes-256-gcm" else ChaCha20Poly1305

    def time_made_each_time_1000(self, aead: str) -> None:
        make, nonce, plaintext = self.make, bytes(12), bytes(64)
        for _ in range(MANY):
            make(SEED).encrypt(nonce, plaintext, None)

    def time_kept_1000(self, aead: str) -> None:
        encrypt, nonce, plaintext = self.make(SEED).encrypt, bytes(12), bytes(64)
        for _ in range(MANY):
            encrypt(nonce, plaintext, None)
