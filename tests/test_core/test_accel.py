"""Which twin and which engine are taken, and how loud a broken one is."""

from __future__ import annotations

import os

import pytest

from sage import _accel
from sage._crypto import CRYPTOGRAPHY_VERSION, openssl_version

from ..other_process import answer, failure, run
from .faults import LIBRARY, PRELUDE, WHY, needs_libcrypto

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


def test_backend_says_what_is_at_work():
    found = _accel.backend()
    names = {"core", "engine", "openssl", "cryptography", "reason"}
    assert set(found) == names | {"curve25519", "ed25519", "secp256k1"}
    pure = os.environ.get("SAGE_NO_EXTENSIONS") == "1"
    assert found["core"] == ("python" if pure else "cython")
    wanted = os.environ.get("SAGE_ENGINE")
    if pure or LIBRARY is None or wanted == "cryptography":
        assert found["engine"] == "cryptography"
        assert found["openssl"] == openssl_version()
    else:
        assert found["engine"] == "libcrypto"
        assert found["openssl"] == LIBRARY.version
        assert found["reason"] == f"the compiled core is installed; {WHY}"
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
    installed = "cython sage._core the compiled core is installed"
    expected = f"{installed}; {WHY}"
    assert answer(REPORT) == expected
    assert answer(REPORT, SAGE_REQUIRE_EXTENSIONS="1") == expected
    assert answer(REPORT, SAGE_NO_EXTENSIONS="", SAGE_ENGINE="") == expected
    assert answer(REPORT, SAGE_ENGINE="cryptography") == installed


def test_absence_is_an_error_where_the_compiled_twin_is_required():
    assert failure(ABSENT + REPORT, SAGE_REQUIRE_EXTENSIONS="1") == (
        "sage.errors.ConfigError: "
        "SAGE_REQUIRE_EXTENSIONS=1, but the compiled core is not installed"
    )
    assert failure(ABSENT + REPORT, SAGE_ENGINE="libcrypto") == (
        "sage.errors.ConfigError: "
        "SAGE_ENGINE=libcrypto, but the compiled core is not installed"
    )
    assert answer(ABSENT + REPORT, SAGE_ENGINE="cryptography").startswith("python")


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
            "SAGE_ENGINE must be libcrypto or cryptography, not 'homemade'",
        ),
        (
            {"SAGE_ENGINE": "Libcrypto"},
            "SAGE_ENGINE must be libcrypto or cryptography, not 'Libcrypto'",
        ),
        (
            {"SAGE_NO_EXTENSIONS": "1", "SAGE_ENGINE": "libcrypto"},
            "SAGE_NO_EXTENSIONS and SAGE_ENGINE=libcrypto exclude each other",
        ),
    ],
)
def test_an_environment_that_makes_no_sense(environment, text):
    assert failure(REPORT, **environment) == f"sage.errors.ConfigError: {text}"


def exchanged(name: str, gives: str) -> str:
    return f"exchange({name!r}, lambda real, *given: {gives})"


# What OpenSSL may do wrong from the start; each exchanges one of its functions.
FAULTS = {
    "every tag is genuine": exchanged("cipher.final", "real(*given) | 1"),
    "no tag is": exchanged("cipher.final", "0"),
    "a cipher does not start": exchanged("cipher.encrypt_init", "0"),
    "a cipher says it failed": exchanged("cipher.encrypt_init", "-1"),
    "an opening cipher does not start": exchanged("cipher.decrypt_init", "0"),
    "nothing is encrypted": """
def cipher(real, context, out, written, room, data, size):
    N.from_address(written).value = size
    return 1
exchange("cipher.cipher", cipher)
""",
    "less is encrypted": """
def cipher(real, context, out, written, room, data, size):
    done = real(context, out, written, room, data, size)
    N.from_address(written).value = size - 1
    return done
exchange("cipher.cipher", cipher)
""",
    "updates fail": exchanged("cipher.cipher", "0"),
    "there is no tag": exchanged("cipher.get_ctx_params", "0"),
    "a tag is not written": exchanged("cipher.get_ctx_params", "1"),
    "there is no context": exchanged("cipher.newctx", "None"),
    "there is no hash": exchanged("digest.newctx", "None"),
    "there is no SHA-256": exchanged("EVP_MD_fetch", "None"),
    "a provider has no algorithm": exchanged("OSSL_PROVIDER_query_operation", "None"),
    "hashes fail": exchanged("digest.final", "0"),
    "hashes take nothing": exchanged("digest.update", "0"),
    "hashes leave all out": exchanged("digest.update", "1"),
    "hashes do not start": exchanged("digest.init", "0"),
    "hashes are wrong": """
def final(real, context, digest, written, room):
    done = real(context, digest, written, room)
    ctypes.c_uint8.from_address(digest).value ^= 1
    return done
exchange("digest.final", final)
""",
    "hashes are short": """
def final(real, context, digest, written, room):
    done = real(context, digest, written, room)
    N.from_address(written).value = 28
    return done
exchange("digest.final", final)
""",
    # A policy of FIPS 140 knows no ChaCha20; another may lack the other.
    **{
        f"there is no {name.decode()}": exchanged(
            "EVP_CIPHER_fetch", f"None if given[1] == {name!r} else real(*given)"
        )
        for name in (b"ChaCha20-Poly1305", b"AES-256-GCM")
    },
}

WARNING = f"{WHY} is not used: "


@needs_libcrypto
def test_the_faults_work_only_where_they_are_asked_for():
    assert answer(PRELUDE + REPORT).endswith(WHY)
    changed = "exchange('cipher.cipher', lambda real, *given: real(*given))\n"
    assert answer(PRELUDE + changed + REPORT).endswith(WHY)


@needs_libcrypto
@pytest.mark.parametrize("fault", FAULTS)
def test_an_openssl_that_errs_is_not_used(fault):
    """There is a warning, and the next engine works; or an error where it may not."""
    code = PRELUDE + FAULTS[fault] + REPORT + WORKS
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert f"RuntimeWarning: {WARNING}" in done.stderr
    told, works = done.stdout.splitlines()
    assert told.startswith(
        f"cython sage._core the compiled core is installed; {WARNING}"
    )
    assert works == "cryptography [b'genuine']"
    assert failure(code, SAGE_ENGINE="libcrypto").startswith(
        f"sage.errors.ConfigError: SAGE_ENGINE=libcrypto, but {WARNING}"
    )
    assert answer(code, SAGE_ENGINE="cryptography").endswith(works)


WORKS = """
from sage.session import V0_10
from sage.types import Role
ada, grace = (accel.SessionCore(V0_10, bytes(32), bytes(32), r, now=0.0) for r in Role)
records = [ada.seal(b"genuine", now=1.0)]
print(accel.backend()["engine"], [grace.open(r, now=1.0) for r in records])
"""


@needs_libcrypto
def test_warnings_that_are_errors():
    """Then there is no sage, in the words of the warning; and an error stays one."""
    code = PRELUDE + FAULTS["no tag is"] + REPORT
    assert failure(code, "-W", "error").startswith(f"RuntimeWarning: {WARNING}")
    assert failure(code, "-W", "error", SAGE_ENGINE="libcrypto").startswith(
        f"sage.errors.ConfigError: SAGE_ENGINE=libcrypto, but {WARNING}"
    )
    assert answer(REPORT, "-W", "error").endswith(WHY)
    assert answer(code, "-W", "ignore").startswith("cython")


@needs_libcrypto
def test_no_openssl_at_all():
    code = "import sage._openssl as o\no.find = lambda: (None, 'there is none')\n"
    assert answer(code + REPORT) == (
        "cython sage._core the compiled core is installed; there is none"
    )
    assert failure(code + REPORT, SAGE_ENGINE="libcrypto") == (
        "sage.errors.ConfigError: SAGE_ENGINE=libcrypto, but there is none"
    )
