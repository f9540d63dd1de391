from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from sage.cli import facts

from . import conftest


def test_it_prints_the_facts(run: Callable[..., Any]) -> None:
    assert run("info").out == facts.as_text() + "\n"
    assert json.loads(run("info", "--json").out) == facts.collect()


def test_it_tells_the_pure_twin_and_why() -> None:
    done = conftest.run_process("info", "--json", env=conftest.pure(os.environ))
    found = json.loads(done.stdout)
    assert found["core"] == "python"
    assert "SAGE_NO_EXTENSIONS" in found["reason"]


@pytest.mark.parametrize(
    ("name", "value"), [("SAGE_ENGINE", "foo"), ("SAGE_NO_EXTENSIONS", "2")]
)
def test_a_switch_that_is_none(name: str, value: str) -> None:
    done = conftest.run_process("info", env=os.environ | {name: value})
    assert done.returncode == 3
    assert done.stdout == ""
    assert name in conftest.one_line(done)
