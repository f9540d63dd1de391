from __future__ import annotations

import pytest

from sage.cli.bench.contestants import CONTESTANTS, find_contestant


def test_names_are_unique_and_found() -> None:
    assert len({c.name for c in CONTESTANTS}) == len(CONTESTANTS)
    for contestant in CONTESTANTS:
        assert find_contestant(contestant.name) is contestant
    with pytest.raises(KeyError):
        find_contestant("rot13")


def test_each_configuration_of_sage_is_chosen_by_the_environment() -> None:
    ours = [c for c in CONTESTANTS if c.is_sage]
    assert {(c.core, c.engine) for c in ours} == {
        ("cython", "libcrypto"),
        ("cython", "cryptography"),
        ("python", "cryptography"),
    }
    for contestant in ours:
        # All three are set, so that nothing of ours leaks into the process.
        assert len(contestant.environment) == 3
        pure = contestant.environment["SAGE_NO_EXTENSIONS"] == "1"
        assert pure == (contestant.core == "python")
        assert contestant.environment["SAGE_ENGINE"] == contestant.engine
    assert not any(c.environment for c in CONTESTANTS if not c.is_sage)
