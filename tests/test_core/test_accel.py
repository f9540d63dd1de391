"""Which twin is taken, and how loud a broken one is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sage import _accel
from sage._crypto import CRYPTOGRAPHY_VERSION, openssl_version
from sage.errors import ConfigError

REPORT = """
import sage._accel as accel
print(accel.backend()["core"], accel.SessionCore.__module__, accel.backend()["reason"])
"""
ABSENT = "import sys; sys.modules['sage._core'] = None\n"
BROKEN = """
import sys
from importlib.machinery import ModuleSpec

class Finder:
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name == "sage._core" else None
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        raise {error}

sys.meta_path.insert(0, Finder())
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter with these of our variables and no others."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SAGE_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def failure(code: str, **environment: str) -> str:
    """Return the last line that a failing interpreter says."""
    done = run(code, **environment)
    assert done.returncode == 1, done.stdout
    return done.stderr.strip().splitlines()[-1]


def answer(code: str, **environment: str) -> str:
    done = run(code, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


def test_backend_says_what_is_at_work():
    found = _accel.backend()
    assert set(found) == {"core", "engine", "openssl", "cryptography", "reason"}
    pure = os.environ.get("SAGE_NO_EXTENSIONS") == "1"
    assert found["core"] == ("python" if pure else "cython")
    assert found["engine"] == "cryptography"
    assert found["openssl"] == openssl_version()
    assert found["cryptography"] == CRYPTOGRAPHY_VERSION
    found["core"] = "changed"
    assert _accel.backend()["core"] != "changed"


def test_the_pure_twin_on_request():
    expected = "python sage._core_py SAGE_NO_EXTENSIONS=1"
    assert answer(REPORT, SAGE_NO_EXTENSIONS="1") == expected
    assert answer(BROKEN.format(error="OSError") + REPORT, SAGE_NO_EXTENSIONS="1") == (
        expected
    )


def test_the_pure_twin_where_there_is_no_other():
    assert answer(ABSENT + REPORT) == (
        "python sage._core_py the compiled core is not installed"
    )
    assert answer(ABSENT + REPORT, SAGE_NO_EXTENSIONS="0").startswith("python")


@pytest.mark.skipif(
    os.environ.get("SAGE_NO_EXTENSIONS") == "1", reason="the build is pure on purpose"
)
def test_the_compiled_twin_otherwise():
    expected = "cython sage._core the compiled core is installed"
    assert answer(REPORT) == expected
    assert answer(REPORT, SAGE_REQUIRE_EXTENSIONS="1") == expected
    assert answer(REPORT, SAGE_NO_EXTENSIONS="", SAGE_ENGINE="") == expected
    assert answer(REPORT, SAGE_ENGINE="cryptography") == expected


def test_absence_is_an_error_where_the_compiled_twin_is_required():
    assert failure(ABSENT + REPORT, SAGE_REQUIRE_EXTENSIONS="1") == (
        "sage.errors.ConfigError: "
        "SAGE_REQUIRE_EXTENSIONS=1, but the compiled core is not installed"
    )


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ("ImportError('undefined symbol')", "ImportError: undefined symbol"),
        (
            "ModuleNotFoundError(\"No module named 'x'\", name='x')",
            "ModuleNotFoundError: No module named 'x'",
        ),
        ("OSError('bad magic')", "OSError: bad magic"),
    ],
)
@pytest.mark.parametrize("required", ["0", "1"])
def test_a_broken_build_is_loud(error, line, required):
    code = BROKEN.format(error=error) + REPORT
    assert failure(code, SAGE_REQUIRE_EXTENSIONS=required) == line


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        (
            {"SAGE_NO_EXTENSIONS": "1", "SAGE_REQUIRE_EXTENSIONS": "1"},
            "SAGE_NO_EXTENSIONS and SAGE_REQUIRE_EXTENSIONS exclude each other",
        ),
        ({"SAGE_NO_EXTENSIONS": "yes"}, "SAGE_NO_EXTENSIONS must be 0 or 1, not 'yes'"),
        (
            {"SAGE_REQUIRE_EXTENSIONS": "2"},
            "SAGE_REQUIRE_EXTENSIONS must be 0 or 1, not '2'",
        ),
        (
            {"SAGE_ENGINE": "homemade"},
            "SAGE_ENGINE must be cryptography, not 'homemade'",
        ),
    ],
)
def test_an_environment_that_makes_no_sense(environment, text):
    assert failure(REPORT, **environment) == f"sage.errors.ConfigError: {text}"


def test_an_engine_that_errs_is_refused(monkeypatch):
    _accel._check_engine()

    class Late:
        """An engine that looks at its key when it is used, not when it is made."""

        def __init__(self, key):
            self.key = key.obj

        def encrypt(self, nonce, data, aad):
            return _accel_engine(self.key).encrypt(nonce, data, aad)

    _accel_engine = _accel.ChaCha20Poly1305
    monkeypatch.setattr(_accel, "ChaCha20Poly1305", Late)
    with pytest.raises(ConfigError, match="known-answer test"):
        _accel._check_engine()
