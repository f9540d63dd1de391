"""Room for many connections: each takes one file descriptor at both ends."""

from __future__ import annotations

from typing import Final

from ...errors import ConfigError

__all__ = ["allow_connections"]

# Standard streams, the event loop, modules, certificates, logs.
_SPARE: Final = 128


def allow_connections(count: int) -> None:
    """Raise this process's limit of open files, as far as it may, to hold so many.

    Raises:
        ConfigError: the hard limit is lower.
    """
    try:
        import resource
    except ModuleNotFoundError:  # Windows counts handles, and allows enough
        return
    needed = count + _SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ConfigError(
            f"{count} connections need {needed} open files, and this process may"
            f" have {hard}; raise the hard limit (ulimit -Hn)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
