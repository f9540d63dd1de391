"""The error tree is the one its docstring draws, and survives a process boundary."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from sage import errors
from sage.encoding import parse_strict
from sage.errors import Code, PeerError, SageError

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, SageError)
]


def drawn_tree() -> dict[str, str | None]:
    """Parse the docstring: each class and the one above it."""
    parents: dict[str, str | None] = {}
    path: list[str] = []
    assert errors.__doc__ is not None
    for line in errors.__doc__.splitlines():
        found = re.match(r"    ((?:[│ ]   )*(?:[├└]── )?)(\w*Error|\w+)\b", line)
        if found is None or not (found[1].strip() or found[2] == "SageError"):
            continue
        depth = len(found[1]) // 4
        del path[depth:]
        parents[found[2]] = path[-1] if path else None
        path.append(found[2])
    return parents


def example(kind: type[SageError]) -> SageError:
    """Build one error of a class the way its signature asks for."""
    parameters = inspect.signature(kind.__init__).parameters
    if "opened" in parameters:
        stale = errors.StaleError("record too old", code=Code.SESSION_WINDOW)
        return kind({2: stale}, [b"one", b"other", None])  # type: ignore[arg-type,call-arg]
    if "reason" in parameters:
        return kind("policy_denied")
    if parameters.get("code") is not None:
        return kind("some text", code=Code.RECORD_STALE)  # type: ignore[call-arg]
    if "may_have_run" in parameters:
        return kind("some text", may_have_run=True)  # type: ignore[call-arg]
    return kind("some text")


def test_the_drawn_tree_is_the_real_one() -> None:
    real: dict[str, str | None] = {"SageError": None}
    for kind in CLASSES:
        if kind is not SageError:
            real[kind.__name__] = kind.__bases__[0].__name__
    assert drawn_tree() == real
    assert len(real) > 15


def test_the_tree_is_drawn_in_the_order_of_the_file() -> None:
    assert list(drawn_tree()) == [kind.__name__ for kind in CLASSES]


def test_all_is_complete() -> None:
    assert sorted(errors.__all__) == errors.__all__
    assert set(errors.__all__) == {"Code"} | {kind.__name__ for kind in CLASSES}


def test_codes_are_unique_and_look_alike() -> None:
    # An enum takes a repeated value for an alias, so count the names.
    assert len(Code.__members__) == len({code.value for code in Code})
    for name, code in Code.__members__.items():
        assert re.fullmatch(r"[a-z0-9]+\.[a-z0-9-]+", code)
        assert name == code.upper().replace(".", "_").replace("-", "_")


def test_the_protocols_codes_are_all_there() -> None:
    table_07 = (
        "sig.missing sig.malformed sig.unknown-label sig.base-mismatch sig.bad "
        "sig.alg-mismatch sig.stale sig.replay sig.coverage sig.binding "
        "digest.missing digest.mismatch size.exceeded id.malformed id.unknown-kind "
        "record.not-found record.inactive record.stale record.invalid "
        "record.unreachable version.unsupported key.expired key.not-in-record "
        "key.unproven key.revoked pop.bad session.unknown session.replay "
        "session.window session.aead"
    )
    assert set(table_07.split()) <= {code.value for code in Code}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_errors_copy_and_pickle(kind: type[SageError]) -> None:
    error = example(kind)
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is kind
        assert str(other) == str(error)
        assert other.args == error.args
        assert repr(vars(other)) == repr(vars(error))  # errors compare by identity


def test_an_error_crosses_a_process_boundary() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        future = pool.submit(parse_strict, b"[1,]")
        with pytest.raises(errors.DecodeError, match="not JSON") as caught:
            future.result(timeout=60)
    assert caught.value.code is Code.JSON_MALFORMED


@pytest.mark.parametrize(
    "kind",
    [k for k in CLASSES if issubclass(k, PeerError) or k is errors.ResolutionError],
    ids=lambda kind: kind.__name__,
)
def test_what_comes_from_outside_carries_a_code(kind: type[SageError]) -> None:
    assert isinstance(example(kind).code, Code)  # type: ignore[attr-defined]
    if issubclass(kind, PeerError):
        assert 1000 <= kind.close_code < 5000


@pytest.mark.parametrize("code", [Code.SIG_BAD, Code.SESSION_AEAD, Code.POP_BAD])
def test_authentication_errors_say_nothing_more(code: Code) -> None:
    error = errors.AuthenticationError(code=code)
    assert str(error) == "authentication failed"
    assert error.code is code


def test_a_deadline_is_a_timeout() -> None:
    with pytest.raises(TimeoutError) as caught:
        raise errors.DeadlineExceeded("too slow", may_have_run=True)
    assert str(caught.value) == "too slow"
    assert caught.value.may_have_run  # type: ignore[attr-defined]


def test_a_remote_failure_names_its_reason() -> None:
    error = errors.RemoteFailure("unavailable")
    assert error.reason == "unavailable"
    assert "unavailable" in str(error)
