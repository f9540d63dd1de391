"""Policies: safe unless something weaker is asked for by name."""

from __future__ import annotations

from typing import Any

import pytest

from sage.errors import UsageError
from sage.http import GENERAL, V10, Policy


def test_the_default_is_the_safe_one() -> None:
    policy = Policy()
    assert policy.profile is GENERAL
    assert policy.require_created
    assert policy.require_expires
    assert policy.require_nonce
    assert policy.require_keyid
    assert policy.require_digest
    assert policy.require_request
    assert (policy.max_age_s, policy.skew_s) == (300, 30)
    assert (policy.label, policy.allow_other_signatures) == ("sig1", False)
    assert not policy.allow_repeated_fields
    assert policy.max_content_bytes == 16 * 1024 * 1024
    assert "rsa-v1_5-sha256" not in policy.accepted_algorithms
    assert "es256k" not in policy.accepted_algorithms


def test_weaker_ones_are_named() -> None:
    policy = Policy(algorithms=frozenset({"rsa-v1_5-sha256"}))
    assert policy.accepted_algorithms == {"rsa-v1_5-sha256"}
    weaker = policy.replace(require_nonce=False)
    assert (weaker.require_nonce, weaker.algorithms) == (False, policy.algorithms)


def test_v10() -> None:
    policy = Policy.v10("https://a.example/sage")
    assert policy.profile is V10
    assert policy.target_uris == {"https://a.example/sage"}
    assert policy.accepted_algorithms == V10.algorithms
    assert Policy.v10().target_uris is None
    # Its situation may be told.
    policy.replace(authorities=frozenset({"a.example"}), max_content_bytes=1024)


@pytest.mark.parametrize(
    "weaker",
    [
        {"algorithms": frozenset({"rsa-pss-sha512"})},
        {"allow_other_signatures": True},
        {"allow_repeated_fields": True},
        {"also_cover": ("date",)},
        {"cover": ()},
        {"label": None},
        {"label": "other"},
        {"max_age_s": None},
        {"require_created": False},
        {"require_digest": False},
        {"require_expires": False},
        {"require_keyid": False},
        {"require_nonce": False},
        {"require_request": False},
        {"skew_s": 0},
        {"tag": "other"},
    ],
    ids=lambda weaker: next(iter(weaker)),
)
def test_v10_cannot_be_weakened(weaker: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(weaker))):
        Policy.v10().replace(**weaker)


@pytest.mark.parametrize(
    "wrong",
    [
        {"skew_s": 31},
        {"skew_s": -1},
        {"skew_s": 1.5},
        {"max_age_s": -1},
        {"max_age_s": 10**5000},
        {"max_age_s": 60.0},
        {"max_age_s": True},
        {"max_content_bytes": 1e6},
        {"max_content_bytes": None},
        {"skew_s": None},
        {"authorities": "agents.example"},
        {"target_uris": "https://agents.example/x"},
        {"algorithms": "ed25519"},
        {"also_cover": "date"},
        {"cover": "@method"},
        {"authorities": {b"agents.example"}},
        {"target_uris": 5},
        {"also_cover": ("Date",)},
        {"cover": ("x y",)},
    ],
)
def test_what_contradicts_itself(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Policy(**wrong)


def test_texts_come_in_any_collection() -> None:
    policy = Policy(
        algorithms=["ed25519"],  # type: ignore[arg-type]
        authorities=("a.example", "b.example"),  # type: ignore[arg-type]
        also_cover=["date"],  # type: ignore[arg-type]
    )
    assert policy.algorithms == {"ed25519"}
    assert policy.authorities == {"a.example", "b.example"}
    assert policy.also_cover == ("date",)
