"""Variants of the compiled core, built beside the normal one.

Each has a folder below ``build``, and in it ``site``: a copy of the package with its
extension module, to be put first on the path. Nothing is compiled again that did not
change.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

__all__ = ["HERE", "MEMCHECK", "ROOT", "SANITIZED", "Variant"]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@dataclass(frozen=True)
class Variant:
    """How to compile, and where to."""

    name: str
    flags: tuple[str, ...]
    modules: tuple[tuple[str, Path], ...]

    @property
    def folder(self) -> Path:
        return ROOT / "build" / self.name

    @property
    def site(self) -> Path:
        return self.folder / "site"

    def build(self, compiler: str) -> None:
        """Bring the site up to date with the sources."""
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.site, ignore_errors=True)
        ignored = shutil.ignore_patterns("*.so", "*.pyd", "_core.c", "__pycache__")
        shutil.copytree(ROOT / "sage", self.site / "sage", ignore=ignored)
        for name, source in self.modules:
            self._extension(compiler, name, source)

    def _extension(self, compiler: str, name: str, source: Path) -> None:
        """Compile one module, unless its source is what it was."""
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        made, note = self.folder / f"{name}{suffix}", self.folder / f"{name}.source"
        sources = [source, *sorted(source.parent.glob("*.px[di]"))]
        texts = [one.read_text() for one in sources]
        wanted = "\n".join((compiler, *self.flags, *texts))
        if not made.exists() or not note.exists() or note.read_text() != wanted:
            print(f"compiling {name} for {self.name}", flush=True)
            c_file = self.folder / f"{name}.c"
            run(sys.executable, "-m", "cython", "-3", str(source), "-o", str(c_file))
            include = f"-I{sysconfig.get_path('include')}"
            run(compiler, *self.flags, include, str(c_file), "-o", str(made))
            note.write_text(wanted)
        shutil.copyfile(made, self.site / f"{name.replace('.', '/')}{suffix}")


def run(*command: str) -> None:
    subprocess.run(command, check=True, cwd=ROOT)


_COMMON = ("-shared", "-fPIC", "-g", "-O1", "-fno-omit-frame-pointer")
_CORE = ("sage._core", ROOT / "sage" / "_core.pyx")
SANITIZED = Variant(
    "fuzz",
    (
        *_COMMON,
        "-fsanitize=address,undefined,fuzzer-no-link",
        "-fno-sanitize-recover=undefined",  # a report ends the process, as others do
        f"-fsanitize-ignorelist={HERE / 'ignored.txt'}",
    ),
    (_CORE, ("exporter", HERE / "exporter.pyx")),
)
MEMCHECK = Variant("memcheck", _COMMON, (_CORE,))
