"""The standard library's TLS 1.3 in memory: records, and the mutual handshake.

Both ends write into the buffer that the other reads from, so nothing is copied and
there is no socket. Certificates are P-256, what authorities issue today and the
fastest that OpenSSL has; no tickets are issued, since nobody resumes.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import repeat

from .figures import PRIMITIVES, SIZES, Case, Figure, NotHere
from .reference import against_encrypt
from .timing import Effort, Subject, compare

__all__ = ["Contexts", "handshaking", "tls_cases"]

_NAME = "grace.example"


class Contexts:
    """What both ends are configured with: a common authority, a certificate each.

    Raises:
        NotHere: trustme, which makes the certificates, is not installed.
    """

    def __init__(self) -> None:
        try:
            import trustme
        except ModuleNotFoundError as exc:
            raise NotHere("trustme is not installed; it makes certificates") from exc
        authority = trustme.CA()
        self._client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._server.verify_mode = ssl.CERT_REQUIRED
        self._server.num_tickets = 0
        for context, name in ((self._client, "ada.example"), (self._server, _NAME)):
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            authority.configure_trust(context)
            authority.issue_cert(name).configure_cert(context)

    def shake_hands(self) -> tuple[ssl.SSLObject, ssl.SSLObject]:
        """Return a client and a server that have verified each other."""
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = self._client.wrap_bio(to_client, to_server, server_hostname=_NAME)
        server = self._server.wrap_bio(to_server, to_client, server_side=True)
        # Hello, hello and finished, finished: each has nothing to read at first.
        with suppress(ssl.SSLWantReadError):
            client.do_handshake()
        with suppress(ssl.SSLWantReadError):
            server.do_handshake()
        client.do_handshake()
        server.do_handshake()
        return client, server


def handshaking() -> tuple[Subject, str]:
    """Return the handshake, and what was agreed on.

    Raises:
        NotHere: see `Contexts`.
    """
    contexts = Contexts()
    client, _ = contexts.shake_hands()

    def prepare(count: int) -> Callable[[], object]:
        def burst() -> None:
            for _ in repeat(None, count):
                contexts.shake_hands()

        return burst

    return Subject(prepare), f"{_suite(client)}, P-256 certificates"


def tls_cases() -> Iterator[Case]:
    """Yield records of each size, and the handshake against sage's primitives."""
    client, server = Contexts().shake_hands()
    suite = _suite(client)
    # Before 3.15 a program cannot choose: what OpenSSL prefers is what is measured.
    row = "rt" if "CHACHA20" in suite else "rt-aes"
    for size in SIZES:
        subject = _round_trips(client, server, size)
        yield Case(row, size, against_encrypt(row, size, subject, note=suite))
    yield Case("handshake", None, _measure_handshake)


def _round_trips(client: ssl.SSLObject, server: ssl.SSLObject, size: int) -> Subject:
    data = bytes(size)

    def prepare(count: int) -> Callable[[], object]:
        def burst() -> None:
            write, read = client.write, server.read
            for _ in repeat(None, count):
                write(data)
                read(size)

        return burst

    return Subject(prepare)


def _measure_handshake(effort: Effort) -> list[Figure]:
    from .handshakes import in_a_row, primitives

    subject, note = handshaking()
    times = compare([subject, primitives()], in_a_row(effort))
    return [
        Figure.of(times, row="handshake", bytes=None, against=PRIMITIVES, note=note)
    ]


def _suite(end: ssl.SSLObject) -> str:
    cipher = end.cipher()
    return cipher[0] if cipher else "no cipher"
