"""Where OpenSSL is looked for, and every reason not to take what is there."""

from __future__ import annotations

import _hashlib
import ctypes
import math
import os
import sys
from typing import Any

import pytest

from sage import _openssl
from sage._crypto import extension_file
from sage._openssl import FUNCTIONS, _Algorithm, _Function
from sage.errors import ConfigError

from ..other_process import answer
from .faults import needs_libcrypto

NUMBER = ctypes.CFUNCTYPE(ctypes.c_ulong)
NOTHING = ctypes.CFUNCTYPE(None)


class Fake:
    """A library that gives a version, and functions that nobody calls."""

    def __init__(self, number: int, *missing: str) -> None:
        self.OpenSSL_version_num = NUMBER(lambda: number)
        for name in FUNCTIONS:
            setattr(self, name, NOTHING(lambda: None))
        for name in missing:
            delattr(self, name)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that says what opening a file gives; it returns the files."""

    def give(*libraries: Any) -> list[Any]:
        files: list[Any] = []

        def load(file: Any) -> Any:
            files.append(file)
            found = libraries[len(files) - 1]
            if isinstance(found, Exception):
                raise found
            return found

        monkeypatch.setattr(_openssl.ctypes, "CDLL", load)
        return files

    return give


@needs_libcrypto
def test_what_is_found_here():
    library, why = _openssl.find()
    assert library is not None
    assert why == f"OpenSSL {library.version} behind {library.name}"
    assert library.name in ("cryptography", "_hashlib")
    assert int(library.version.split(".")[0]) >= 3
    assert sorted(library.addresses) == sorted(FUNCTIONS)
    assert all(library.addresses.values())
    assert len(set(library.addresses.values())) == len(FUNCTIONS)
    if library.name == "_hashlib":
        import ssl

        major, minor, _, patch, _ = ssl.OPENSSL_VERSION_INFO
        assert library.version == f"{major}.{minor}.{patch}"


@needs_libcrypto
def test_the_algorithms_that_are_found_here():
    library, _ = _openssl.find()
    assert library is not None
    found = _openssl.find_algorithms(library)
    assert list(found) == ["ChaCha20-Poly1305", "AES-256-GCM", "SHA256"]
    for addresses in found.values():
        assert all(addresses.values())
    assert found["SHA256"].keys() == {"provider", *_openssl._DIGEST}
    one, other = found["ChaCha20-Poly1305"], found["AES-256-GCM"]
    assert one.keys() == other.keys() == {"provider", *_openssl._CIPHER}
    assert one["newctx"] != other["newctx"]


def table(*algorithms: tuple[bytes, dict[int, int]]) -> Any:
    """Return a provider's table, as it lies in memory; it ends where OpenSSL's do."""
    functions = [
        (_Function * (len(given) + 2))(*given.items(), (0, None), (5, 5))
        for _, given in algorithms
    ]
    rows = [
        (names, b"provider=default", functions[row], None)
        for row, (names, _) in enumerate(algorithms)
    ]
    last = (_Algorithm * (len(rows) + 2))(*rows, (None, None, None, None))
    last[len(rows) + 1] = (b"BEYOND", None, functions[0], None)
    return last


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("A", {1: 11}),
        ("b", {1: 21, 2: 22}),
        ("B-alias", {1: 21, 2: 22}),
        ("1.2.3", {1: 21, 2: 22}),
        ("alias", {}),
        ("2.3", {}),
        ("", {}),
        ("BEYOND", {}),
    ],
)
def test_an_algorithm_is_found_by_any_of_its_names(name, found):
    given = table(
        (b"a", {1: 11}),
        (b"B:b-ALIAS:1.2.3", {1: 21, 2: 22}),
        (b"b", {1: 31}),  # of other properties, and later
    )
    assert _openssl._functions(given, name) == found
    assert _openssl._functions(None, name) == {}


@needs_libcrypto
@pytest.mark.parametrize(
    ("changed", "missing"),
    [
        ({"_CIPHER": {"newctx": 1, "mix": 4711}}, "ChaCha20-Poly1305 with all of"),
        ({"_DIGEST": {"newctx": 1, "mix": 4711}}, "SHA256 with all of its functions"),
        ({"_CIPHERS": 4711}, "ChaCha20-Poly1305 with all of its functions"),
    ],
)
def test_what_a_provider_lacks_is_told(monkeypatch, changed, missing):
    library, _ = _openssl.find()
    for name, value in changed.items():
        monkeypatch.setattr(_openssl, name, value)
    with pytest.raises(ConfigError, match=f"this OpenSSL has no {missing}"):
        _openssl.find_algorithms(library)


@needs_libcrypto
def test_an_algorithm_that_is_not_there_leaves_no_error_behind():
    """Others of this thread look at the queue: the ssl module would report it."""
    code = """
import sage._openssl as openssl
library, _ = openssl.find()
try:
    openssl._algorithm(library, "CIPHER", "NO-SUCH-CIPHER")
except LookupError:
    assert library.handle.ERR_peek_error()
openssl._algorithm = lambda *_: (_ for _ in ()).throw(LookupError("one"))
try:
    openssl.find_algorithms(library)
except openssl.ConfigError as exc:
    print(exc, library.handle.ERR_peek_error())
"""
    assert answer(code) == "this OpenSSL has no one 0"


def test_the_functions_are_those_of_the_bindings():
    """Each is asked for once, and each that the compiled core calls is among them."""
    assert list(FUNCTIONS) == sorted(set(FUNCTIONS))


def test_the_one_of_cryptography_comes_first(opened):
    files = opened(Fake(0x30500020))
    library, why = _openssl.find()
    assert files == [extension_file()]
    assert (library.name, library.version) == ("cryptography", "3.5.2")
    assert why == "OpenSSL 3.5.2 behind cryptography"
    assert library.handle.OpenSSL_version_num() == 0x30500020


@pytest.mark.parametrize(
    ("number", "version"),
    [
        (0x30000000, "3.0.0"),
        (0x30000130, "3.0.19"),
        (0x30600000, "3.6.0"),
        (0x40000000, "4.0.0"),
        (0x3FF00FFF, "3.255.255"),
    ],
)
def test_versions_that_are_taken(opened, number, version):
    opened(Fake(number))
    assert _openssl.find()[0].version == version


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (OSError("no such file"), "no such file"),
        (TypeError("not a path"), "not a path"),
        (RuntimeError("refused by a hook"), "refused by a hook"),
        (
            Fake(0x30000000, "OpenSSL_version_num"),
            "OpenSSL_version_num is not to be seen",
        ),
        (Fake(0x30000000, "EVP_MD_fetch"), "EVP_MD_fetch is not to be seen"),
        (
            Fake(0x30000000, "OSSL_PROVIDER_query_operation"),
            "OSSL_PROVIDER_query_operation is not to be seen",
        ),
        (Fake(0x1010117F), "version 1.1.23 is older than 3.0"),
        (Fake(0x20000000), "version 2.0.0 is older than 3.0"),  # LibreSSL, always
        (Fake(0), "version 0.0.0 is older than 3.0"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_why_one_is_not_taken(opened, first, reason):
    """Then the other is, and where that cannot be had, both reasons are told."""
    files = opened(first, Fake(0x30000000))
    library, why = _openssl.find()
    assert files == [extension_file(), getattr(_hashlib, "__file__", None)]
    assert (library.name, why) == ("_hashlib", "OpenSSL 3.0.0 behind _hashlib")
    opened(first, OSError("gone"))
    assert _openssl.find() == (
        None,
        f"no OpenSSL that can be called (cryptography: {reason}; _hashlib: gone)",
    )


def test_a_function_without_an_address(opened):
    broken = Fake(0x30000000)
    broken.EVP_MD_fetch = NOTHING()
    opened(broken, broken)
    why = _openssl.find()[1]
    assert why.count("EVP_MD_fetch has no address") == 2


def test_files_that_are_no_library(tmp_path):
    with pytest.raises(OSError, match=r"cannot open|no such file|not found"):
        _openssl._open("x", str(tmp_path / "absent.so"))
    text = tmp_path / "text.so"
    text.write_text("no library")
    with pytest.raises(OSError, match=r"text\.so"):
        _openssl._open("x", str(text))


@pytest.mark.skipif(not getattr(math, "__file__", None), reason="math is built in")
def test_a_library_of_something_else():
    with pytest.raises(LookupError, match="OpenSSL_version_num is not to be seen"):
        _openssl._open("math", math.__file__)


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a program exports nothing")
def test_modules_that_are_part_of_the_interpreter(monkeypatch):
    """Without a file: the interpreter itself is asked, for its own `_hashlib` only."""
    files = []
    real = ctypes.CDLL

    def load(file):
        files.append(file)
        return real(file)

    monkeypatch.setattr(_openssl.ctypes, "CDLL", load)
    monkeypatch.setattr(_openssl, "extension_file", lambda: None)
    monkeypatch.delattr(_hashlib, "__file__", raising=False)
    library, why = _openssl.find()
    if library is None:
        assert why.startswith(
            "no OpenSSL that can be called (cryptography: has no file; _hashlib: "
        )
    else:
        assert library.name == "_hashlib"
    assert files == [None]


REPORT = "import sage; print(sage.backend()['engine'], sage.backend()['reason'])"
NO_OPENSSL = (
    "cryptography the compiled core is installed; no OpenSSL that can be called"
)


@needs_libcrypto
@pytest.mark.parametrize("module", ["_hashlib", "ctypes"])
def test_a_python_without_the_module(module):
    """Nothing is amiss then: no warning."""
    found = answer(f"import sys; sys.modules[{module!r}] = None\n" + REPORT)
    assert found.startswith(f"{NO_OPENSSL} (import of {module} halted")


@needs_libcrypto
def test_ctypes_without_memory_that_may_be_executed():
    """`import ctypes` itself fails so on some hardened systems."""
    code = """
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "ctypes":
            raise MemoryError("no executable memory")
sys.modules.pop("ctypes", None)
sys.meta_path.insert(0, Finder())
"""
    assert answer(code + REPORT) == f"{NO_OPENSSL} (no executable memory)"


@needs_libcrypto
@pytest.mark.skipif(sys.platform == "win32", reason="ends without its words there")
def test_an_auditing_hook_that_lets_nobody_open_a_library():
    code = """
import sys
def hook(event, arguments):
    if event == "ctypes.dlopen":
        raise RuntimeError("not here")
sys.addaudithook(hook)
"""
    # Importing ctypes opens one already; where it came before the hook, finding does.
    assert answer(code + REPORT) == f"{NO_OPENSSL} (not here)"
    told = "cryptography: not here; _hashlib: not here"
    assert answer("import ctypes\n" + code + REPORT) == f"{NO_OPENSSL} ({told})"
