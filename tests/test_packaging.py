"""What an sdist and a wheel hold, and what the build's switches do.

Builds run in copies of the tree, without isolation and so without the network.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import sage

ROOT = Path(__file__).parents[1]
NOT_SOURCES = (".git", ".venv", "build", "dist", "_build", ".asv", "__pycache__")
GENERATED = ("*.so", "*.pyd", "*.egg-info", "_core.c", "_core.html", ".*_cache")
BUILD = """
import sys
from setuptools import build_meta
print(getattr(build_meta, sys.argv[1])(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def project() -> dict[str, object]:
    table: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return table


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Copy the tree as a clean clone would have it."""
    ignore = shutil.ignore_patterns(*NOT_SOURCES, *GENERATED)
    return shutil.copytree(ROOT, tmp_path / "source", ignore=ignore)


def build(
    source: Path, *, what: str = "wheel", **switches: str
) -> subprocess.CompletedProcess[str]:
    """Build into ``dist``, with none of our caller's switches."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SAGE_")}
    (source / "dist").mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-c", BUILD, f"build_{what}", str(source / "dist")],
        cwd=source,
        env=environment | switches,
        capture_output=True,
        text=True,
        check=False,
    )


def built(
    source: Path, *, what: str = "wheel", **switches: str
) -> tuple[Path, list[str]]:
    """Build, and return the file with the names in it."""
    done = build(source, what=what, **switches)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (path,) = (source / "dist").iterdir()
    if what == "wheel":
        with zipfile.ZipFile(path) as wheel:
            return path, wheel.namelist()
    with tarfile.open(path) as sdist:
        return path, [name.partition("/")[2] for name in sdist.getnames()]


def compiled_files(names: list[str]) -> list[str]:
    return [name for name in names if name.endswith((".so", ".pyd"))]


def assert_wheel_is_whole(source: Path, names: list[str]) -> None:
    """Every module, the stub, the marker; no source of the compiled core, no test."""
    here = {str(p.relative_to(source)) for p in (source / "sage").rglob("*.py")}
    assert len(here) > 20
    extra = set(names) - here
    assert here <= set(names)
    assert {"sage/py.typed", "sage/_core.pyi"} <= extra
    assert not [n for n in names if n.endswith((".c", ".pyx", ".html"))]
    assert {name.split("/")[0] for name in names} == {
        "sage",
        f"sage_secure-{sage.__version__}.dist-info",
    }
    assert any(name.endswith("licenses/LICENSE") for name in names)


def has_compiler() -> bool:
    command = [*shlex.split(os.environ.get("CC", "cc")), "--version"]
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_the_version_is_written_once_and_once_more(project: dict[str, object]) -> None:
    assert project["project"]["version"] == sage.__version__  # type: ignore[index]
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert f"## {sage.__version__}" in changelog


def test_every_extra_that_is_named_exists(project: dict[str, object]) -> None:
    extras = project["project"]["optional-dependencies"]  # type: ignore[index]
    for wanted in extras.values():
        for requirement in wanted:
            name, bracket, inside = requirement.partition("[")
            if name == "sage-secure" and bracket:
                assert set(inside.rstrip("]").split(",")) <= set(extras)


def test_what_make_takes_for_installed_is(project: dict[str, object]) -> None:
    extras = project["project"]["optional-dependencies"]  # type: ignore[index]

    def held_by(extra: str) -> set[str]:
        inside = re.findall(r"^sage-secure\[(.*)\]", "\n".join(extras[extra]), re.M)
        direct = {name for names in inside for name in names.split(",")}
        return direct.union(*map(held_by, direct))

    said = re.findall(r"^HELD_BY_(\w+) := (.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert said
    for extra, held in said:
        assert set(held.split()) <= held_by(extra)


def test_a_pure_wheel_fits_everywhere(source: Path) -> None:
    path, names = built(source, SAGE_NO_EXTENSIONS="1")
    assert path.name == f"sage_secure-{sage.__version__}-py3-none-any.whl"
    assert not compiled_files(names)
    assert_wheel_is_whole(source, names)


def test_a_wheel_asks_for_what_it_needs(source: Path) -> None:
    path, names = built(source, SAGE_NO_EXTENSIONS="1")
    (metadata_name,) = (n for n in names if n.endswith(".dist-info/METADATA"))
    with zipfile.ZipFile(path) as wheel:
        metadata = Parser().parsestr(wheel.read(metadata_name).decode())
    core = [r for r in metadata.get_all("Requires-Dist", []) if "extra ==" not in r]
    assert sorted(r.split(">")[0] for r in core) == ["cryptography", "rfc8785"]
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"


def test_both_switches_exclude_each_other(source: Path) -> None:
    done = build(source, SAGE_NO_EXTENSIONS="1", SAGE_REQUIRE_EXTENSIONS="1")
    assert done.returncode != 0
    assert "exclude each other" in done.stderr


@pytest.mark.parametrize("value", ["yes", "true", "2"])
def test_a_switch_is_0_or_1(source: Path, value: str) -> None:
    done = build(source, SAGE_REQUIRE_EXTENSIONS=value)
    assert done.returncode != 0
    assert "SAGE_REQUIRE_EXTENSIONS must be 0 or 1" in done.stderr


def test_an_sdist_holds_all_that_a_packager_needs(source: Path) -> None:
    _, names = built(source, what="sdist", SAGE_NO_EXTENSIONS="1")
    for name in (
        "sage/_core.pyx",
        "sage/_engine.pxi",
        "sage/_core.pyi",
        "sage/py.typed",
        "setup.py",
        "Makefile",
        ".ci/run",
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "docs/conf.py",
        "docs/howto/sage-dashboard.json",
        "tests/test_packaging.py",
        "tests/test_encoding/test_jcs.py",
        "tests/vectors/worked-example-0.10.0.json",
        "tests/vectors/README.md",
    ):
        assert name in names, name
    assert "sage/_core.c" not in names
    assert not compiled_files(names)
    assert not [n for n in names if "__pycache__" in n or n.startswith("docs/_build")]


# --- what takes long ---------------------------------------------------------------


@pytest.mark.slow
def test_an_sdist_builds_a_wheel(source: Path, tmp_path: Path) -> None:
    path, _ = built(source, what="sdist")
    with tarfile.open(path) as sdist:
        sdist.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    _, names = built(unpacked, SAGE_NO_EXTENSIONS="1")
    assert_wheel_is_whole(source, names)


@pytest.mark.slow
@pytest.mark.skipif(not has_compiler(), reason="no working C compiler")
def test_a_compiled_wheel_holds_the_core_and_runs(source: Path, tmp_path: Path) -> None:
    path, names = built(source, SAGE_REQUIRE_EXTENSIONS="1")
    assert "none-any" not in path.name
    (core,) = compiled_files(names)
    assert core.startswith("sage/_core.")
    assert_wheel_is_whole(source, [name for name in names if name != core])
    with zipfile.ZipFile(path) as wheel:
        wheel.extractall(tmp_path / "installed")
    done = subprocess.run(
        [sys.executable, "-c", "import sage; print(sage.backend()['core'])"],
        cwd=tmp_path / "installed",
        env={**os.environ, "SAGE_NO_EXTENSIONS": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "cython\n"


@pytest.mark.slow
def test_a_required_extension_that_does_not_build_is_an_error(source: Path) -> None:
    done = build(source, SAGE_REQUIRE_EXTENSIONS="1", CC="/bin/false")
    assert done.returncode != 0
    assert "/bin/false" in done.stdout + done.stderr


@pytest.mark.slow
def test_without_a_compiler_the_wheel_is_pure_and_says_why(source: Path) -> None:
    done = build(source, CC="/bin/false")
    assert done.returncode == 0
    assert "/bin/false" in done.stdout + done.stderr
    (path,) = (source / "dist").iterdir()
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
    assert not compiled_files(names)
    assert_wheel_is_whole(source, names)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
def test_the_wheel_of_the_guide_is_built_and_installed(source: Path) -> None:
    page = (ROOT / "docs/howto/install.md").read_text()
    make, install = re.findall(r"^    pip (.*(?:--wheel-dir|\.whl).*)$", page, re.M)
    pip = f"{shlex.quote(sys.executable)} -m pip --no-input -q"
    # Without a network, and not into the environment of these tests.
    offline = {
        f"{pip} {make}": "--no-index --no-build-isolation",
        f"{pip} {install}": "--no-index --no-deps --target installed",
    }
    for command, options in offline.items():
        done = subprocess.run(
            ["/bin/sh", "-c", f"{command} {options}"],
            cwd=source,
            env={
                **os.environ,
                "SAGE_NO_EXTENSIONS": "1",
                "SAGE_REQUIRE_EXTENSIONS": "",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    installed = source / "installed" / "sage" / "__init__.py"
    assert installed.read_text() == (ROOT / "sage/__init__.py").read_text()


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
@pytest.mark.parametrize(
    ("switch", "says"),
    [
        ("CC=/bin/false", "no working C compiler (CC=/bin/false)"),
        ("SAGE_NO_EXTENSIONS=1", "SAGE_NO_EXTENSIONS=1"),
    ],
)
def test_make_says_when_it_takes_the_pure_twin(
    source: Path, switch: str, says: str
) -> None:
    done = make_dry(source, "test", switch)
    assert done.returncode == 0, done.stderr
    assert f"{says}: building the pure-Python twin" in done.stdout.splitlines()
    assert "SAGE_NO_EXTENSIONS=1 .venv/bin/python -m pytest" in done.stdout
    assert "SAGE_REQUIRE_EXTENSIONS=1" not in done.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
@pytest.mark.skipif(not has_compiler(), reason="no working C compiler")
@pytest.mark.parametrize("goal", ["test", "test-all"])
def test_make_tests_all_that_there_is_and_names_it(source: Path, goal: str) -> None:
    done = make_dry(source, goal)
    assert done.returncode == 0, done.stderr
    runs = [
        switches.strip()
        for switches, pytest_, _ in (
            line.partition(".venv/bin/python -m pytest")
            for line in done.stdout.splitlines()
        )
        if pytest_
    ]
    assert runs == [
        "SAGE_REQUIRE_EXTENSIONS=1 SAGE_ENGINE=libcrypto",
        "SAGE_REQUIRE_EXTENSIONS=1 SAGE_ENGINE=cryptography",
        "SAGE_ENGINE= SAGE_NO_EXTENSIONS=1",
    ]


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
def test_make_stops_where_the_compiled_core_is_demanded(source: Path) -> None:
    done = make_dry(source, "test", "CC=/bin/false", "SAGE_REQUIRE_EXTENSIONS=1")
    assert done.returncode != 0
    assert "demands the compiled core" in done.stderr


def make_dry(source: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Say what make would do in a clean clone, whoever called us."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SAGE_", "MAKE", "MFLAGS")) and name != "CC"
    }
    return subprocess.run(
        ["make", "--dry-run", f"PYTHON={sys.executable}", *arguments],
        cwd=source,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
