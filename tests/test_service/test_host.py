"""What the carriers of a service share."""

from __future__ import annotations

import dataclasses

import pytest

import sage
from sage.service import Clock, ServiceConfig
from sage.service.host import GENERIC_REFUSAL, Host


async def never(message):
    raise AssertionError(message)


def test_a_host_does_not_change(grace, resolver):
    host = Host(
        agent=grace,
        resolver=resolver,
        handler=never,
        guard=sage.MemoryReplayGuard(assume_no_history=True),
        config=ServiceConfig(),
        clock=Clock(),
    )
    assert host.stream_handler is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        host.agent = grace  # type: ignore[misc]


def test_a_refusal_says_nothing():
    assert GENERIC_REFUSAL == "refused"
