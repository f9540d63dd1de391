"""Measure what signed HTTP costs, in units of one small AEAD call, and judge it.

    python asv_bench/scripts/http_signatures.py        # or: make http-ratios

One unit is ``ChaCha20Poly1305.encrypt`` of 64 bytes in the same run, so that the
verdict does not depend on how fast the machine is today. Ed25519, five components
(method, target URI, authority, content type, content digest), a body of 64 bytes;
every request is another one: its nonce, time and body are new, so that no cache of
parsed fields helps. CPU time of the thread; medians of rounds that measure all three
in turn. Exit status: 0 within the limits, 1 beyond.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from statistics import median
from time import thread_time_ns

from sage._crypto import ChaCha20Poly1305
from sage.http import RequestMessage, sign_request, verify_request
from sage.identity import PublicKey, SigningKey

SIGN_LIMIT, VERIFY_LIMIT = 130.0, 220.0
ROUNDS_MIN = 31
CREATED = 1_790_000_000
KEY = SigningKey.generate("did:sage:web:agents.example:ada#sign-1")
PUBLIC_KEY = PublicKey(KEY.kid, KEY.algorithm, KEY.public_key)


def unsigned(count: int, start: int) -> list[RequestMessage]:
    """Make requests that differ in what differs from one request to the next."""
    return [
        RequestMessage(
            method="POST",
            target_uri="https://grace.example/inbox?page=1",
            fields=(
                ("Host", "grace.example"),
                ("User-Agent", "bench/1"),
                ("Accept", "application/json"),
                ("Content-Type", "application/json"),
                ("Content-Length", "64"),
            ),
            content=b"%064d" % number,
        )
        for number in range(start, start + count)
    ]


def signed_fields(number: int, request: RequestMessage) -> tuple[tuple[str, str], ...]:
    """Sign one of them as a client would."""
    created = CREATED + number % 30
    nonce = f"{number:022d}"
    return sign_request(
        request, KEY, created=created, expires=created + 60, nonce=nonce
    )


def timed(work: Callable[[], object], calls: int) -> float:
    """Return the nanoseconds of CPU that one call took."""
    before = thread_time_ns()
    work()
    return (thread_time_ns() - before) / calls


def one_round(start: int, calls: int) -> tuple[float, float, float]:
    """Measure the unit, signing and verifying once each, in nanoseconds a call."""
    aead, nonce, plaintext = ChaCha20Poly1305(bytes(32)), bytes(12), bytes(64)
    requests = unsigned(calls, start)
    fields: list[tuple[tuple[str, str], ...]] = []

    def encrypt() -> None:
        for _ in range(calls * 20):
            aead.encrypt(nonce, plaintext, None)

    def sign() -> None:
        for number, request in enumerate(requests, start):
            fields.append(signed_fields(number, request))

    def verify() -> None:
        for request in received:
            verify_request(request, PUBLIC_KEY, unix_time=CREATED + 30)

    unit, signing = timed(encrypt, calls * 20), timed(sign, calls)
    received = [r.with_fields(*f) for r, f in zip(requests, fields, strict=True)]
    return unit, signing, timed(verify, calls)


def measure(rounds: int, calls: int) -> tuple[float, float, float]:
    """Return the medians: the unit and both costs, in nanoseconds."""
    one_round(0, calls)  # whatever is made once is made now
    results = [one_round((1 + n) * calls, calls) for n in range(rounds)]
    unit, signing, verifying = (median(column) for column in zip(*results, strict=True))
    return unit, signing, verifying


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS_MIN)
    parser.add_argument("--calls", type=int, default=100, help="in each round")
    options = parser.parse_args(arguments)
    unit, signing, verifying = measure(options.rounds, options.calls)
    print(f"unit: ChaCha20Poly1305.encrypt of 64 bytes   {unit / 1000:8.2f} µs")
    kept = True
    for name, cost, limit in (
        ("sign", signing, SIGN_LIMIT),
        ("verify", verifying, VERIFY_LIMIT),
    ):
        ratio = cost / unit
        kept = kept and ratio <= limit
        verdict = "kept" if ratio <= limit else "MISSED"
        print(
            f"{name:6} {cost / 1000:8.1f} µs   {ratio:6.1f} units, "
            f"at most {limit:.0f}: {verdict}"
        )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
