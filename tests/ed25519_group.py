"""The textbook group, affine and slow, to build what an attacker would build."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from typing import TypeVar

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int]
IDENTITY: Point = (0, 1)
_P = TypeVar("_P")


def add(p: Point, q: Point) -> Point:
    product = D * p[0] * q[0] * p[1] * q[1] % P
    x = (p[0] * q[1] + p[1] * q[0]) * pow(1 + product, -1, P) % P
    y = (p[1] * q[1] + p[0] * q[0]) * pow(1 - product, -1, P) % P
    return x, y


def multiply(n: int, p: Point) -> Point:
    return double_and_add(n, p, add, IDENTITY)


def double_and_add(n: int, p: _P, add: Callable[[_P, _P], _P], zero: _P) -> _P:
    """Return the n-fold of a point of any group."""
    result = zero
    while n:
        if n & 1:
            result = add(result, p)
        p, n = add(p, p), n >> 1
    return result


def root(square: int) -> int | None:
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    return None if (x * x - square) % P else x


def encode(p: Point) -> bytes:
    return (p[1] | (p[0] & 1) << 255).to_bytes(32, "little")


def decode(data: bytes) -> Point:
    y = int.from_bytes(data, "little") & (2**255 - 1)
    x = root((y * y - 1) * pow(D * y * y + 1, -1, P) % P)
    assert x is not None
    return (x if x & 1 == data[31] >> 7 else P - x), y


BASE_Y = 4 * pow(5, -1, P) % P
BASE = decode(BASE_Y.to_bytes(32, "little"))


@cache
def torsion() -> list[Point]:
    """Return the eight points of small order, by index: n times a generator."""
    y = 2
    while True:
        x = root((y * y - 1) * pow(D * y * y + 1, -1, P) % P)
        if x is not None:
            generator = multiply(L, (x, y))
            if multiply(4, generator) != IDENTITY:
                return [multiply(n, generator) for n in range(8)]
        y += 1


def challenge(r: bytes, a: bytes, message: bytes) -> int:
    return int.from_bytes(hashlib.sha512(r + a + message).digest(), "little") % L


def forge(nonce_point: Point, nonce: int, secret: int, message: bytes) -> bytes:
    """Sign with a nonce point of the forger's own choosing."""
    a, r = encode(multiply(secret, BASE)), encode(nonce_point)
    s = (nonce + challenge(r, a, message) * secret) % L
    return r + s.to_bytes(32, "little")
