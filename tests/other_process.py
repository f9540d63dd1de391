"""Code in an interpreter of its own, which no switch of this one reaches."""

from __future__ import annotations

import os
import subprocess
import sys


def run(code: str, **environment: str) -> tuple[str, str]:
    """Return what it prints, and its warnings."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SAGE_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip(), done.stderr
