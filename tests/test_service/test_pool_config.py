"""What can be set about a pool."""

from __future__ import annotations

import dataclasses

import pytest

from sage.errors import UsageError
from sage.service import ChannelPoolConfig


@pytest.mark.parametrize(
    "name", [field.name for field in dataclasses.fields(ChannelPoolConfig)]
)
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_every_bound_is_positive(name, value):
    with pytest.raises(UsageError, match=name):
        ChannelPoolConfig(**{name: value})


def test_a_configuration_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ChannelPoolConfig().max_channels = 2  # type: ignore[misc]
