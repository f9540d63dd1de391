"""Compile the core with sanitizers and coverage, beside the normal one.

All of it goes to ``build/fuzz/site``: a copy of the package, and the two extension
modules. Nothing is compiled again that did not change.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

__all__ = ["BUILD", "ROOT", "SITE", "build"]

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "fuzz"
SITE = BUILD / "site"
FLAGS = (
    *("-shared", "-fPIC", "-g", "-O1", "-fno-omit-frame-pointer"),
    # A report of undefined behaviour ends the process, as any other does.
    *("-fsanitize=address,undefined,fuzzer-no-link", "-fno-sanitize-recover=undefined"),
)


def build(compiler: str) -> None:
    """Bring ``SITE`` up to date with the sources."""
    SITE.mkdir(parents=True, exist_ok=True)
    ignored = shutil.ignore_patterns("*.so", "*.pyd", "_core.c", "__pycache__")
    shutil.rmtree(SITE / "sage", ignore_errors=True)
    shutil.copytree(ROOT / "sage", SITE / "sage", ignore=ignored)
    extension(compiler, ROOT / "sage" / "_core.pyx", "sage._core")
    extension(compiler, Path(__file__).with_name("exporter.pyx"), "exporter")


def extension(compiler: str, source: Path, name: str) -> None:
    """Compile one module, unless its source is what it was."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    made = BUILD / f"{name}{suffix}"
    note = BUILD / f"{name}.source"
    wanted = "\n".join((compiler, *FLAGS, source.read_text()))
    if not made.exists() or not note.exists() or note.read_text() != wanted:
        print(f"compiling {name} with sanitizers", flush=True)
        c_file = BUILD / f"{name}.c"
        run(sys.executable, "-m", "cython", "-3", str(source), "-o", str(c_file))
        include = sysconfig.get_path("include")
        run(compiler, *FLAGS, f"-I{include}", str(c_file), "-o", str(made))
        note.write_text(wanted)
    shutil.copyfile(made, SITE / f"{name.replace('.', '/')}{suffix}")


def run(*command: str) -> None:
    subprocess.run(command, check=True, cwd=ROOT)
