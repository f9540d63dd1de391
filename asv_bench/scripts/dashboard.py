"""Publish all results to asv_bench/html, with every script beside the page."""

from __future__ import annotations

import sys

from asv_tools import BENCH, run_asv
from vendor_dashboard import DashboardError, vendor


def main() -> int:
    """Return 0 when the dashboard is there and whole."""
    if code := run_asv("publish"):
        return code
    html = BENCH / "html"
    try:
        used = vendor(html)
    except DashboardError as exc:
        print(f"dashboard: {exc}", file=sys.stderr)
        return 1
    print(f"{html / 'index.html'}: {len(used)} files beside it, none from elsewhere")
    print(f"python -m http.server --directory {html.relative_to(BENCH.parent)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
