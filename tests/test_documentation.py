"""What the documents say about files, commands and names is true."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PAGES = [page for page in PAGES if "_build" not in page.parts]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)


def test_the_pages_are_there() -> None:
    names = {name_of(page) for page in PAGES}
    assert {"README.md", "SECURITY.md", "docs/index.md"} <= names
    assert len(names) > 20


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_are_targets_of_the_makefile(page: Path) -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.M)
    assert "test" in targets
    used = re.findall(r"(?:^    |`)make ([a-z-]+)", page.read_text(), re.M)
    assert set(used) <= set(targets)


@pytest.mark.parametrize("page", [p for p in PAGES if python_blocks(p)], ids=name_of)
def test_every_name_that_code_uses_exists(page: Path) -> None:
    """Code that no doctest runs at least imports, and names what there is."""
    for block in python_blocks(page):
        lines = []
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                lines.append(ast.unparse(node))
            elif (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "sage"
            ):
                lines.append(f"import sage; sage.{node.attr}")
        subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, cwd=ROOT)


def test_the_readmes_example_runs(tmp_path: Path) -> None:
    (block,) = python_blocks(ROOT / "README.md")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", block],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "b'HELLO'\n"


def test_the_environment_switches_are_documented() -> None:
    text = (ROOT / "docs/howto/install.md").read_text()
    for switch in ("SAGE_NO_EXTENSIONS", "SAGE_REQUIRE_EXTENSIONS"):
        assert switch in text


def test_the_reference_names_every_everyday_name_and_no_other() -> None:
    import sage

    page = (ROOT / "docs/reference/sage.md").read_text()
    rows = re.findall(r"^\| (`[^|]*) \|", page, re.M)
    names = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(names) == sorted(sage.__all__)


def extras() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return set(project["optional-dependencies"])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_extras_that_a_page_installs_exist(page: Path) -> None:
    for names in re.findall(r"'(?:\.|sage-secure)\[([\w,]+)\]'", page.read_text()):
        assert set(names.split(",")) <= extras()


def test_the_guide_lists_every_extra() -> None:
    page = (ROOT / "docs/howto/install.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \|", page, re.M)
    assert set(listed) == extras() - {"test", "lint", "docs", "bench", "fuzz", "dev"}


@pytest.mark.parametrize("name", ["README.md", "docs/howto/install.md"])
def test_what_is_not_released_is_installed_from_a_clone(name: str) -> None:
    """Whoever releases it adds what installs it from an index, and drops this."""
    assert "(unreleased)" in (ROOT / "CHANGELOG.md").read_text()
    page = (ROOT / name).read_text()
    commands = re.findall(r"^    (?:SAGE_\S+ )?(pip install .*)$", page, re.M)
    first = commands[0]
    assert first.split("#")[0].split() == ["pip", "install", "."]
    assert not [line for line in commands if "sage-secure" in line]
    assert "no package index" in " ".join(page.split())


def test_no_limit_of_the_documents_is_made_up() -> None:
    """Numbers that the explanations repeat are those of the code."""
    from sage import limits

    said = (ROOT / "docs/reference/protocol.md").read_text()
    for sentence in (
        f"{limits.SESSION_MAX_RECORDS:,} records",
        f"{limits.SESSION_MAX_AGE_S:,.0f} seconds",
        f"{limits.SESSION_IDLE_S:.0f} idle seconds",
        f"every {limits.GENERATION_RECORDS}\nrecords",
        f"after {limits.HANDSHAKE_PENDING_S:.0f} seconds",
    ):
        assert sentence in said, sentence
