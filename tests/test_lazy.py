"""Names that wait to be imported until somebody uses them."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import sage
from sage._lazy import EXTRAS, extra_modules, lazy_names
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


# The second answer is what there is where the extra that the first names is installed,
# and no other.
ASKED_TWICE = """
import importlib, json, sys
package, name, missing, extra = sys.argv[1:]
from sage._lazy import EXTRAS, extra_modules
from sage.errors import ConfigError
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.modules:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
without = Without()
without.modules = {missing}
sys.meta_path.insert(0, without)
room = importlib.import_module(package)
try:
    getattr(room, name)
except ConfigError as exc:
    print(exc)
every = {module for modules in EXTRAS.values() for module in modules}
without.modules = every - set(extra_modules(extra))
print(getattr(room, name).__name__)
"""


@pytest.mark.parametrize(
    ("name", "missing", "extra"),
    [
        ("sage.Service", "http_sf", "service"),
        ("sage.ChannelPool", "websockets", "websocket"),
        ("sage.connect", "websockets", "websocket"),
        ("sage.service.connect", "websockets", "websocket"),
        ("sage.WebResolver", "h11", "websocket"),
        ("sage.service.Service", "http_sf", "service"),
        ("sage.service.serve", "websockets", "service"),
        ("sage.service.serve", "h11", "service"),
        ("sage.service.serving", "uvicorn", "service"),
        ("sage.http.sign_request", "http_sf", "http"),
        ("sage.http.AiohttpSignature", "aiohttp", "http"),
        ("sage.transport.HttpsPool", "aiohttp", "http"),
        ("sage.transport.Http2Pool", "httpx2", "http2"),
        ("sage.RedisReplayGuard", "redis", "redis"),
        ("sage.transport.PrometheusMetrics", "prometheus_client", "metrics"),
    ],
)
def test_the_extra_that_is_named_is_all_that_is_missing(
    name: str, missing: str, extra: str
) -> None:
    package, _, attribute = name.rpartition(".")
    done = subprocess.run(
        [sys.executable, "-c", ASKED_TWICE, package, attribute, missing, extra],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said, found = done.stdout.splitlines()
    assert said.endswith(f"needs {missing}: pip install 'sage-secure[{extra}]'")
    assert found == attribute


WITHOUT_HTTP = """
import asyncio, sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"http_sf", "aiohttp"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Without())
import sage
ada = sage.Agent.generate("did:sage:web:agents.example:ada")
async def main():
    async with sage.connect(
        "https://localhost:1/sage",
        agent=ada,
        peer="did:sage:web:agents.example:grace",
        resolver=sage.MemoryResolver([ada.record]),
    ):
        pass
try:
    asyncio.run(main())
except sage.errors.ConfigError as exc:
    print(exc)
"""


def test_a_channel_over_https_names_the_extra() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_HTTP],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.endswith("needs aiohttp: pip install 'sage-secure[http]'\n")


# --- the table of extras -----------------------------------------------------------

DEVELOPERS = {"all", "test", "lint", "docs", "bench", "fuzz", "dev"}
# Used where they are there, and not missed where they are not.
NOT_NEEDED = {"coincurve", "hiredis", "httptools"}


def project_extras() -> dict[str, list[Requirement]]:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {
        extra: [Requirement(line) for line in lines]
        for extra, lines in table["optional-dependencies"].items()
    }


def applies(wanted: Requirement, extra: str = "") -> bool:
    return wanted.marker is None or wanted.marker.evaluate({"extra": extra})


def distributions(wanted: Requirement) -> set[str]:
    """Return a distribution's name, and of what its own extras add."""
    names = {canonicalize_name(wanted.name)}
    for extra in wanted.extras:
        for line in importlib.metadata.requires(wanted.name) or ():
            more = Requirement(line)
            if applies(more, extra) and not applies(more):
                names.add(canonicalize_name(more.name))
    return names


def test_each_extra_brings_the_modules_of_the_table() -> None:
    extras, holders = project_extras(), importlib.metadata.packages_distributions()
    assert set(EXTRAS) == set(extras) - DEVELOPERS
    for extra, lines in extras.items():
        if extra in DEVELOPERS or not all(map(applies, lines)):
            continue  # something that this Python has no need of, or no wheel for
        own = [line for line in lines if line.name != "sage-secure"]
        wanted = {name for line in own for name in distributions(line)} - NOT_NEEDED
        held = {
            module: {canonicalize_name(d) for d in holders[module.split(".")[0]]}
            for module in EXTRAS[extra]
        }
        assert all(held[module] & wanted for module in held), (extra, held)
        assert wanted <= set().union(*held.values()), (extra, wanted)
        included = {name for line in lines if line not in own for name in line.extras}
        more = {m for name in included for m in extra_modules(name)}
        assert set(extra_modules(extra)) == {*more, *EXTRAS[extra]}


def test_every_hint_in_the_sources_names_the_extra_that_has_it() -> None:
    hints = [
        (name, extra)
        for path in sorted((ROOT / "sage").rglob("*.py"))
        for names, extra in re.findall(
            r"needs? ([\w. -]+): pip install 'sage-secure\[(\w+)\]'", path.read_text()
        )
        for name in names.split(" and ")
    ]
    assert ("hdrhistogram", "loadtest") in hints
    assert ("typer", "cli") in hints
    assert len(hints) >= 6
    extras = project_extras()
    for name, extra in hints:
        own = {canonicalize_name(line.name) for line in extras[extra]}
        assert canonicalize_name(name) in own, (name, extra)


def test_all_is_every_extra() -> None:
    extras = project_extras()
    (everything,) = extras["all"]
    found = set(everything.extras)
    for extra in everything.extras:
        modules = set(extra_modules(extra))
        found |= {name for name in EXTRAS if set(extra_modules(name)) <= modules}
    assert found == set(EXTRAS)


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
