"""The scripts around asv are no package: they import each other by name."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "asv_bench" / "scripts"))
