"""The compiled core. Everything else about the package is in pyproject.toml.

SAGE_REQUIRE_EXTENSIONS=1   a failed compilation fails the build
SAGE_NO_EXTENSIONS=1        nothing is compiled; the wheel is pure
neither                     compiled where a compiler works, else the pure twin
"""

import os
import platform
import sys

from setuptools import Extension, setup


def switch(name: str) -> bool:
    """Read an environment switch; anything but 0, 1 or nothing is a mistake."""
    value = os.environ.get(name, "")
    if value not in ("", "0", "1"):
        sys.exit(f"{name} must be 0 or 1, not {value!r}")
    return value == "1"


def extensions(*, required: bool) -> list[Extension]:
    """Return the compiled core, or nothing where Cython is absent."""
    try:
        from Cython.Build import cythonize
    except ModuleNotFoundError:
        if required:
            raise
        return []
    args = [] if platform.system() == "Windows" else ["-O3", "-g0"]
    core = Extension(
        "sage._core",
        ["sage/_core.pyx"],
        extra_compile_args=args,
    )
    compiled = list(cythonize([core], compiler_directives={"language_level": 3}))
    for extension in compiled:  # cythonize makes new ones and forgets this
        extension.optional = not required
    return compiled


require, skip = switch("SAGE_REQUIRE_EXTENSIONS"), switch("SAGE_NO_EXTENSIONS")
if require and skip:
    sys.exit("SAGE_REQUIRE_EXTENSIONS and SAGE_NO_EXTENSIONS exclude each other")

setup(ext_modules=[] if skip else extensions(required=require))
