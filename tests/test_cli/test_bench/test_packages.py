from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from sage.cli.bench.figures import SIZES, Case, NotHere
from sage.cli.bench.packages import (
    noise_cases,
    pyhpke_cases,
    pynacl_cases,
    qh3_cases,
)

from .conftest import measure_all

Cases = Callable[[], Iterator[Case]]
PACKAGES: list[tuple[Cases, str, set[str]]] = [
    (noise_cases, "noise", {"rt", "handshake"}),
    (pynacl_cases, "nacl", {"rt"}),
    (pyhpke_cases, "pyhpke", {"rt", "setup"}),
    (qh3_cases, "qh3", {"rt"}),
]


@pytest.mark.parametrize(("cases", "module", "rows"), PACKAGES)
def test_what_is_installed_is_measured(
    cases: Cases, module: str, rows: set[str]
) -> None:
    if importlib.util.find_spec(module) is None:
        with pytest.raises(NotHere, match="is not installed"):
            list(cases())
        return
    figures = measure_all(cases())
    assert {figure.row for figure in figures} == rows
    assert {figure.bytes for figure in figures if figure.row == "rt"} == set(SIZES)
    assert all(figure.ratio for figure in figures)


@pytest.mark.parametrize(("cases", "module"), [row[:2] for row in PACKAGES])
def test_what_is_not_installed_says_so(
    monkeypatch: pytest.MonkeyPatch, cases: Cases, module: str
) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Nowhere(module), *sys.meta_path])
    with pytest.raises(NotHere, match="is not installed"):
        list(cases())


class Nowhere:
    """Finds nothing of one package, and nobody else is asked."""

    def __init__(self, module: str) -> None:
        self._module = module

    def find_spec(self, name: str, *_: object) -> None:
        if name.partition(".")[0] == self._module:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_what_is_broken_is_not_called_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> object:
        raise ImportError("libsodium.so: cannot open")

    monkeypatch.setattr("sage.cli.bench.packages.import_module", refuse)
    with pytest.raises(NotHere, match=r"PyNaCl does not load: libsodium\.so"):
        list(pynacl_cases())


def test_what_does_not_open_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        def __init__(self, *_: bytes) -> None: ...

        def encrypt(self, number: int, plaintext: bytes, aad: bytes) -> bytes:
            return plaintext

        def decrypt(self, number: int, sealed: bytes, aad: bytes) -> bytes:
            return sealed[1:]

    broken = SimpleNamespace(AeadChaCha20Poly1305=Wrong)
    monkeypatch.setattr("sage.cli.bench.packages.import_module", lambda name: broken)
    with pytest.raises(NotHere, match="does not open"):
        list(qh3_cases())
