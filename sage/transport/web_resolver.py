"""The `web` registry over HTTPS: the shell around `identity.web` (REG-08)."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from ..errors import (
    Code,
    DecodeError,
    ResolutionError,
    TransportError,
    UsageError,
)
from ..identity import (
    Observation,
    VersionFloor,
    check_media,
    parse_web_response,
    well_known_url,
)
from ..identity.resolver import observe, parse_web_did
from ..limits import RESOLVE_TIMEOUT_S, WEB_RESPONSE_MAX_BYTES
from ..runtime.bounds import check_limit
from .address import HostMap
from .deadline import within
from .https_client import HttpResponse
from .https_get import HttpsGetter

__all__ = ["WebResolver"]

_REQUEST_HEADERS = (
    ("Accept", "application/json"),
    ("Cache-Control", "no-cache, no-store"),
)


class WebResolver:
    """Reads `did:sage:web:…` records from their well-known URLs, afresh each time.

    Redirects are refused, and so are names that lead to private addresses, unless
    ``host_map`` says where they lead.

    Args:
        host_map: name → `HostAddress`, for deployments without public DNS.
        allowed_domains: the only domains to ask; ``None`` for any.
        version_floor: remembers the highest version seen of each record, so that
            an old one is refused; in memory when not given.
        timeout_s: for one resolution, from DNS to the last byte.
        wall_clock: seconds since the epoch.

    Raises:
        UsageError: one text for ``allowed_domains``, a host map or a time limit that
            is none.
    """

    def __init__(
        self,
        *,
        host_map: HostMap | None = None,
        allowed_domains: Collection[str] | None = None,
        version_floor: VersionFloor | None = None,
        timeout_s: float = RESOLVE_TIMEOUT_S,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        if isinstance(allowed_domains, str):  # its letters: nobody would be asked
            raise UsageError("allowed domains are several, such as a set, not one text")
        check_limit(timeout_s)
        self._getter = HttpsGetter(host_map)
        self._allowed = None if allowed_domains is None else frozenset(allowed_domains)
        self._floor = version_floor if version_floor is not None else VersionFloor()
        self._timeout_s = timeout_s
        self._wall_clock = wall_clock

    async def resolve(self, did: str, *, now: float) -> Observation:
        """Read the record of ``did`` from its registry.

        Args:
            did: a `did:sage:web` identifier.
            now: monotonic seconds at the start of the operation that this serves;
                the observation's age counts from here.

        Raises:
            ResolutionError: ``id.malformed``, ``id.unknown-kind``,
                ``record.not-found`` (404), ``record.unreachable`` (any other
                status, network, time limit), ``record.invalid``,
                ``record.stale`` (an older version than seen before),
                ``size.exceeded``.
        """
        asked = parse_web_did(did)
        host, path = well_known_url(did)
        if self._allowed is not None and host not in self._allowed:
            raise ResolutionError(
                f"{host} is not an allowed domain", code=Code.RECORD_UNREACHABLE
            )
        try:
            response = await within(
                self._timeout_s,
                self._getter.get(
                    host,
                    path,
                    headers=_REQUEST_HEADERS,
                    max_bytes=WEB_RESPONSE_MAX_BYTES,
                ),
                f"resolving {did}",
            )
        except TransportError as exc:
            raise ResolutionError(str(exc), code=Code.RECORD_UNREACHABLE) from exc
        except DecodeError as exc:
            raise ResolutionError(str(exc), code=exc.code) from exc
        _check_status(response, did)
        check_media(response.headers, response.trailers)
        unix_time = int(self._wall_clock())
        record = parse_web_response(response.body, did, unix_time=unix_time)
        return observe(
            record,
            asked,
            source=f"https://{host}{path}",
            now=now,
            floor=self._floor,
            observed_time=unix_time,
        )

    async def close(self) -> None:
        """Close kept connections. Idempotent."""
        await self._getter.close()


def _check_status(response: HttpResponse, did: str) -> None:
    if response.status == 200:
        return
    if response.status == 404:
        raise ResolutionError(
            f"{did} is not in its registry", code=Code.RECORD_NOT_FOUND
        )
    raise ResolutionError(
        f"the registry of {did} answered {response.status}",
        code=Code.RECORD_UNREACHABLE,
    )
