from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import sage
from sage.cli import facts

ROOT = Path(__file__).parents[2]


def test_the_facts_are_those_of_this_process() -> None:
    found = facts.collect()
    core = sage.backend()
    assert found["sage"] == sage.__version__
    assert str(found["python"]).startswith(sys.version.split()[0])
    names = ("core", "reason", "engine", "openssl", "cryptography")
    for name in (*names, "ed25519", "secp256k1"):
        assert found[name] == core[name]


def test_every_extra_of_the_project_is_told() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    developers = {"all", "test", "lint", "docs", "bench", "fuzz", "dev"}
    found = facts.collect()
    told = [*found["extras"], *found["missing_extras"]]
    assert sorted(told) == sorted(set(project["optional-dependencies"]) - developers)


@pytest.mark.parametrize(
    ("module", "extras"),
    [
        ("trustme", ["cli", "loadtest"]),
        ("hdrh", ["loadtest"]),
        ("http_sf", ["http", "http2", "service", "cli", "loadtest"]),
        ("redis", ["redis"]),
        ("cachebox", ["fast"]),
        ("h2", ["http2"]),
    ],
)
def test_an_extra_without_one_of_its_modules_is_missing(
    monkeypatch: pytest.MonkeyPatch, module: str, extras: list[str]
) -> None:
    before, find = facts.collect()["missing_extras"], facts.importlib.util.find_spec
    monkeypatch.setattr(
        facts.importlib.util,
        "find_spec",
        lambda name: None if name == module else find(name),
    )
    missing = set(facts.collect()["missing_extras"])
    assert missing - set(before) == set(extras) - set(before)


def test_both_forms_say_the_same() -> None:
    found = json.loads(facts.as_json())
    assert found == facts.collect()
    lines = dict(line.split("  ", 1) for line in facts.as_text().splitlines())
    assert lines["core"].strip() == f"{found['core']} ({found['reason']})"
    assert lines["sage"].strip() == found["sage"]


WITHOUT = """
import sys
class Without:
    def __init__(self, finders):
        self.finders = finders
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("typer", "rich"):
            return None
        specs = (finder.find_spec(name, path, target) for finder in self.finders)
        return next(filter(None, specs), None)
sys.meta_path[:] = [Without(sys.meta_path[:])]
import runpy
sys.argv = ["sage", *sys.argv[1:]]
runpy.run_module("sage", run_name="__main__")
"""


def without_extra(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *words], capture_output=True, text=True
    )


def test_info_needs_neither_typer_nor_rich() -> None:
    done = without_extra("info")
    assert done.returncode == 0, done.stderr
    assert "core" in done.stdout
    assert json.loads(without_extra("info", "--json").stdout)["sage"]


@pytest.mark.parametrize("words", [(), ("demo",), ("info", "--nonsense"), ("--help",)])
def test_other_verbs_say_what_they_need(words: tuple[str, ...]) -> None:
    done = without_extra(*words)
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr == (
        "sage: the command line needs typer and rich: pip install 'sage-secure[cli]'\n"
    )
