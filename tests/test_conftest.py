"""That no run of the tests passes for another."""

from __future__ import annotations

import pytest

import sage

from . import conftest
from .ports import free_port


@pytest.mark.parametrize(
    ("variable", "value", "found"),
    [
        ("SAGE_ENGINE", "libcrypto", {"engine": "cryptography"}),
        ("SAGE_ENGINE", "cryptography", {"engine": "libcrypto"}),
        ("SAGE_REQUIRE_EXTENSIONS", "1", {"core": "python"}),
        ("SAGE_NO_EXTENSIONS", "1", {"core": "cython"}),
    ],
)
def test_a_run_on_something_else_does_not_start(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, found: dict[str, str]
) -> None:
    for name in ("SAGE_ENGINE", *conftest.SWITCHES):
        monkeypatch.delenv(name, raising=False)
    conftest.pytest_configure()
    facts = sage.backend()
    monkeypatch.setattr(sage, "backend", lambda: facts | found)
    conftest.pytest_configure()
    monkeypatch.setenv(variable, value)
    with pytest.raises(pytest.UsageError, match=r"^not the (core|engine) "):
        conftest.pytest_configure()


def test_no_port_is_given_twice() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    assert max(ports) < 32_000  # from 32,768 on, Linux hands them out itself
