"""``sage info``: what runs here, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from . import facts

__all__ = ["info"]


def info(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what runs here: versions, which core and why, which extras."""
    print(facts.as_json() if as_json else facts.as_text())
