"""A table that the garbage collector does not walk, where sessions are compiled."""

from __future__ import annotations

import gc

import pytest

from sage.errors import UsageError
from sage.session import V0_10
from sage.types import Role


def test_a_table_of_compiled_sessions_is_not_tracked(twin):
    class Session(twin.SessionCore):
        __slots__ = ()

    session = Session(V0_10, bytes(32), bytes(32), Role.INITIATOR, now=0.0)
    table = {session.id: session}
    twin.untrack(table)
    twin.untrack(table)  # once more does no harm
    compiled = twin.__name__ == "sage._core"
    assert gc.is_tracked(table) is not compiled
    assert gc.is_tracked(session) is not compiled
    # It is a table as before, and still drops what it held.
    table["second"] = session
    assert list(table.values()) == [session, session]
    del table, session


def test_it_takes_tables_only(twin):
    for wrong in ([], None, set()):
        with pytest.raises(UsageError, match=f"not {type(wrong).__name__}$"):
            twin.untrack(wrong)
