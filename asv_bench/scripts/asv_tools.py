"""What the scripts around asv share: its command line, its files, the commits.

Results lie in files, one for each commit and configuration, whose columns asv names in
each. Only the standard library is needed to read them.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "asv_bench"
RESULTS = BENCH / "results"
MACHINE = "ci"
# What decides how fast the package is.
SOURCES = ("sage", "setup.py")
CONFIGURATIONS = {"SAGE_NO_EXTENSIONS": "compiled", "SAGE_NO_EXTENSIONS1": "pure"}
SKIPPED = ("machine.json", "benchmarks.json")


@dataclass(frozen=True)
class Key:
    """One number that asv measures: a benchmark, its parameters, a configuration."""

    benchmark: str
    parameters: tuple[str, ...]
    configuration: str

    def __str__(self) -> str:
        inside = ", ".join(self.parameters)
        name = f"{self.benchmark}({inside})" if inside else self.benchmark
        return f"{name} [{self.configuration}]"


def git(*arguments: str) -> str:
    """Return what git prints."""
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def commits_of_sage(
    count: int, revision: str = "HEAD", *, paths: Sequence[str] = SOURCES
) -> list[str]:
    """Return the newest commits on the way to a revision that changed the package.

    Only first parents are looked at: they are what asv draws, and a merge stands for
    all that it brought.
    """
    arguments = ["--first-parent", f"-{count}", "--format=%H", revision]
    return git("log", *arguments, "--", *paths).split()


def configure(**changes: Any) -> Path:
    """Write asv's configuration with changes, and return where.

    It lies beside the original, because its paths count from there. A clone of another
    branch has no main, which the original names.
    """
    text = (BENCH / "asv.conf.json").read_text()
    settings = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.M))
    branches = git("branch", "--list", "--format=%(refname:short)", "main").split()
    settings["branches"] = branches or ["HEAD"]
    path = BENCH / ".asv.conf.json"
    path.write_text(json.dumps(settings | changes, indent=4))
    return path


def run_asv(
    *arguments: str,
    machine: str | None = None,
    environment: Mapping[str, str] | None = None,
    **changes: Any,
) -> int:
    """Run asv under the configuration with changes, and return its exit code."""
    config = configure(**changes)
    asv = [sys.executable, "-m", "asv", "--config", str(config)]
    if machine is not None:
        subprocess.run(
            [*asv, *describe(machine)], cwd=BENCH, check=True, stdout=subprocess.DEVNULL
        )
        arguments = (*arguments, "--machine", machine)
    return subprocess.run(
        [*asv, *arguments], cwd=BENCH, env=environment, check=False
    ).returncode


def describe(machine: str) -> list[str]:
    """Return the command that tells asv of a machine.

    The description is part of what a graph is of, and a container's host name and
    memory change: so it is the committed one, for `ci` a name and nothing else.
    """
    path = RESULTS / machine / "machine.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    options = [
        f"--{name}={known[name]}"
        for name in ("os", "arch", "cpu", "num_cpu", "ram")
        if name in known
    ]
    return ["machine", "--yes", f"--machine={machine}", *options]


def result_files(results: Path, machine: str, commit: str) -> dict[str, Path]:
    """Return a commit's files by configuration."""
    found = (results / machine).glob(f"{commit[:8]}-*.json")
    return {
        CONFIGURATIONS[end]: path
        for path in found
        if (end := path.stem.rpartition("-")[2]) in CONFIGURATIONS
    }


def read_results(path: Path, configuration: str) -> Iterator[tuple[Key, float | None]]:
    """Yield every number of a file: seconds or what its benchmark counts.

    A benchmark that failed gives ``None``, one that did not apply a NaN.
    """
    document = json.loads(path.read_text())
    columns = document["result_columns"]
    for name, row in document["results"].items():
        entry = dict(zip(columns, row, strict=False))
        parameters = list(itertools.product(*(entry.get("params") or [])))
        values = entry["result"] or [None] * len(parameters)
        for combination, value in zip(parameters, values, strict=True):
            yield Key(name, combination, configuration), value


def read_commit(results: Path, machine: str, commit: str) -> dict[Key, float | None]:
    """Return every number of a commit, of all its configurations."""
    return {
        key: value
        for configuration, path in result_files(results, machine, commit).items()
        for key, value in read_results(path, configuration)
    }


def expected_keys(results: Path, patterns: Sequence[str]) -> list[Key]:
    """Return what the benchmarks that match must give, from asv's list of them.

    Raises:
        ValueError: a pattern matches nothing, so something would go unmeasured.
    """
    known = json.loads((results / "benchmarks.json").read_text())
    names = [name for name, entry in known.items() if isinstance(entry, dict)]
    for pattern in patterns:
        if not any(re.search(pattern, name) for name in names):
            raise ValueError(f"no benchmark matches {pattern!r}")
    return [
        Key(name, combination, configuration)
        for name in names
        if any(re.search(pattern, name) for pattern in patterns)
        for combination in itertools.product(*known[name]["params"])
        for configuration in CONFIGURATIONS.values()
    ]


def is_number(value: float | None) -> bool:
    """Whether something was measured."""
    return value is not None and not isnan(value)
