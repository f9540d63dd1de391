"""The unit tests of the core, cut down to what valgrind can run in minutes.

A pytest plugin: the compiled twin alone, a few examples where there were hundreds, and
nothing that takes its time on purpose or starts other processes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from variants import MEMCHECK

from sage import _core

EXAMPLES_MAX = 3
# Other processes, the pure twin alone at each of its calls, the whole memory, what
# counts to a hundred thousand, and what counts the blocks of CPython's own allocator,
# which is off.
MODULES_LEFT_OUT = ("test_accel", "test_ahead", "test_leaks", "test_memory")
TESTS_LEFT_OUT = (
    "test_a_long_walk",
    "test_against_a_model",
    "test_a_million_forgeries",
    "test_a_hundred_thousand_forgeries",
    "test_sealing_allocates_the_record_and_nothing_else",
    "test_eight_threads_on_one_stream",
    "test_what_is_refused_because_the_session_closed_leaves_no_plaintext",
    "test_who_waits_gets_in_while_a_long_record_is_sealed",  # valgrind chooses who runs
)
FEW = settings(
    max_examples=EXAMPLES_MAX,
    stateful_step_count=15,
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
)


def pytest_configure() -> None:
    """Refuse to judge another build than the one with debug information."""
    if not Path(str(_core.__file__)).is_relative_to(MEMCHECK.site):
        raise pytest.UsageError(f"this is not the core to look at: {_core.__file__}")


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Keep what concerns the compiled core, and ask for few examples."""
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        (kept if is_wanted(item) else left_out).append(item)
        lower(getattr(item, "obj", None))
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept


def is_wanted(item: pytest.Item) -> bool:
    parameters = getattr(item, "callspec", None)
    pure = parameters is not None and parameters.params.get("twin") == "python"
    return not (
        pure
        or item.path.stem in MODULES_LEFT_OUT
        or item.name.startswith(TESTS_LEFT_OUT)
        or item.get_closest_marker("slow")
    )


def lower(test: Any) -> None:
    """Have hypothesis make few examples, whatever the test asked for."""
    if hasattr(test, "hypothesis"):
        test._hypothesis_internal_use_settings = FEW
