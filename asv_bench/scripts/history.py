"""Measure the commits that changed the package and have no results yet.

    python asv_bench/scripts/history.py --commits 20

Today's benchmarks run on each commit, newest first; what a commit did not have yet is
marked as not available. Results are written after each commit and configuration, so
this can be stopped at any time and goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
import time

from asv_tools import (
    CONFIGURATIONS,
    MACHINE,
    RESULTS,
    commits_of_sage,
    expected_keys,
    git,
    read_commit,
    result_files,
    run_asv,
)

# What old commits are measured by, a few of each room: a minute and not five. What
# waits for sockets, fills tables or works in other libraries is left to `make bench`.
CORE = (
    r"^ratios\.(Records|Beginning)\.",
    r"^session\.Records\.",
    r"^sessions\.(Sessions\.|Weight\.track_object)",
    r"^handshake\.Whole\.",
    r"^envelope\.Envelope\.",
    r"^encoding\.Json\.",
    r"^identity\.Records\.",
    r"^wire\.Handshake\.",
)


def main() -> int:
    """Fill the gaps and say how many commits could not be measured."""
    options = parse()
    newest = commits_of_sage(options.commits, options.revision)
    commits = [*newest, *(git("rev-parse", name) for name in options.also)]
    missing = [
        commit
        for commit in dict.fromkeys(commits)
        if options.again or not is_measured(commit, options)
    ]
    print(f"{len(missing)} of {len(commits)} commits to measure", flush=True)
    missing = missing[: options.limit]
    failed = 0
    for number, commit in enumerate(missing, 1):
        title = git("log", "-1", "--format=%h %s", commit)
        print(f"== {number}/{len(missing)} {title}", flush=True)
        started = time.monotonic()
        measure(commit, options)
        if not is_measured(commit, options):
            failed += 1
            print(f"== no results for {title}", file=sys.stderr)
        print(f"== {time.monotonic() - started:.0f} s", flush=True)
    return 1 if failed else 0


def is_measured(commit: str, options: argparse.Namespace) -> bool:
    """Whether both configurations have results of all benchmarks that are asked for.

    A failure or "not available" is a result: it would be the same again.
    """
    files = result_files(RESULTS, options.machine, commit)
    if len(files) < len(CONFIGURATIONS) or not (RESULTS / "benchmarks.json").exists():
        return False
    wanted = {
        (key.benchmark, key.configuration)
        for key in expected_keys(RESULTS, options.bench)
    }
    measured = read_commit(RESULTS, options.machine, commit)
    return wanted <= {(key.benchmark, key.configuration) for key in measured}


def measure(commit: str, options: argparse.Namespace) -> None:
    """Run asv on one commit; what it has already is not run again."""
    run_asv(
        "run",
        f"{commit}^!",
        *([] if options.again else ["--skip-existing"]),
        *(f"--bench={pattern}" for pattern in options.bench),
        *([f"--attribute=rounds={options.rounds}"] if options.rounds else []),
        machine=options.machine,
    )


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commits", type=int, default=20, help="how many of main")
    parser.add_argument("--revision", default="HEAD", help="the newest of them")
    parser.add_argument("--limit", type=int, help="stop after so many")
    parser.add_argument("--also", nargs="*", default=[], help="and these")
    parser.add_argument(
        "--bench", nargs="*", default=CORE, help="only these benchmarks"
    )
    parser.add_argument("--all", dest="bench", action="store_const", const=(".",))
    parser.add_argument("--rounds", type=int, default=1, help="0 for each one's own")
    parser.add_argument("--again", action="store_true", help="measured ones as well")
    parser.add_argument("--machine", default=MACHINE)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
