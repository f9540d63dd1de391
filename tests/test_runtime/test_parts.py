"""What is handed over is looked at before it is used."""

from __future__ import annotations

import pytest

from sage.errors import UsageError
from sage.runtime.parts import check_can, check_kind


class Worker:
    idle = True

    def work(self) -> None: ...


class Other(Worker):
    pass


@pytest.mark.parametrize("part", [Worker(), Other()])
def test_a_part_of_the_class(part):
    check_kind(part, Worker, "worker")


@pytest.mark.parametrize("part", [None, Worker, "worker", object()])
def test_a_part_of_another_class(part):
    with pytest.raises(
        UsageError, match=r"^worker must be an instance of Worker, not \w+$"
    ):
        check_kind(part, Worker, "worker")


def test_what_can():
    check_can(Worker(), "work", "worker")
    check_can(Other(), "work", "worker")
    check_can(print, "__call__", "handler")


@pytest.mark.parametrize("method", ["rest", "idle"])
def test_what_cannot(method):
    text = rf"^worker must be something with {method}\(\), not Worker$"
    with pytest.raises(UsageError, match=text):
        check_can(Worker(), method, "worker")


def test_what_cannot_be_called():
    with pytest.raises(UsageError, match=r"^handler must be callable, not NoneType$"):
        check_can(None, "__call__", "handler")
