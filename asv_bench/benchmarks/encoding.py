"""Strict JSON, canonical JSON and base64url: what each message passes twice.

The texts are an agent's record and an initiation. One call is a hundred, or a thousand.
"""

from __future__ import annotations

import json
from time import process_time
from typing import ClassVar

from .handshakes import EXPIRES, NOW, Agents
from .house import ADA, needs

version = "1"
timer = process_time


def texts() -> dict[str, bytes]:
    """Return a record and an initiation as they travel."""
    found = {"initiation": Agents().initiator().start(now=NOW, expires=EXPIRES)}
    record = needs("sage", "Agent").generate(ADA).record
    found["record"] = json.dumps(record.to_json()).encode()
    return found


class Json:
    """One document, read and written."""

    params: ClassVar = [["initiation", "record"]]
    param_names: ClassVar = ["document"]
    number = 1
    repeat = 5
    warmup_time = 0.05

    def setup(self, document: str) -> None:
        self.parse, self.jcs = needs("sage.encoding", "parse_strict", "jcs")
        self.data = texts()[document]
        self.value = json.loads(self.data)

    def time_parse_strict_100(self, document: str) -> None:
        for _ in range(100):
            self.parse(self.data)

    def time_jcs_100(self, document: str) -> None:
        for _ in range(100):
            self.jcs(self.value)


class Base64url:
    """Binary values inside JSON."""

    params: ClassVar = [[16, 64, 1024, 65536]]
    param_names: ClassVar = ["bytes"]
    number = 1
    repeat = 5
    warmup_time = 0.05

    def setup(self, size: int) -> None:
        self.encode, self.decode = needs("sage.encoding", "b64u_encode", "b64u_decode")
        self.data = bytes(range(256)) * (size // 256) or bytes(range(size))
        self.text = self.encode(self.data)
        self.many = range(1000 if size < 65536 else 20)

    def time_encode(self, size: int) -> None:
        for _ in self.many:
            self.encode(self.data)

    def time_decode(self, size: int) -> None:
        for _ in self.many:
            self.decode(self.text)

    time_encode.pretty_name = "encode 1,000 times (65,536 bytes: 20 times)"
    time_decode.pretty_name = "decode 1,000 times (65,536 bytes: 20 times)"
