from __future__ import annotations

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage._accel import backend
from sage.cli.loadtest.usage import Usage, own_usage

USAGES = st.builds(
    Usage,
    cpu_s=st.floats(0, 1e9),
    rss_bytes=st.integers(0, 2**50),
    core=st.text(max_size=40),
)


def test_a_process_knows_what_it_uses() -> None:
    before = own_usage()
    while time.process_time() < before.cpu_s + 0.02:
        pass
    after = own_usage()
    assert after.cpu_s >= before.cpu_s + 0.02
    assert after.core.startswith(backend()["core"])
    if os.path.exists("/proc/self/status"):
        assert 1 << 20 < after.rss_bytes < 1 << 40


@given(USAGES)
def test_what_is_encoded_is_decoded(usage: Usage) -> None:
    assert Usage.decode(usage.encode()) == usage


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"sage-loadtest/usage@1",
        b"[]",
        b"{}",
        b'{"cpu_s":"1","rss_bytes":1,"core":"x"}',
        b'{"cpu_s":1,"rss_bytes":1.5,"core":"x"}',
        b'{"cpu_s":1,"rss_bytes":1,"core":null}',
        b'{"cpu_s":1,"rss_bytes":1,"core":"x","more":1}',
    ],
)
def test_another_answer_says_nothing(answer: bytes) -> None:
    assert Usage.decode(answer) is None


@given(st.binary(max_size=64))
def test_any_bytes_are_an_answer_or_none(answer: bytes) -> None:
    assert Usage.decode(answer) is None
