"""Fail when the package has become slower than it was at the commit before.

    python asv_bench/scripts/gate.py [--base REVISION]

Two commits are built and measured in turn, round by round, on both kernels: the newest
that changed the package and the one before it, or HEAD and ``--base``. What takes 1.3
times as long as before, or counts 1.3 times as much, is measured once more by itself;
only what is slower both times is a regression.

The verdict is made here, from asv's result files. asv's exit codes are not asked:
`asv compare` always gives 0, and a suite that could not run gives whatever it likes. A
gate that has measured less than it should fails.

Commits are measured, never the working tree, so uncommitted changes to the package are
refused. Where nothing of the package differs there is nothing to measure, and the gate
says so and passes; ``--force`` measures all the same, to see the noise.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path

from asv_tools import (
    BENCH,
    SOURCES,
    Key,
    commits_of_sage,
    expected_keys,
    git,
    is_number,
    read_commit,
    run_asv,
)

FACTOR = 1.3
ROUNDS = 3
MACHINE = "gate"

# Few, stable, and together what a user waits for: processor time of one thread, or
# exact counts. Sockets, threads and imports are left to the dashboard.
BENCHMARKS = (
    r"^session\.Records\.time_(seal|open)_1000",
    r"^session\.Streams\.time_(seal|open)_1000",
    r"^session\.Allocations\.",
    r"^sessions\.Sessions\.time_create_1000",
    r"^sessions\.Keys\.",
    r"^handshake\.Whole\.",
    r"^envelope\.Envelope\.time_",
    r"^encoding\.Json\.",
    r"^http\.Signature\.time_(sign|verify)",
    r"^wire\.",
)


class GateError(Exception):
    """The gate could not do its work."""


@dataclass(frozen=True)
class Change:
    """One number before and after."""

    key: Key
    before: float
    after: float

    @property
    def ratio(self) -> float:
        """How many times the old value the new one is."""
        if self.before == self.after:
            return 1.0
        return self.after / self.before if self.before else float("inf")

    def __str__(self) -> str:
        return f"{self.ratio:6.2f}  {self.before:.4g} -> {self.after:.4g}  {self.key}"


@dataclass
class Verdict:
    """What two commits' results say.

    Attributes:
        compared: every number that both have.
        regressions: those that became worse by more than the factor.
        missing: what should have been measured and was not.
        new: what only the newer commit can do.
    """

    compared: list[Change] = field(default_factory=list)
    regressions: list[Change] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    new: list[Key] = field(default_factory=list)


Results = Mapping[Key, float | None]


def judge(
    expected: Iterable[Key], before: Results, after: Results, *, factor: float = FACTOR
) -> Verdict:
    """Compare two commits' results, for all that should be there.

    A NaN is asv's "not available". It is a fault of the newer commit, which has today's
    benchmarks; of the older one it says that the newer one can do more. Where nothing
    was expected, nothing was measured, and that is a fault as well.
    """
    verdict = Verdict()
    for key in expected:
        old, new = before.get(key), after.get(key)
        unavailable = old is not None and isnan(old)
        if not is_number(new):
            verdict.missing.append(f"{key}, after")
        elif unavailable:
            verdict.new.append(key)
        elif not is_number(old):
            verdict.missing.append(f"{key}, before")
        else:
            change = Change(key, old, new)
            verdict.compared.append(change)
            if change.ratio > factor:
                verdict.regressions.append(change)
    if not verdict.compared:
        verdict.missing.append("anything to compare")
    return verdict


def confirmed(first: Verdict, second: Verdict) -> list[Change]:
    """Return what regressed both times."""
    suspects = {change.key for change in first.regressions}
    return [change for change in second.regressions if change.key in suspects]


def patterns_of(changes: Sequence[Change]) -> list[str]:
    """Return patterns for the benchmarks of these changes, each once."""
    names = dict.fromkeys(change.key.benchmark for change in changes)
    return [rf"^{re.escape(name)}(\(|$)" for name in names]


# --- git and asv ----------------------------------------------------------------------


def choose(base: str | None) -> tuple[str, str]:
    """Return the commits before and after.

    Without ``base`` they are the two newest that changed the package, so that a commit
    of documentation on top does not hide the one below it.
    """
    if git("status", "--porcelain", "--", *SOURCES):
        raise GateError(
            "the package has uncommitted changes, and only commits are measured"
        )
    if base is not None:
        return git("rev-parse", f"{base}^{{commit}}"), git("rev-parse", "HEAD")
    commits = commits_of_sage(2)
    if len(commits) < 2:
        raise GateError("there is no commit to compare with; is this a shallow clone?")
    return commits[1], commits[0]


def differ(before: str, after: str) -> bool:
    """Whether anything of the package differs between two commits."""
    command = ["git", "-C", str(BENCH), "diff", "--quiet", before, after, "--"]
    paths = [f":/{path}" for path in SOURCES]
    return subprocess.run([*command, *paths], check=False).returncode != 0


def measure(before: str, after: str, patterns: Sequence[str], name: str) -> Verdict:
    """Measure two commits in turn, into a folder of their own, and judge."""
    results = BENCH / ".asv" / name
    shutil.rmtree(results, ignore_errors=True)
    run_asv(
        "continuous",
        before,
        after,
        "--interleave-rounds",
        f"--factor={FACTOR}",
        f"--attribute=rounds={ROUNDS}",
        *(f"--bench={pattern}" for pattern in patterns),
        machine=MACHINE,
        results_dir=str(results),
    )
    return read_verdict(results, before, after, patterns)


def read_verdict(
    results: Path, before: str, after: str, patterns: Sequence[str]
) -> Verdict:
    """Judge what lies in a results folder.

    Raises:
        GateError: asv has left no list of benchmarks, or it lacks one of ours.
    """
    try:
        expected = expected_keys(results, patterns)
    except (OSError, ValueError) as exc:
        raise GateError(f"asv has measured nothing: {exc}") from exc
    old, new = (read_commit(results, MACHINE, commit) for commit in (before, after))
    return judge(expected, old, new)


def main() -> int:
    """Return 0 where nothing regressed, 1 where something did, 2 where it failed."""
    options = parse()
    before, after = choose(options.base)
    for word, commit in (("before", before), ("after", after)):
        print(f"{word:7}", git("log", "-1", "--format=%h %s", commit), flush=True)
    if before == after:
        raise GateError("the same commit cannot take turns with itself")
    if not options.force and not differ(before, after):
        print("nothing of the package differs, so there is nothing to measure")
        return 0
    first = measure(before, after, options.bench, "gate")
    refuse_gaps(first)
    report(first)
    if not first.regressions:
        return 0
    print(f"\nonce more: {len(first.regressions)} that may have regressed", flush=True)
    second = measure(before, after, patterns_of(first.regressions), "gate-again")
    refuse_gaps(second)
    slower = confirmed(first, second)
    for change in slower:
        print(f"REGRESSED {change}")
    if not slower:
        print("none of them is slower again: it was noise")
    return 1 if slower else 0


def refuse_gaps(verdict: Verdict) -> None:
    """Fail where fewer results exist than benchmarks."""
    if verdict.missing:
        listed = "\n  ".join(verdict.missing)
        raise GateError(f"{len(verdict.missing)} results are missing:\n  {listed}")


def report(verdict: Verdict) -> None:
    """Say what was compared, and the extremes."""
    ordered = sorted(verdict.compared, key=lambda change: change.ratio)
    print(f"\n{len(ordered)} numbers compared, {len(verdict.new)} new")
    for title, changes in (("lowest", ordered[:3]), ("highest", ordered[-5:])):
        print(f"{title}:")
        for change in changes:
            print(f"  {change}")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", help="compare HEAD with this instead")
    parser.add_argument("--bench", nargs="*", default=BENCHMARKS, help="only these")
    parser.add_argument("--force", action="store_true", help="measure equal packages")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GateError as exc:
        print(f"gate: {exc}", file=sys.stderr)
        sys.exit(2)
