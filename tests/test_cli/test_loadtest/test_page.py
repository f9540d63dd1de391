from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

from sage.cli.loadtest.driver import Outcome
from sage.cli.loadtest.page import as_html
from sage.cli.loadtest.report import rows
from sage.cli.loadtest.tally import Tally


def test_the_page_needs_nothing_else(outcome: Outcome) -> None:
    page = as_html(outcome)
    assert page.startswith("<!DOCTYPE html>")
    assert "<script" not in page
    assert not re.search(r"(?:src|href|url|@import)\s*[=(]", page)
    assert "http://" not in page
    assert "https://" not in page
    assert "default-src 'none'" in page


def test_it_holds_the_table_and_three_plots(outcome: Outcome) -> None:
    page = as_html(outcome)
    for name, value in rows(outcome):
        assert name in page
        assert value in page
    pictures = re.findall(r"<svg.*?</svg>", page, re.S)
    assert len(pictures) == 3
    for picture in pictures:
        lines = ET.fromstring(picture).findall("polyline")
        assert any(line.attrib["points"] for line in lines)
    assert "99.9" in pictures[2]


def test_names_of_errors_are_escaped(outcome: Outcome) -> None:
    outcome.tally.errors["<script>alert(1)</script>"] = 1
    assert "<script" not in as_html(outcome)


def test_a_load_without_answers_still_has_a_page(outcome: Outcome) -> None:
    page = as_html(replace(outcome, tally=Tally(0, 1)))
    assert page.count("<svg") == 3


def test_idle_connections_have_no_plots(outcome: Outcome) -> None:
    page = as_html(replace(outcome, plan=replace(outcome.plan, idle=True)))
    assert "<svg" not in page
    assert "KiB a connection" in page
