"""Names, records, signatures and the registry in memory: who somebody is.

One call is as many as its name says. Names are other ones each time, records are read
from their JSON, and a registry in memory leaves the network out.
"""

from __future__ import annotations

import asyncio
from itertools import count
from time import process_time
from typing import ClassVar

from .house import ADA, needs

version = "1"
timer = process_time
UNIX = 1_790_000_000


class Names:
    """DIDs and key URLs that were not seen before, and ones that were."""

    number = 1
    repeat = 5
    warmup_time = 0.05
    numbers = count()

    def setup(self) -> None:
        self.parse_did, self.parse_key_url = needs(
            "sage.identity", "parse_did", "parse_key_url"
        )
        self.dids = [f"{ADA}-{next(self.numbers)}" for _ in range(1000)]
        self.urls = [f"{ADA}-{next(self.numbers)}#sign-1" for _ in range(1000)]
        self.parse_did(ADA)

    def time_parse_did_1000(self) -> None:
        for did in self.dids:
            self.parse_did(did)

    def time_parse_key_url_1000(self) -> None:
        for url in self.urls:
            self.parse_key_url(url)

    def time_parse_known_did_1000(self) -> None:
        for _ in range(1000):
            self.parse_did(ADA)


class Records:
    """A record read from JSON, its key found, and the registry asked for it."""

    number = 1
    repeat = 5
    warmup_time = 0.05

    def setup(self) -> None:
        self.parse_record = needs("sage.identity", "parse_record")
        self.record = needs("sage", "Agent").generate(ADA).record
        self.data = self.record.encode()
        self.resolver = needs("sage.identity", "MemoryResolver")([self.record])
        self.parse_record(self.data)
        self.loop = asyncio.new_event_loop()

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.close()

    def time_parse_record_100(self) -> None:
        for _ in range(100):
            self.parse_record(self.data)

    def time_select_signing_key_1000(self) -> None:
        for _ in range(1000):
            self.record.select_signing_key(unix_time=UNIX)

    def time_resolve_100(self) -> None:
        self.loop.run_until_complete(self._resolve())

    async def _resolve(self) -> None:
        for _ in range(100):
            await self.resolver.resolve(ADA, now=0.0)


class Signatures:
    """Signing and verifying twenty messages of 400 bytes, under each suite."""

    params: ClassVar = [
        ["ed25519", "ecdsa-p256-sha256", "sage-secp256k1-keccak256"],
    ]
    param_names: ClassVar = ["algorithm"]
    number = 1
    repeat = 3
    warmup_time = 0.05

    def setup(self, algorithm: str) -> None:
        SigningKey, PublicKey = needs("sage.identity", "SigningKey", "PublicKey")
        key = SigningKey.generate(f"{ADA}#sign-1", algorithm)
        self.sign = key.sign
        self.message = bytes(400)
        self.signature = key.sign(self.message)
        self.verify = PublicKey(key.kid, key.algorithm, key.public_key).verify

    def time_sign_20(self, algorithm: str) -> None:
        for _ in range(20):
            self.sign(self.message)

    def time_verify_20(self, algorithm: str) -> None:
        for _ in range(20):
            self.verify(self.message, self.signature)


class FreshKeys:
    """Signatures of twenty peers that were never met: each key is read and checked."""

    number = 1
    repeat = 3
    warmup_time = 0

    def setup(self) -> None:
        SigningKey, PublicKey = needs("sage.identity", "SigningKey", "PublicKey")
        keys = [SigningKey.generate(f"{ADA}#sign-1") for _ in range(20)]
        self.message = bytes(400)
        self.peers = [
            (PublicKey(key.kid, key.algorithm, key.public_key), key.sign(self.message))
            for key in keys
        ]

    def time_verify_20(self) -> None:
        for key, signature in self.peers:
            key.verify(self.message, signature)
