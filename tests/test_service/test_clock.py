"""Time is an argument."""

from __future__ import annotations

import time

from sage.service import Clock


def test_the_system_clocks_by_default():
    clock = Clock()
    assert abs(clock.now() - time.monotonic()) < 1
    assert abs(clock.unix_time() - time.time()) <= 1


def test_clocks_can_be_held():
    clock = Clock(monotonic=lambda: 1.5, wall=lambda: 99.9)
    assert clock.now() == 1.5
    assert clock.unix_time() == 99
