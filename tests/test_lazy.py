"""Names that wait to be imported until somebody uses them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import sage
from sage._lazy import lazy_names
from sage.errors import ConfigError, SageError

ROOT = Path(__file__).parents[1]


def run(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_a_name_is_the_one_at_its_home() -> None:
    get, names = lazy_names("sage", {"SageError": ".errors", "Role": ".types"})
    assert get("SageError") is SageError
    assert names() == ["Role", "SageError"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    get, _ = lazy_names("sage", {})
    with pytest.raises(AttributeError, match="'sage' has no attribute 'nonsense'"):
        get("nonsense")
    with pytest.raises(AttributeError):
        sage.nonsense  # noqa: B018


@pytest.mark.parametrize(
    ("missing", "extra"),
    [("http_sf", "http"), ("websockets", "websocket"), ("typer", "cli")],
)
def test_a_missing_extra_is_named(
    missing: str, extra: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / f"needs_{missing}"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "home.py").write_text(f"import {missing}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, missing, None)  # as if it were not installed
    get, _ = lazy_names(f"needs_{missing}", {"name": ".home"})
    with pytest.raises(ConfigError, match=rf"sage-secure\[{extra}\]"):
        get("name")


def test_a_broken_dependency_stays_loud(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "broken_example"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "home.py").write_text("import no_such_module_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    get, _ = lazy_names("broken_example", {"name": ".home"})
    with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
        get("name")


def test_the_front_door_imports_no_room() -> None:
    loaded = run(
        "import sys, sage; print(*(m for m in sys.modules if m.startswith('sage.')))"
    )
    assert set(loaded[0].split()) <= {"sage._lazy", "sage.errors"}


def test_every_name_is_listed_and_found() -> None:
    assert isinstance(sage, ModuleType)
    assert set(sage.__all__) - {"__version__"} <= set(dir(sage))
    for name in sage.__all__:
        assert getattr(sage, name) is not None
