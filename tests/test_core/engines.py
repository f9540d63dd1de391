"""The kernels on each engine that this machine has, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from sage import _core_py as pure
from sage._accel import backend
from sage._openssl import find_algorithms

from .faults import LIBRARY


@dataclass(frozen=True)
class Kernels:
    """A twin whose sessions are made on one engine, and stay there."""

    name: str
    module: ModuleType
    direct: bool = False

    def __str__(self) -> str:
        return self.name

    @contextmanager
    def chosen(self) -> Iterator[None]:
        """Let new sessions be made on this engine."""
        if self.module is pure:
            yield
            return
        self.module.use_libcrypto(self.direct)
        try:
            yield
        finally:
            self.module.use_libcrypto(backend()["engine"] == "libcrypto")

    @property
    def SessionCore(self) -> Callable[..., Any]:  # noqa: N802 as the twins name it
        """Make a session on this engine."""

        def make(*args: Any, **kwargs: Any) -> Any:
            with self.chosen():
                return self.module.SessionCore(*args, **kwargs)

        return make


def _kernels() -> list[Kernels]:
    found = [Kernels("pure", pure)]
    if backend()["core"] == "cython":
        from sage import _core

        found.append(Kernels("cryptography", _core))
        if LIBRARY is not None:
            if backend()["engine"] != "libcrypto":
                _core.load_libcrypto(
                    LIBRARY.addresses["ERR_clear_error"], find_algorithms(LIBRARY)
                )
            found.append(Kernels("libcrypto", _core, direct=True))
    return found


KERNELS = _kernels()
