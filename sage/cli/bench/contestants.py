"""Who is measured: sage on each engine and twin, and those beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

__all__ = ["CONTESTANTS", "Contestant", "find_contestant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One of those that are measured, each in a process of its own.

    Attributes:
        name: stays; the JSON has it.
        title: for people.
        environment: what its process is started with, beside what we were.
        core: the core that must be at work there; empty where any will do.
        engine: the engine likewise.
        distribution: the package whose version is to be told; empty for none.
    """

    name: str
    title: str
    environment: dict[str, str] = field(default_factory=dict)
    core: str = ""
    engine: str = ""
    distribution: str = ""

    @property
    def is_sage(self) -> bool:
        """Whether it is a configuration of sage."""
        return bool(self.core)


def _sage(name: str, title: str, *, core: str, engine: str) -> Contestant:
    pure = core == "python"
    return Contestant(
        name=name,
        title=title,
        environment={
            "SAGE_NO_EXTENSIONS": "1" if pure else "",
            "SAGE_REQUIRE_EXTENSIONS": "" if pure else "1",
            "SAGE_ENGINE": engine,
        },
        core=core,
        engine=engine,
    )


CONTESTANTS: Final = (
    _sage("sage-libcrypto", "sage, libcrypto", core="cython", engine="libcrypto"),
    _sage(
        *("sage-cryptography", "sage, cryptography"),
        core="cython",
        engine="cryptography",
    ),
    _sage("sage-pure", "sage, pure twin", core="python", engine="cryptography"),
    Contestant(
        name="cryptography", title="cryptography alone", distribution="cryptography"
    ),
    Contestant(name="tls", title="TLS 1.3, standard library"),
    Contestant(
        name="noiseprotocol", title="noiseprotocol", distribution="noiseprotocol"
    ),
    Contestant(name="pynacl", title="PyNaCl", distribution="PyNaCl"),
    Contestant(name="pyhpke", title="pyhpke", distribution="pyhpke"),
    Contestant(name="qh3", title="qh3", distribution="qh3"),
)
"""All of them, in the order of the report."""


def find_contestant(name: str) -> Contestant:
    """Return the one of this name.

    Raises:
        KeyError: there is none.
    """
    return {contestant.name: contestant for contestant in CONTESTANTS}[name]
