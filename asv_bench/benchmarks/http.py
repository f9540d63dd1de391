"""Signed HTTP: Ed25519, five components, each request another one.

The ratios to one small AEAD call, and the verdict, are in scripts/http_signatures.py.
"""

from __future__ import annotations

from itertools import count

from sage.http import (
    GENERAL,
    V10,
    HttpKey,
    Policy,
    RequestMessage,
    begin_request,
    encode_digest,
    sign_request,
    verify_request,
)
from sage.identity import PublicKey, SigningKey

NOW = 1_790_000_000
DID = "did:sage:web:agents.example:ada"
FIELDS = (
    ("Host", "grace.example"),
    ("Accept", "application/json"),
    ("Content-Type", "application/json"),
    ("X-SAGE-Version", "0.10.0"),
    ("X-SAGE-DID", DID),
)
PROFILES = {"general": (GENERAL, Policy()), "0.10.0": (V10, Policy.v10())}


class Signature:
    """One request of 1 KiB."""

    params = (["general", "0.10.0"],)
    param_names = ("profile",)

    def setup(self, name: str) -> None:
        self.profile, self.policy = PROFILES[name]
        self.key = SigningKey.generate(f"{DID}#sign-1")
        self.public_key = PublicKey(
            self.key.kid, self.key.algorithm, self.key.public_key
        )
        fields = FIELDS if name == "0.10.0" else FIELDS[:3]
        self.request = RequestMessage(
            method="POST",
            target_uri="https://grace.example/inbox",
            fields=fields,
            content=bytes(1024),
        )
        self.numbers = count()
        # More of them than the cache of parsed fields holds.
        self.received = [
            self.request.with_fields(*self.time_sign(name)) for _ in range(1024)
        ]

    def time_sign(self, name: str) -> tuple[tuple[str, str], ...]:
        nonce = f"{next(self.numbers):021d}A"
        return sign_request(
            self.request,
            self.key,
            profile=self.profile,
            created=NOW,
            expires=NOW + 60,
            nonce=nonce,
        )

    def time_verify(self, name: str) -> None:
        message = self.received[next(self.numbers) % 1024]
        verify_request(message, self.public_key, policy=self.policy, unix_time=NOW)

    def time_check_without_a_key(self, name: str) -> None:
        message = self.received[next(self.numbers) % 1024]
        begin_request(message, policy=self.policy, unix_time=NOW)


class Algorithm:
    """The same under each algorithm of the registry."""

    params = (
        [
            "ed25519",
            "ecdsa-p256-sha256",
            "ecdsa-p384-sha384",
            "rsa-pss-sha512",
            "hmac-sha256",
        ],
    )
    param_names = ("algorithm",)

    def setup(self, algorithm: str) -> None:
        if algorithm == "hmac-sha256":
            self.key = HttpKey.from_secret("k", bytes(32))
        else:
            self.key = HttpKey.generate("k", algorithm)
        self.public_key = self.key.verification_key()
        self.base = bytes(400)
        self.signature = self.key.sign(self.base)

    def time_sign(self, algorithm: str) -> None:
        self.key.sign(self.base)

    def time_verify(self, algorithm: str) -> None:
        self.public_key.verify(self.base, self.signature)


class Digest:
    """``Content-Digest`` of a body."""

    params = ([1024, 1024 * 1024], ["sha-256", "sha-512"])
    param_names = ("bytes", "algorithm")

    def setup(self, size: int, algorithm: str) -> None:
        self.content = bytes(size)

    def time_encode(self, size: int, algorithm: str) -> None:
        encode_digest(self.content, algorithm)
