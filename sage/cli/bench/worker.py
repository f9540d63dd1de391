"""Measures one contestant, in a process of its own, and says a line of JSON for each.

    python -m sage.cli.bench.worker '{"contestant": "tls", …}'

Started by `race`. First a line with the facts and the number of cases, then one for
each case with its figures; or one with the reason why there is nothing to measure.
"""

from __future__ import annotations

import json
import ssl
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from typing import Any, Final

from ..._accel import backend
from .contestants import Contestant, find_contestant
from .figures import ENCRYPT, ONE_THREAD, Case, Figure, NotHere
from .handshakes import handshake_cases
from .packages import noise_cases, pyhpke_cases, pynacl_cases, qh3_cases
from .records import record_cases
from .reference import aead_cases
from .sessions import session_cases
from .threads import thread_cases
from .timing import Effort
from .tls import tls_cases

__all__ = ["main", "messages"]


def _sage_cases() -> Iterator[Case]:
    return chain(record_cases(), session_cases(), handshake_cases(), thread_cases())


_CASES: Final[dict[str, Callable[[], Iterator[Case]]]] = {
    "sage-libcrypto": _sage_cases,
    "sage-cryptography": _sage_cases,
    "sage-pure": _sage_cases,
    "cryptography": aead_cases,
    "tls": tls_cases,
    "noiseprotocol": noise_cases,
    "pynacl": pynacl_cases,
    "pyhpke": pyhpke_cases,
    "qh3": qh3_cases,
}

_LARGE_BYTES: Final = 16 * 1024 * 1024


def messages(
    contestant: Contestant, effort: Effort, rows: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield the lines.

    Args:
        contestant: whom to measure; must fit this process's environment.
        effort: how much.
        rows: of `figures.ROWS`; all of them when empty.
    """
    try:
        _check(contestant)
        # Making the cases makes what they need, which may be missing.
        cases = [c for c in _CASES[contestant.name]() if not rows or c.row in rows]
    except NotHere as exc:
        yield {"absent": str(exc)}
        return
    yield {"facts": _facts(contestant), "cases": len(cases)}
    for case in cases:
        yield {"figures": [figure.as_json() for figure in _measured(case, effort)]}


def main(arguments: Sequence[str]) -> int:
    """Print the lines; return the exit status."""
    _settle_memory()
    order = json.loads(arguments[0])
    effort = Effort(rounds=order["rounds"], burst_ns=order["burst_ns"])
    contestant = find_contestant(order["contestant"])
    for message in messages(contestant, effort, order["rows"]):
        print(json.dumps(message), flush=True)
    return 0


def _settle_memory() -> None:
    """Be a process that once held a large buffer, as any that has run for a while.

    Until then glibc gives the memory of every batch of large records back to the
    kernel and asks for it anew, page by page, which can cost more than sealing them.
    Whether that happens would depend on what was measured before.
    """
    bytearray(_LARGE_BYTES)


def _check(contestant: Contestant) -> None:
    """Refuse to measure one configuration under the name of another."""
    found = backend()
    if contestant.core not in ("", found["core"]) or (
        contestant.engine not in ("", found["engine"])
    ):
        raise NotHere(
            f"core {found['core']} with engine {found['engine']} is at work instead:"
            f" {found['reason']}"
        )


def _facts(contestant: Contestant) -> dict[str, str]:
    if contestant.is_sage:
        return backend()
    if contestant.name == "tls":
        return {"openssl": ssl.OPENSSL_VERSION}
    try:
        return {"version": version(contestant.distribution)}
    except PackageNotFoundError:  # it is there, but nobody knows whence
        return {"version": "not known"}


def _measured(case: Case, effort: Effort) -> Iterable[Figure]:
    try:
        return case.measure(effort)
    except NotHere as exc:
        against = {"threads": ONE_THREAD, "threads-batch": ONE_THREAD}
        return [
            Figure(
                row=case.row,
                bytes=case.size,
                against=against.get(case.row, ENCRYPT),
                absent=str(exc),
            )
        ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
