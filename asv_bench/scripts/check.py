"""Run every benchmark once in this very environment, to see that all of them run.

Nothing is stored. What is not available counts as a failure here: today's package lacks
nothing that its benchmarks ask for.
"""

from __future__ import annotations

import os
import sys

from asv_tools import MACHINE, git, run_asv


def main() -> int:
    """Return asv's exit code, which is not 0 where a benchmark failed."""
    return run_asv(
        "run",
        "-E",
        f"existing:{sys.executable}",
        "--set-commit-hash",
        git("rev-parse", "HEAD"),
        "--quick",
        "--dry-run",
        "--show-stderr",
        machine=MACHINE,
        environment=os.environ | {"SAGE_BENCH_STRICT": "1"},
    )


if __name__ == "__main__":
    sys.exit(main())
