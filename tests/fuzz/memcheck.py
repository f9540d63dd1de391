"""Run the unit tests of the core under valgrind, and judge it: `make valgrind`.

    python tests/fuzz/memcheck.py [PYTEST-ARGUMENTS]

The core is compiled with debug information, beside the normal one. What counts is an
error, or memory that nothing leads to any more, with the core anywhere in one of its
stacks: where it happened, or where the memory was allocated. What CPython and the
libraries do among themselves is theirs.

Exit status: 0 clean, 1 not, or a test failed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

from variants import HERE, MEMCHECK, ROOT

REPORT = MEMCHECK.folder / "report.xml"
TESTS = "tests/test_core"
SHOWN_FRAMES = 14
IMPORTING = ("__Pyx_Import", "__Pyx__Import")  # the innermost function of the core
VALGRIND = (
    "valgrind",
    "--xml=yes",
    f"--xml-file={REPORT}",
    "--child-silent-after-fork=yes",
    "--leak-check=full",
    "--show-leak-kinds=definite",
    "--track-origins=yes",
    "--num-callers=50",
    "--error-limit=no",
    "--keep-debuginfo=yes",
)


def main() -> int:
    if not shutil.which("valgrind"):
        print("this needs valgrind: apt-get install valgrind", file=sys.stderr)
        return 1
    MEMCHECK.build(os.environ.get("CC") or "cc")
    started = time.monotonic()
    tests = subprocess.run(
        [
            *(*VALGRIND, sys.executable, "-P", "-m", "pytest"),
            *("-q", "-p", "memcheck_plugin", "-p", "no:cacheprovider"),
            *(sys.argv[1:] or [TESTS]),
        ],
        cwd=ROOT,
        env=os.environ
        | {
            "PYTHONPATH": f"{MEMCHECK.site}{os.pathsep}{HERE}",
            "PYTHONMALLOC": "malloc",  # valgrind sees no block of CPython's own pools
            "PYTHONDONTWRITEBYTECODE": "1",
            "SAGE_REQUIRE_EXTENSIONS": "1",
        },
        check=False,
    )
    errors = list(ElementTree.parse(REPORT).iter("error"))
    ours = [error for error in errors if is_ours(error)]
    for error in ours:
        show(error)
    print(
        f"valgrind: {len(ours)} reports through the core, "
        f"{len(errors) - len(ours)} of others, {time.monotonic() - started:.0f} s; "
        f"tests {'passed' if tests.returncode == 0 else 'FAILED'}"
    )
    return 1 if ours or tests.returncode else 0


def is_ours(error: ElementTree.Element) -> bool:
    """Return whether a stack of an error leads through the core.

    Where the core imports another module, what that one does is its own.
    """
    return any(leads_through(stack) for stack in error.iter("stack"))


def leads_through(stack: ElementTree.Element) -> bool:
    names = [
        frame.findtext("fn") or ""
        for frame in stack.iter("frame")
        if Path(frame.findtext("obj") or "").name.startswith("_core.")
    ]
    return bool(names) and not names[0].startswith(IMPORTING)


def show(error: ElementTree.Element) -> None:
    print(
        error.findtext("kind"), error.findtext("what") or error.findtext("xwhat/text")
    )
    for stack in error.iter("stack"):
        for frame in list(stack.iter("frame"))[:SHOWN_FRAMES]:
            where = frame.findtext("file") or frame.findtext("obj") or ""
            name = frame.findtext("fn", frame.findtext("ip", ""))
            print(f"    {name} ({Path(where).name}:{frame.findtext('line', '')})")
        print("    --")


if __name__ == "__main__":
    sys.exit(main())
