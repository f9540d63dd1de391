"""The dashboard's page loads nothing from elsewhere, or the script fails."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from vendor_dashboard import VENDOR, DashboardError, localise, vendor

SCRIPT = (
    '<script src="https://cdn.example/npm/thing@1/{name}" integrity="{digest}"'
    ' crossorigin="anonymous" onerror="js_load_failure()"></script>'
)


def digest(data: bytes, algorithm: str = "sha256") -> str:
    hashed = hashlib.new(algorithm, data).digest()
    return f"{algorithm}-{base64.b64encode(hashed).decode()}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "md5.min.js").write_bytes(b"md5")
    (tmp_path / "jquery.flot.js").write_bytes(b"flot")
    return tmp_path


def test_a_script_comes_from_beside_the_page(folder: Path) -> None:
    page, used = localise(
        SCRIPT.format(name="md5.min.js", digest=digest(b"md5", "sha512")), folder
    )
    assert page == (
        '<script src="vendor/md5.min.js" onerror="js_load_failure()"></script>'
    )
    assert used == ["md5.min.js"]


def test_a_style_sheet_does_as_well(folder: Path) -> None:
    (folder / "bootstrap.min.css").write_bytes(b"css")
    tag = '<link rel="stylesheet" href="//cdn.example/css/bootstrap.min.css">'
    page, _ = localise(tag, folder)
    assert page == '<link rel="stylesheet" href="vendor/bootstrap.min.css">'


def test_links_and_local_scripts_stay(folder: Path) -> None:
    page = '<a href="https://github.com/x">x</a><script src="asv.js"></script>'
    assert localise(page, folder) == (page, [])


def test_another_build_has_no_digest_to_compare(folder: Path) -> None:
    tag = SCRIPT.format(name="jquery.flot.min.js", digest=digest(b"minified"))
    assert localise(tag, folder)[1] == ["jquery.flot.js"]


def test_another_file_than_the_page_expects_is_refused(folder: Path) -> None:
    tag = SCRIPT.format(name="md5.min.js", digest=digest(b"newer"))
    with pytest.raises(DashboardError, match="not what the page expects"):
        localise(tag, folder)


def test_a_script_that_we_do_not_have_is_refused(folder: Path) -> None:
    tag = SCRIPT.format(name="new.js", digest=digest(b""))
    with pytest.raises(DashboardError, match=r"new\.js is not in"):
        localise(tag, folder)


def test_asv_s_own_page_is_served_whole(tmp_path: Path) -> None:
    asv = pytest.importorskip("asv", reason="the dashboard's page is asv's")
    page = (Path(asv.__file__).parent / "www" / "index.html").read_text()
    (tmp_path / "index.html").write_text(page)
    used = vendor(tmp_path)
    assert len(used) == len(set(used)) == 10
    left = (tmp_path / "index.html").read_text()
    assert 'src="http' not in left
    assert {path.name for path in (tmp_path / "vendor").iterdir()} == set(used)


def test_every_vendored_file_is_named_with_its_licence() -> None:
    listed = (VENDOR / "README.md").read_text()
    files = {p.name for p in VENDOR.iterdir() if p.suffix in {".js", ".css"}}
    flot = {n for n in files if n.startswith("jquery.flot.") and "orderBars" not in n}
    assert all(f"`{name}`" in listed for name in files - flot)
    assert len(list((VENDOR / "licences").iterdir())) == 6
