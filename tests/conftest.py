"""What all tests share: the two kernels.

A test that asks for ``twin`` runs once with each. A compiled build that is missing is
an error and not a skip; ``SAGE_NO_EXTENSIONS=1`` says that it is missing on purpose.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType

import pytest

_MODULES = {"python": "sage._core_py", "cython": "sage._core"}
_WANTED = ["python"] if os.environ.get("SAGE_NO_EXTENSIONS") == "1" else [*_MODULES]


@pytest.fixture(scope="session", params=_WANTED)
def twin(request: pytest.FixtureRequest) -> ModuleType:
    """Return the kernels' module: the specification, then the compiled one."""
    return importlib.import_module(_MODULES[request.param])
