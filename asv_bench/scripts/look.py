"""Look at the published dashboard as a browser without a network does.

    python asv_bench/scripts/look.py [--commits 20] [--screenshot FILE]

Serves `asv_bench/html` on loopback and opens each kind of page in headless Chromium,
which can resolve no name. Fails on anything in the console, on a file that is not
there, and where a graph lacks a configuration or has fewer commits than asked for.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

from asv_tools import BENCH, CONFIGURATIONS

HTML = BENCH / "html"
BENCHMARK = "session.Records.time_seal_1000"
PAGES = ("", "summarylist", "regressions", BENCHMARK)
_CONSOLE = re.compile(r":CONSOLE[:(]\d+\)?\] \"(.*)\", source")


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files and remembers what was asked for, and what was not there."""

    asked: list[str]
    absent: list[str]

    def log_request(self, code: object = "-", size: object = "-") -> None:
        self.asked.append(self.path)
        if code not in (200, 304):
            self.absent.append(f"{self.path}: {code}")

    def log_message(self, *_: object) -> None:
        """Say nothing: what matters is in the lists."""


def browse(chromium: str, url: str, *options: str) -> list[str]:
    """Open a page, give its scripts a few seconds, return what its console says."""
    command = [
        chromium,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--window-size=1280,800",
        "--virtual-time-budget=8000",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--enable-logging=stderr",
        *options,
        url,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=True
    )
    return _CONSOLE.findall(done.stderr)


def history(asked: list[str]) -> dict[str, int]:
    """Return how many commits have a figure, by configuration, in the graphs drawn."""
    found = {}
    for path in asked:
        name = path.partition("?")[0]
        if name.startswith("/graphs/") and name.endswith(f"{BENCHMARK}.json"):
            ending = "1" if "SAGE_NO_EXTENSIONS-1" in name else ""
            points = json.loads((HTML / name[1:]).read_text())
            found[CONFIGURATIONS[f"SAGE_NO_EXTENSIONS{ending}"]] = len(points)
    return found


def main() -> int:
    """Return 0 where all pages are as they should be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commits", type=int, default=20)
    parser.add_argument("--screenshot", type=Path)
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("there is no Chromium", file=sys.stderr)
        return 2
    Handler.asked, Handler.absent = [], []
    serve = functools.partial(Handler, directory=str(HTML))
    faults = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for page in PAGES:
            extra = []
            if page == BENCHMARK and options.screenshot:
                extra = [f"--screenshot={options.screenshot.absolute()}"]
            url = f"http://127.0.0.1:{server.server_address[1]}/#{page}"
            faults += [f"#{page}: {text}" for text in browse(chromium, url, *extra)]
        server.shutdown()
    drawn = history(Handler.asked)
    faults += Handler.absent
    faults += [
        f"{name}: {drawn.get(name, 0)} commits"
        for name in CONFIGURATIONS.values()
        if drawn.get(name, 0) < options.commits
    ]
    print("\n".join(faults) or f"as it should be: {drawn}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
