"""Limits that cannot work are refused when they are written down."""

from __future__ import annotations

import dataclasses

import pytest

from sage.errors import UsageError
from sage.service import ClientConfig, ServiceConfig


@pytest.mark.parametrize("kind", [ClientConfig, ServiceConfig])
def test_defaults_are_valid_and_frozen(kind):
    config = kind()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.envelope_ttl_s = 1


@pytest.mark.parametrize("kind", [ClientConfig, ServiceConfig])
def test_numbers_must_be_positive(kind):
    for field in dataclasses.fields(kind):
        if isinstance(field.default, int | float):
            for bad in (0, -1, float("nan"), "1", None, True):
                with pytest.raises(UsageError):
                    kind(**{field.name: bad})


@pytest.mark.parametrize("ttl", [0, 301, 1.5, True])
def test_an_envelope_lives_1_to_300_whole_seconds(ttl):
    with pytest.raises(UsageError):
        ClientConfig(envelope_ttl_s=ttl)


@pytest.mark.parametrize("kind", [ClientConfig, ServiceConfig])
def test_compression_is_off_and_names_what_there_is(kind):
    assert kind().compression == ()
    assert kind(compression=("gzip", "zstd")).compression == ("gzip", "zstd")
    for wrong in ("gzip", ("br",), ("gzip", "gzip"), (1,), None, 1):
        with pytest.raises(UsageError):
            kind(compression=wrong)


def test_one_text_is_not_the_origins():
    with pytest.raises(UsageError, match="not one text"):
        ServiceConfig(allowed_origins="https://agents.example")


@pytest.mark.parametrize(
    "wrong",
    [
        {"allowed_origins": ["https://agents.example"]},
        {"allowed_origins": None},
        {"allowed_origins": frozenset({b"https://agents.example"})},
        {"https_endpoints": None},
        {"https_endpoints": 1},
        {"https_endpoints": "https://agents.example/sage"},
        {"https_endpoints": frozenset({1})},
        {"path": None},
        {"path": b"/sage"},
    ],
)
def test_what_no_request_could_be_held_against(wrong):
    """It would fail at each request, or refuse every one, and not say why."""
    with pytest.raises(UsageError):
        ServiceConfig(**wrong)


def test_the_limits_of_https_are_their_own_kind():
    with pytest.raises(UsageError, match="HttpsPoolConfig"):
        ClientConfig(https=None)
