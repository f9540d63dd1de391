"""The events, the closed sets of their labels, and the guard around them."""

from __future__ import annotations

import asyncio
import inspect
import logging

import pytest

from sage import errors
from sage.errors import Code
from sage.transport.metrics import (
    _EVENTS,
    DIAGNOSES,
    NO_METRICS,
    Cache,
    Metrics,
    Outcome,
    diagnose,
    guarded,
    outcome_of,
)
from sage.types import Role


def every_error() -> list[errors.SageError]:
    made = []
    for name in errors.__all__:
        kind = getattr(errors, name)
        if name == "Code" or not issubclass(kind, errors.SageError):
            continue
        if kind is errors.BatchError:
            made.append(kind({3: errors.ReplayError("x", code=Code.SIG_REPLAY)}, []))
        elif kind is errors.RemoteFailure:
            made.append(kind("policy_denied"))
        elif issubclass(kind, errors.PeerError | errors.ResolutionError):
            made.append(kind("x", code=Code.SIG_BAD))
        else:
            made.append(kind("x"))
    return made


@pytest.mark.parametrize("error", every_error(), ids=lambda e: type(e).__name__)
def test_every_error_of_the_tree_has_a_word_of_the_closed_set(error) -> None:
    assert diagnose(error) in DIAGNOSES
    assert (diagnose(error) == Code.SIG_BAD) == (
        getattr(error, "code", None) is Code.SIG_BAD
    )
    assert outcome_of(error) in set(Outcome) - {Outcome.OK}


def test_what_a_stranger_puts_into_an_error_is_no_diagnosis() -> None:
    error = ValueError("x")
    error.code = "did:sage:web:evil.example:me"  # type: ignore[attr-defined]
    assert diagnose(error) == "other"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, Outcome.OK),
        (errors.RemoteFailure("unavailable"), Outcome.FAILED),
        (errors.AuthenticationError(), Outcome.REFUSED),
        (errors.ResolutionError("x", code=Code.RECORD_STALE), Outcome.REFUSED),
        (errors.Overloaded("x"), Outcome.EXHAUSTED),
        (errors.DeadlineExceeded("x"), Outcome.TIMEOUT),
        (TimeoutError(), Outcome.TIMEOUT),
        (errors.ConnectionLost("x"), Outcome.LOST),
        (asyncio.CancelledError(), Outcome.CANCELLED),
        (ValueError("x"), Outcome.ERROR),
    ],
)
def test_an_outcome(error: BaseException | None, outcome: Outcome) -> None:
    assert outcome_of(error) is outcome


def test_the_guard_knows_every_event() -> None:
    own = {
        name
        for name, member in vars(Metrics).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }
    assert own == {*_EVENTS, "exposition"}


class Broken(Metrics):
    def __getattribute__(self, name: str) -> object:
        if name in _EVENTS:
            return self._raise
        return super().__getattribute__(name)

    def _raise(self, *_: object, **__: object) -> None:
        raise ZeroDivisionError("out of paper")


def every_event(metrics: Metrics) -> None:
    metrics.connections(Role.INITIATOR, 1)
    metrics.refusal("sig.bad", replay=True)
    metrics.resolution(Outcome.OK, 0.1)
    metrics.watch_cache(Cache.NAME, lambda: None)  # type: ignore[arg-type,return-value]


def test_metrics_that_raise_are_logged_once_and_stop_nothing(caplog) -> None:
    with pytest.raises(ZeroDivisionError):
        every_event(Broken())
    safe = guarded(Broken())
    with caplog.at_level(logging.ERROR, "sage.metrics"):
        every_event(safe)
        every_event(safe)
    (record,) = caplog.records
    assert record.exc_info[0] is ZeroDivisionError


def test_nobody_listening_needs_no_guard() -> None:
    assert guarded(NO_METRICS) is NO_METRICS
    every_event(NO_METRICS)
    assert NO_METRICS.exposition() is None
