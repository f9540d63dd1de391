"""Let the published dashboard load its scripts from beside it, not from elsewhere.

asv's page asks four servers for jQuery, flot, Bootstrap and more. They lie in
`asv_bench/vendor`; `vendor` copies them to the dashboard and rewrites the page. Where
the page states a digest, the copy is held against it. It fails when a script or style
sheet from elsewhere remains, as after an update of asv that wants a new one.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
from pathlib import Path

BENCH = Path(__file__).parents[1]
VENDOR = BENCH / "vendor"

# A name on those servers, and ours where it differs: npm has no minified flot, and
# another version of stupidtable, so there are no digests to compare.
OURS = {
    "jquery-3.3.1.min.js": "jquery.min.js",
    "jquery.flot.min.js": "jquery.flot.js",
    "jquery.flot.time.min.js": "jquery.flot.time.js",
    "jquery.flot.selection.min.js": "jquery.flot.selection.js",
    "jquery.flot.categories.min.js": "jquery.flot.categories.js",
}
OTHER_BUILDS = frozenset(OURS.values()) - {"jquery.min.js"} | {"stupidtable.min.js"}

_REMOTE = re.compile(r'<(?:script|link)\b[^>]*?(?:src|href)="(?:https?:)?//[^>]*>')
_ADDRESS = re.compile(r'\b(src|href)="((?:https?:)?//[^"]+)"')
_INTEGRITY = re.compile(r'\s+integrity="([^"]+)"')
_ORIGIN = re.compile(r'\s+(?:crossorigin|referrerpolicy)="[^"]*"')


class DashboardError(Exception):
    """The page wants something that is not here."""


def localise(page: str, vendor: Path) -> tuple[str, list[str]]:
    """Return the page with local addresses, and the files that it then loads.

    Raises:
        DashboardError: a file is missing, is not what the page expects, or something
            is still loaded from elsewhere.
    """
    used: list[str] = []

    def replace(match: re.Match[str]) -> str:
        tag = match[0]
        address = _ADDRESS.search(tag)
        assert address is not None  # both patterns look for it
        theirs = address[2].rpartition("/")[2]
        name = OURS.get(theirs, theirs)
        _check(vendor / name, _INTEGRITY.search(tag))
        used.append(name)
        tag = _ADDRESS.sub(rf'\1="vendor/{name}"', tag, count=1)
        return _ORIGIN.sub("", _INTEGRITY.sub("", tag))

    page = _REMOTE.sub(replace, page)
    left = _REMOTE.findall(page)
    if left:
        raise DashboardError(f"still loaded from elsewhere: {left}")
    return page, used


def _check(path: Path, integrity: re.Match[str] | None) -> None:
    if not path.is_file():
        raise DashboardError(f"{path.name} is not in {path.parent}")
    if integrity is None or path.name in OTHER_BUILDS:
        return
    algorithm, _, expected = integrity[1].partition("-")
    digest = hashlib.new(algorithm, path.read_bytes()).digest()
    if base64.b64encode(digest).decode() != expected:
        raise DashboardError(f"{path.name} is not what the page expects")


def vendor(html: Path) -> list[str]:
    """Rewrite a published page in place, and return what lies beside it now.

    Raises:
        DashboardError: as `localise`.
    """
    index = html / "index.html"
    page, used = localise(index.read_text(encoding="utf-8"), VENDOR)
    index.write_text(page, encoding="utf-8")
    (html / "vendor").mkdir(exist_ok=True)
    for name in used:
        shutil.copyfile(VENDOR / name, html / "vendor" / name)
    return used
