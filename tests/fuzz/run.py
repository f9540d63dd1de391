"""Fuzz the compiled core for a while, and judge it: `make fuzz SECONDS=60`.

    python tests/fuzz/run.py --seconds 60 --engine cryptography

Builds the core with AddressSanitizer, UndefinedBehaviorSanitizer and coverage, lets
libFuzzer (through atheris) make up sequences of calls, and then runs the corpus again
to see whether anything is left behind. The corpus lies in ``build/fuzz/corpus`` and
grows from run to run; an input that failed lies beside it as ``crash-…``. One line
of JSON a run is added to ``build/fuzz/runs.jsonl``.

Exit status: 0 nothing found, 1 a crash, a difference or a leak.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from variants import HERE, ROOT, SANITIZED

BUILD = SANITIZED.folder
CORPUS = BUILD / "corpus"
SEEDS, SEED_MAX_BYTES = 200, 400
INPUT_MAX_BYTES = 800
INPUT_TIMEOUT_S = 300
LEAK_SHARE = 0.2  # of the time

ASAN = {
    "detect_leaks": "1",  # when asked; what CPython keeps at its end is no leak
    "leak_check_at_exit": "0",
    "allocator_may_return_null": "1",
    "detect_stack_use_after_return": "1",
    "quarantine_size_mb": "64",
    "malloc_context_size": "20",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--compiler", default=os.environ.get("FUZZ_CC", "clang"))
    parser.add_argument("--engine", default="", help="SAGE_ENGINE, if not the default")
    parser.add_argument("--show", nargs="*", default=[], help="run these inputs only")
    options = parser.parse_args()
    if not shutil.which(options.compiler):
        print("fuzzing needs clang: apt-get install clang", file=sys.stderr)
        return 1
    SANITIZED.build(options.compiler)
    plant()
    environment = surroundings(options.engine)
    if options.show:
        shown = run_target(environment, "show", *options.show)
        print(shown.output)
        return int(shown.status != 0)
    leak_s = max(int(options.seconds * LEAK_SHARE), 5)
    fuzzed = run_target(
        environment,
        "fuzz",
        f"-max_total_time={max(options.seconds - leak_s, 1)}",
        f"-max_len={INPUT_MAX_BYTES}",
        f"-timeout={INPUT_TIMEOUT_S}",
        f"-artifact_prefix={BUILD}/",
        *("-rss_limit_mb=4096", "-detect_leaks=0", "-print_final_stats=1"),
        *("-reload=0", str(CORPUS)),
    )
    environment["ASAN_OPTIONS"] += ":fast_unwind_on_malloc=0"  # whole stacks
    leaked = run_target(environment, "leaks", str(leak_s), str(CORPUS))
    return report(options, fuzzed, leaked)


def plant() -> None:
    """Begin a corpus with noise: every input is a sequence of calls."""
    CORPUS.mkdir(parents=True, exist_ok=True)
    if any(CORPUS.iterdir()):
        return
    chance = random.Random(1)
    for number in range(SEEDS):
        data = chance.randbytes(chance.randrange(8, SEED_MAX_BYTES))
        (CORPUS / f"seed-{number:03}").write_bytes(data)


def surroundings(engine: str) -> dict[str, str]:
    """Return the environment of the process that is fuzzed."""
    atheris = importlib.util.find_spec("atheris")
    if atheris is None or atheris.origin is None:
        sys.exit("fuzzing needs atheris: pip install atheris")
    runtime = Path(atheris.origin).parents[1] / "asan_with_fuzzer.so"
    return os.environ | {
        "LD_PRELOAD": str(runtime),
        "PYTHONPATH": f"{SANITIZED.site}{os.pathsep}{HERE}",
        "PYTHONMALLOC": "malloc",  # one block an object, with a red zone around it
        "PYTHONDONTWRITEBYTECODE": "1",
        "ASAN_OPTIONS": ":".join(f"{key}={value}" for key, value in ASAN.items()),
        "LSAN_OPTIONS": f"suppressions={HERE / 'lsan.supp'}:print_suppressions=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "SAGE_ENGINE": engine,
    }


class Finished:
    """What came of one process."""

    def __init__(
        self, status: int, output: str, seconds: float, cpu_seconds: float
    ) -> None:
        self.status, self.output = status, output
        self.seconds, self.cpu_seconds = seconds, cpu_seconds

    def last(self, pattern: str) -> int:
        found = re.findall(pattern, self.output)
        return int(found[-1]) if found else 0


def run_target(environment: dict[str, str], *arguments: str) -> Finished:
    """Run `target.py` to its end; what it says is kept in a file."""
    started, log = time.monotonic(), BUILD / f"{arguments[0]}.log"
    cpu_before = cpu_seconds()
    with log.open("w") as output:
        done = subprocess.run(
            [sys.executable, str(HERE / "target.py"), *arguments],
            env=environment,
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    text = log.read_text(errors="replace")
    seconds = time.monotonic() - started
    return Finished(done.returncode, text, seconds, cpu_seconds() - cpu_before)


def cpu_seconds() -> float:
    """Return what the processes used that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def report(options: argparse.Namespace, fuzzed: Finished, leaked: Finished) -> int:
    """Print and keep what there is to know of a run."""
    heaps = [int(size) for size in re.findall(r"heap: (\d+)", fuzzed.output)]
    facts = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "backend": (re.findall(r"backend: (.*)", fuzzed.output) or ["unknown"])[-1],
        "seconds": round(fuzzed.seconds),
        "cpu_seconds": round(fuzzed.cpu_seconds),
        "inputs": fuzzed.last(r"stat::number_of_executed_units:\s+(\d+)"),
        "edges": fuzzed.last(r"cov: (\d+)"),
        "features": fuzzed.last(r"ft: (\d+)"),
        "corpus": len(list(CORPUS.iterdir())),
        "peak_rss_mb": fuzzed.last(r"stat::peak_rss_mb:\s+(\d+)"),
        "heap_bytes": heaps,
        "leaks": (re.findall(r"leaks: (.*)", leaked.output) or ["none counted"])[-1],
        "lost": bool(leaked.last(r"lost: (\d+)")),
        "failed": [
            name
            for name, one in (("fuzz", fuzzed), ("leaks", leaked))
            if one.status != 0
        ],
    }
    with (BUILD / "runs.jsonl").open("a") as runs:
        runs.write(json.dumps(facts) + "\n")
    for name, value in facts.items():
        print(f"{name:12} {value}")
    for name, one in (("fuzz", fuzzed), ("leaks", leaked)):
        if one.status:
            print(f"--- the end of build/fuzz/{name}.log:\n{one.output[-6000:]}")
    return 1 if facts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
