"""The house: who may import whom, what each file must say, what none may do."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import sage

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sage"
TESTS = ROOT / "tests"

# A room imports only from rooms in earlier rows, and from itself. Within the first
# two rows the modules may also use each other.
ROWS: list[set[str]] = [
    {"errors", "limits", "types"},
    {
        "_accel",
        "_addresses",
        "_arguments",
        "_core",
        "_core_py",
        "_crypto",
        "_environment",
        "_kept",
        "_known_answers",
        "_lazy",
        "_libsecp256k1",
        "_libsodium",
        "_openssl",
    },
    {"encoding", "runtime"},
    {"identity"},
    {"handshake"},
    {"session"},
    {"envelope"},
    {"http"},
    {"transport"},
    {"service"},
    {"cli"},
]
FOUNDATION_ROWS = 2
# Rooms of later releases. Whoever builds one gives it its row above.
LATER = {"memory"}
# The front doors stand outside the house and may see all of it.
DOORS = {"sage", "sage.__main__"}

SANS_IO = {
    "encoding",
    "runtime",
    "identity",
    "handshake",
    "session",
    "envelope",
    "http",
}
# Within a room without I/O, the files that tie it to somebody's client or server.
SHELLS = {
    "sage.http.aiohttp_client",
    "sage.http.asgi_request",
    "sage.http.auth",
    "sage.http.key_lookup",
    "sage.http.middleware",
    "sage.http.response_check",
    "sage.http.signer",
}
IO_MODULES = {"asyncio", "socket", "ssl", "time", "random", "secrets", "uuid"}
KERNELS = {"sage._arguments", "sage._core_py", "sage._accel"}

# Where a source file's tests do not lie in the place that its name implies.
TESTED_ELSEWHERE: dict[str, str] = {}

# What the core may use without any extra installed.
CORE_DISTRIBUTIONS = {"sage", "cryptography", "rfc8785", "_cffi_backend", "cffi"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(p): p for p in sorted(PACKAGE.rglob("*.py"))}
MODULES = sorted(SOURCES)
ROOMS = sorted({name.split(".")[1] for name in MODULES if "." in name} - {"__main__"})


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(SOURCES[module].read_bytes())


def room_of(module: str) -> str:
    return module.split(".")[1]


def row_of(room: str) -> int:
    (row,) = (index for index, rooms in enumerate(ROWS) if room in rooms)
    return row


def imported_modules(module: str) -> Iterator[str]:
    """Yield the absolute name of everything that a module imports, at any depth."""
    is_package = SOURCES[module].name == "__init__.py"
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".")
                package = package[: len(package) - node.level + is_package]
                base = ".".join([*package, *([base] if base else [])])
            yield base
            # `from .. import errors` names a module, not an attribute.
            yield from (
                full
                for alias in node.names
                if (full := f"{base}.{alias.name}") in SOURCES
            )


def allowed(importer: str, imported: str) -> bool:
    """Whether one of our modules may import another."""
    if imported == "sage":
        return True  # a package on the way to one of its rooms; see below
    ours, theirs = room_of(importer), room_of(imported)
    return ours == theirs or (
        row_of(theirs) < row_of(ours)
        or row_of(ours) == row_of(theirs) < FOUNDATION_ROWS
    )


# --- the rooms ----------------------------------------------------------------


def test_every_room_has_its_row_and_none_stands_empty() -> None:
    rooms = {room for row in ROWS for room in row}
    assert not rooms & LATER
    # The compiled core is not a .py file.
    assert set(ROOMS) == rooms - {"_core"}
    assert (PACKAGE / "_core.pyx").is_file()
    assert (PACKAGE / "_core.pyi").is_file()
    for room in LATER:
        assert not (PACKAGE / room).exists(), f"{room} has come: give it a row"
    for folder in (p for p in PACKAGE.rglob("*") if p.is_dir()):
        if folder.name != "__pycache__" and any(folder.glob("*.py")):
            assert (folder / "__init__.py").is_file(), folder


@pytest.mark.parametrize("module", [m for m in MODULES if m not in DOORS])
def test_a_room_imports_only_from_rooms_above_it(module: str) -> None:
    ours = [m for m in imported_modules(module) if m.split(".")[0] == "sage"]
    wrong = [m for m in ours if not allowed(module, m)]
    assert not wrong
    # Nothing inside goes through the front door.
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom) and node.module is None:
            names = {alias.name for alias in node.names}
            level = len(module.split(".")) - node.level
            level += SOURCES[module].name == "__init__.py"
            if level == 1:
                assert names <= set(ROOMS) | {"_core"}, names
        elif isinstance(node, ast.Import):
            assert "sage" not in {alias.name.split(".")[0] for alias in node.names}


def test_the_law_would_notice() -> None:
    assert allowed("sage.service.agent", "sage.errors")
    assert allowed("sage.errors", "sage.types")
    assert not allowed("sage.errors", "sage._crypto")
    assert not allowed("sage.identity.did", "sage.session.profile")
    assert not allowed("sage.session.profile", "sage.envelope")
    assert "sage.errors" in set(imported_modules("sage.encoding.jcs"))
    assert "sage.encoding.jcs" in set(imported_modules("sage.encoding"))


def test_the_compiled_core_keeps_the_law_too() -> None:
    included = sorted(PACKAGE.glob("*.pxi"))
    assert included
    parts = [PACKAGE / "_core.pyx", *included]
    source = "\n".join(part.read_text() for part in parts)
    lines = re.findall(r"^\s*(?:from\s+(\S+)\s+)?c?import\s+(.+)$", source, re.M)
    assert lines
    for base, names in lines:
        assert base.split(".")[0] != "cryptography"
        assert "cryptography" not in names
        if base.startswith("."):
            room = base.strip(".").split(".")[0] or names.split()[0]
            assert row_of(room) < FOUNDATION_ROWS, base


@pytest.mark.parametrize(
    "module",
    [m for m in MODULES if m not in DOORS | SHELLS and room_of(m) in SANS_IO],
)
def test_sans_io_rooms_have_no_clock_socket_or_chance(module: str) -> None:
    names = {name.split(".")[0] for name in imported_modules(module)}
    assert not names & IO_MODULES
    for node in ast.walk(tree(module)):
        used = getattr(node, "attr", None) or getattr(node, "id", None)
        assert used not in {"urandom", "getrandom"}


def test_every_sans_io_room_was_looked_at() -> None:
    assert {room_of(m) for m in MODULES if m not in DOORS} >= SANS_IO


@pytest.mark.parametrize("module", sorted(KERNELS))
def test_kernels_know_the_monotonic_clock_only(module: str) -> None:
    names = {name.split(".")[0] for name in imported_modules(module)}
    assert not names & (IO_MODULES - {"time"})
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            assert {alias.name for alias in node.names} == {"monotonic"}
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert node.value.id != "time" or node.attr == "monotonic"


def test_only_one_file_imports_cryptography() -> None:
    importers = {
        module
        for module in MODULES
        if "cryptography" in {name.split(".")[0] for name in imported_modules(module)}
    }
    assert importers == {"sage._crypto"}


# --- the surface --------------------------------------------------------------


def public_names(module: str) -> list[str]:
    """Return what a module's source lists in `__all__`."""
    for node in tree(module).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        for target in targets:
            if isinstance(target, ast.Name) and target.id == "__all__":
                names: list[str] = ast.literal_eval(node.value)  # type: ignore[union-attr,arg-type]
                return names
    raise AssertionError(f"{module} has no __all__")


def in_ruffs_order(name: str) -> tuple[int, list[tuple[int, str]]]:
    """Constants, then classes, then the rest; digits by their value (RUF022)."""
    kind = 0 if len(name) > 1 and name.isupper() else 1 if name[0].isupper() else 2
    parts = re.findall(r"\d+|\D+", name)
    return kind, [(int(p), "") if p.isdigit() else (-1, p) for p in parts]


@pytest.mark.parametrize("module", [m for m in MODULES if m != "sage.__main__"])
def test_every_module_says_what_it_is_and_what_it_offers(module: str) -> None:
    text = ast.get_docstring(tree(module))
    assert text, "no docstring"
    assert text.partition("\n\n")[0].endswith((".", ":")), "a sentence, please"
    names = public_names(module)
    assert len(set(names)) == len(names)
    assert names == sorted(names, key=in_ruffs_order)
    loaded = importlib.import_module(module)
    for name in names:
        value = getattr(loaded, name)
        if (inspect.isclass(value) or inspect.isfunction(value)) and getattr(
            value, "__module__", ""
        ).startswith("sage"):
            assert inspect.getdoc(value), f"{name} is not documented"


@pytest.mark.parametrize("module", [m for m in MODULES if m not in DOORS])
def test_imports_are_deferred_annotations(module: str) -> None:
    body = tree(module).body
    if len(body) > 1 and SOURCES[module].name != "__init__.py":
        first = body[1]
        assert isinstance(first, ast.ImportFrom)
        assert first.module == "__future__"


def test_the_front_door_offers_what_a_room_offers() -> None:
    own = {"__version__"}
    names = [name for name in sage.__all__ if name not in own]
    assert 12 <= len(names) <= 30
    offers: dict[str, set[str]] = {}
    for module in MODULES:
        if module not in DOORS:
            for name in public_names(module):
                offers.setdefault(name, set()).add(module)
    for name in names:
        assert name in offers, f"{name} is in no room's __all__"
        homes = [getattr(importlib.import_module(m), name) for m in offers[name]]
        assert any(getattr(sage, name) is home for home in homes), name


def test_the_map_of_the_house_names_every_room() -> None:
    assert sage.__doc__ is not None
    named = [room for room in ROOMS if not room.startswith("_")]
    assert len(named) > 8
    for room in named:
        assert f"sage.{room}" in sage.__doc__, room


# --- the tests ----------------------------------------------------------------


def test_file_of(module: str) -> Path:
    path = SOURCES[module].relative_to(PACKAGE)
    name = f"test_{path.stem.strip('_')}.py"
    if path.stem in {"_core_py", "_accel", "_environment"}:
        return TESTS / "test_core"
    if path.stem in {
        "_addresses",
        "_arguments",
        "_known_answers",
        "_libsodium",
        "_openssl",
    }:
        return TESTS / "test_core" / name
    folders = [f"test_{part}" for part in path.parts[:-1]]
    return TESTS.joinpath(*folders, name)


test_file_of.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "module",
    [m for m in MODULES if m not in DOORS and SOURCES[m].name != "__init__.py"],
)
def test_every_source_file_has_its_tests(module: str) -> None:
    place = TESTED_ELSEWHERE.get(module)
    path = TESTS / place if place else test_file_of(module)
    files = sorted(path.glob("test_*.py")) if path.is_dir() else [path]
    assert files, path
    for file in files:
        assert file.is_file(), f"{file.relative_to(ROOT)} is missing"
        assert "def test_" in file.read_text() or "class Test" in file.read_text()


# --- each file alone ----------------------------------------------------------

# Forks a child for each module from an interpreter that has imported nothing of ours,
# so that each import stands alone. What others made, and most modules need, it has
# imported: that is not what is tested, and would take twice the time.
EACH_ALONE = """
import asyncio, ctypes, importlib, json, os, sqlite3, ssl, sys, traceback, uuid
import cryptography.x509, cryptography.hazmat.primitives.serialization
import rfc8785, rich.console, rich.table, typer, urllib.request
import websockets.asyncio.client

failed = {}
for name in json.loads(sys.argv[1]):
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            importlib.import_module(name)
            os._exit(0)
        except BaseException:
            os.write(writing, traceback.format_exc().encode()[-4000:])
            os._exit(1)
    os.close(writing)
    with open(reading, "rb") as pipe:
        text = pipe.read().decode()
    if os.waitpid(child, 0)[1]:
        failed[name] = text
print(json.dumps(failed))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_every_module_imports_alone_without_a_warning() -> None:
    modules = [m for m in MODULES if m != "sage.__main__"]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", EACH_ALONE, json.dumps(modules)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {}


WITHOUT_EXTRAS = """
import importlib, json, sys
allowed, modules = json.loads(sys.argv[1])

class NothingElse:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top not in allowed and top not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NothingElse())
for name in modules:
    importlib.import_module(name)
"""


def test_the_core_needs_no_extra() -> None:
    modules = [
        m
        for m in MODULES
        if m == "sage" or (m not in DOORS and row_of(room_of(m)) < row_of("http"))
    ]
    assert len(modules) > 10
    subprocess.run(
        [
            sys.executable,
            "-c",
            WITHOUT_EXTRAS,
            json.dumps([sorted(CORE_DISTRIBUTIONS), modules]),
        ],
        cwd=ROOT,
        check=True,
    )


# --- what no file may do ------------------------------------------------------

FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "yaml"}
SWITCHES = {"SAGE_NO_EXTENSIONS", "SAGE_REQUIRE_EXTENSIONS", "SAGE_ENGINE"}


def narrows_a_type(test: ast.expr) -> bool:
    return ast.unparse(test).endswith(" is not None") or (
        ast.unparse(test).startswith("isinstance(")
    )


@pytest.mark.parametrize("module", MODULES)
def test_nothing_dangerous(module: str) -> None:
    # `python -O` removes an assert, and with it whatever it guarded: one may tell
    # the type checker what cannot be otherwise, and nothing else.
    names = {name.split(".")[0] for name in imported_modules(module)}
    assert not names & FORBIDDEN_MODULES
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Assert):
            assert narrows_a_type(node.test), f"line {node.lineno}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in FORBIDDEN_CALLS, f"line {node.lineno}"
        if isinstance(node, ast.keyword) and node.arg == "shell":
            pytest.fail("no shell")
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"bare except, line {node.lineno}"


@pytest.mark.parametrize("module", MODULES)
def test_environment_variables_are_the_documented_ones(module: str) -> None:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert set(re.findall(r"\bSAGE_[A-Z_]+\b", node.value)) <= SWITCHES


@pytest.mark.parametrize(
    "path",
    [p for p in PACKAGE.rglob("*") if p.suffix in {".py", ".pyx", ".pyi"}],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_no_work_is_left_behind(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b|raise NotImplementedError", text)
    assert text.endswith("\n") or not text


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()
