"""Install what the commit at hand needs with all its extras, where that is new.

asv runs this with its environment's Python after each installation of a wheel. Asking
pip takes seconds, and when two commits take turns they are asked for again and again.

    python install_extras.py WHEEL
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Ask pip, unless it was asked for the same requirements before."""
    requirements = sorted(importlib.metadata.requires("sage-secure") or [])
    digest = hashlib.sha256("\n".join(requirements).encode()).hexdigest()
    stamp = Path(sys.prefix, f"extras-{digest[:16]}")
    if stamp.exists():
        return 0
    pip = [sys.executable, "-m", "pip", "install", f"{sys.argv[1]}[all]"]
    if code := subprocess.run(pip, check=False).returncode:
        return code
    stamp.touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
