"""The shared names."""

from __future__ import annotations

import pytest

from sage.types import Role


def test_roles_are_the_protocols_words() -> None:
    assert [role.value for role in Role] == ["initiator", "responder"]


@pytest.mark.parametrize("role", Role)
def test_the_other_role_is_the_other(role: Role) -> None:
    assert role.other is not role
    assert role.other.other is role
