"""Signed HTTP: Ed25519, five components, each request another one.

The ratios to one small AEAD call, and the verdict, are in scripts/http_signatures.py.
"""

from __future__ import annotations

from functools import cache
from itertools import count
from time import process_time
from typing import Any, ClassVar

from .house import ADA, needs

version = "1"
timer = process_time
NOW = 1_790_000_000
MANY = 20
FIELDS = (
    ("Host", "grace.example"),
    ("Accept", "application/json"),
    ("Content-Type", "application/json"),
    ("X-SAGE-Version", "0.10.0"),
    ("X-SAGE-DID", ADA),
)


@cache
def key_of(algorithm: str) -> Any:
    """Return a key, made once: RSA takes its time."""
    HttpKey = needs("sage.http", "HttpKey")
    if algorithm == "hmac-sha256":
        return HttpKey.from_secret("k", bytes(32))
    return HttpKey.generate("k", algorithm)


@cache
def signed(name: str) -> tuple[Any, Any, Any, list[Any]]:
    """Return a profile's signer, key and policy, and requests that were signed.

    More of them than the cache of parsed fields holds.
    """
    GENERAL, V10, Policy, Message, sign = needs(
        "sage.http", "GENERAL", "V10", "Policy", "RequestMessage", "sign_request"
    )
    SigningKey, PublicKey = needs("sage.identity", "SigningKey", "PublicKey")
    old = name == "0.10.0"
    key = SigningKey.generate(f"{ADA}#sign-1")
    request = Message(
        method="POST",
        target_uri="https://grace.example/inbox",
        fields=FIELDS if old else FIELDS[:3],
        content=bytes(1024),
    )
    numbers = count()

    def sign_one() -> Any:
        return sign(
            request,
            key,
            profile=V10 if old else GENERAL,
            created=NOW,
            expires=NOW + 60,
            nonce=f"{next(numbers):021d}A",
        )

    public = PublicKey(key.kid, key.algorithm, key.public_key)
    received = [request.with_fields(*sign_one()) for _ in range(1024)]
    return sign_one, public, Policy.v10() if old else Policy(), received


class Signature:
    """Twenty requests of 1 KiB."""

    params: ClassVar = [["general", "0.10.0"]]
    param_names: ClassVar = ["profile"]
    number = 1
    repeat = 4
    warmup_time = 0.05
    numbers = count()

    def setup(self, name: str) -> None:
        self.verify, self.begin = needs("sage.http", "verify_request", "begin_request")
        self.sign, self.key, self.policy, received = signed(name)
        self.received = [received[next(self.numbers) % 1024] for _ in range(MANY)]

    def time_sign_20(self, name: str) -> None:
        for _ in range(MANY):
            self.sign()

    def time_verify_20(self, name: str) -> None:
        for message in self.received:
            self.verify(message, self.key, policy=self.policy, unix_time=NOW)

    def time_check_20_without_a_key(self, name: str) -> None:
        for message in self.received:
            self.begin(message, policy=self.policy, unix_time=NOW)


class Algorithm:
    """Five signatures under each algorithm of the registry."""

    params: ClassVar = [
        [
            "ed25519",
            "ecdsa-p256-sha256",
            "ecdsa-p384-sha384",
            "rsa-pss-sha512",
            "hmac-sha256",
        ]
    ]
    param_names: ClassVar = ["algorithm"]
    number = 1
    repeat = 3
    warmup_time = 0.03

    def setup(self, algorithm: str) -> None:
        self.key = key_of(algorithm)
        self.public_key = self.key.verification_key()
        self.base = bytes(400)
        self.signature = self.key.sign(self.base)

    def time_sign_5(self, algorithm: str) -> None:
        for _ in range(5):
            self.key.sign(self.base)

    def time_verify_5(self, algorithm: str) -> None:
        for _ in range(5):
            self.public_key.verify(self.base, self.signature)


class Digest:
    """``Content-Digest`` of a body, twenty times."""

    params: ClassVar = [[1024, 262144], ["sha-256", "sha-512"]]
    param_names: ClassVar = ["bytes", "algorithm"]
    number = 1
    repeat = 4
    warmup_time = 0.03

    def setup(self, size: int, algorithm: str) -> None:
        self.encode, self.content = needs("sage.http", "encode_digest"), bytes(size)

    def time_encode_20(self, size: int, algorithm: str) -> None:
        for _ in range(20):
            self.encode(self.content, algorithm)
