from __future__ import annotations

import math
from dataclasses import replace

import pytest

from sage.cli.loadtest.plan import Mode, Plan
from sage.errors import UsageError


def test_a_rate_makes_the_loop_open(plan: Plan) -> None:
    assert not plan.is_open_loop
    assert replace(plan, rate=0.5).is_open_loop
    assert not replace(plan, rate=5, idle=True).is_open_loop


@pytest.mark.parametrize(
    ("mode", "largest"),
    [(Mode.REQUEST, 8_388_572), (Mode.HTTP, 8_388_572), (Mode.STREAM, 1024 * 1024)],
)
def test_a_message_has_a_size(plan: Plan, mode: Mode, largest: int) -> None:
    assert replace(plan, mode=mode, size=largest).size == largest
    for size in (0, largest + 1):
        with pytest.raises(UsageError, match=f"a {mode} message is 1..{largest} bytes"):
            replace(plan, mode=mode, size=size)


@pytest.mark.parametrize(
    "changes",
    [
        {"duration_s": 0},
        {"duration_s": -1},
        {"duration_s": math.nan},
        {"duration_s": math.inf},
        {"warm_up_s": -1},
        {"warm_up_s": math.nan},
        {"rate": -1},
        {"rate": math.nan},
        {"rate": math.inf},
        {"rate": 1e300},
        {"rate": 1_000_001},
        {"duration_s": 1e-300},
        {"in_flight": 16_385},
        {"connections": 0},
        {"in_flight": 0},
    ],
    ids=str,
)
def test_nothing_else_is_run(plan: Plan, changes: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        replace(plan, **changes)
