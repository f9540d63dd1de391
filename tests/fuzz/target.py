"""The process that is fuzzed: `run.py` starts it, under AddressSanitizer.

target.py fuzz LIBFUZZER-OPTIONS CORPUS    look for inputs that fail
target.py leaks SECONDS CORPUS             run each input again and again, and see
                                           whether the heap is what it was
target.py show FILE...                     run inputs, and say what they do
"""

from __future__ import annotations

import ctypes
import gc
import random
import sys
import time
from pathlib import Path

sys.setswitchinterval(1e-5)  # before anything races

from differential import (  # noqa: E402
    compiled,
    run_input,
    run_one,
    steps_of,
)
from variants import SANITIZED  # noqa: E402

from sage._accel import backend  # noqa: E402

HEAP_EVERY_S = 20
WARM_UP_RUNS, MEASURED_RUNS = (2, 500), 8
SMALLEST_LEAK_BYTES = 16

_process = ctypes.CDLL(None)
_process.__sanitizer_get_current_allocated_bytes.restype = ctypes.c_size_t


def heap_bytes() -> int:
    """Return what is allocated and not freed, all libraries together."""
    gc.collect()
    return int(_process.__sanitizer_get_current_allocated_bytes())


class Fuzzed:
    """What libFuzzer calls; now and then it notes the size of the heap."""

    def __init__(self) -> None:
        self.inputs = 0
        self.noted = time.monotonic()

    def __call__(self, data: bytes) -> None:
        self.inputs += 1
        run_input(data)
        if time.monotonic() - self.noted > HEAP_EVERY_S:
            self.noted = time.monotonic()
            print(f"heap: {heap_bytes()} after {self.inputs} inputs", file=sys.stderr)


def fuzz(arguments: list[str]) -> None:
    import atheris  # type: ignore[import-untyped]

    atheris.Setup([sys.argv[0], *arguments], Fuzzed())
    atheris.Fuzz()


def grows_each_time(data: bytes, warm_up: int) -> bool:
    """Return whether every single run of an input leaves something behind."""
    for _ in range(warm_up):
        run_one(data)
    before = heap_bytes()
    for _ in range(MEASURED_RUNS):
        run_one(data)
        now = heap_bytes()
        if now - before < SMALLEST_LEAK_BYTES:
            return False
        before = now
    return True


def is_leak(data: bytes) -> bool:
    """Return whether an input still leaves something when all caches are full."""
    return all(grows_each_time(data, warm_up) for warm_up in WARM_UP_RUNS)


def leaks(seconds: float, corpus: Path) -> int:
    """Look for inputs that leave something behind each time that they run."""
    inputs, found, done = sorted(corpus.iterdir()), [], 0
    gc.collect()
    gc.freeze()  # what is there already need not be looked at each time
    ends = time.monotonic() + seconds
    random.shuffle(inputs)
    while done < len(inputs) and time.monotonic() < ends:
        path = inputs[done]
        if is_leak(path.read_bytes()):
            found.append(path)
            print(f"leak: {path}")
        done += 1
    print(f"leaks: {done} inputs of {len(inputs)}, {len(found)} leak", flush=True)
    return len(found)


def show(paths: list[str]) -> None:
    for path in paths:
        data = Path(path).read_bytes()
        for number, step in enumerate(steps_of(data)):
            print(f"{number:3} {step}", flush=True)
        run_input(data)


def lost() -> int:
    """Return whether there is memory that nothing leads to.

    To be asked outside of functions: the checker does not see what their variables
    hold, because CPython keeps those in memory of its own.
    """
    return int(_process.__lsan_do_recoverable_leak_check())


if __name__ == "__main__":
    if not Path(str(compiled.__file__)).is_relative_to(SANITIZED.site):
        sys.exit(f"this is not the core with sanitizers: {compiled.__file__}")
    print(f"backend: {backend()}", flush=True)
    if sys.argv[1] == "fuzz":
        fuzz(sys.argv[2:])
    elif sys.argv[1] == "leaks":
        leaking = leaks(float(sys.argv[2]), Path(sys.argv[3]))
        losing = lost()
        print(f"lost: {losing}")
        sys.exit(bool(leaking or losing))
    else:
        show(sys.argv[2:])
