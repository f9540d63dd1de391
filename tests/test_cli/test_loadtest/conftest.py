"""A load test's service inside this process, on a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from time import monotonic

import pytest

import sage
from sage.cli.loadtest.driver import Outcome
from sage.cli.loadtest.link import Connect
from sage.cli.loadtest.plan import Mode, Plan
from sage.cli.loadtest.responder import respond, respond_stream
from sage.cli.loadtest.tally import Tally
from sage.cli.loadtest.usage import Usage
from sage.service import serving

Running = Callable[..., AbstractAsyncContextManager[Connect]]


@pytest.fixture
def running(tls) -> Running:
    """Return a context manager that runs a service and yields what connects to it."""

    @asynccontextmanager
    async def run(**options: object) -> AsyncIterator[Connect]:
        ada, grace = (
            sage.Agent.generate(f"did:sage:web:agents.example:{name}")
            for name in ("ada", "grace")
        )
        resolver = sage.MemoryResolver([ada.record, grace.record])
        service = sage.Service(
            **{
                "agent": grace,
                "resolver": resolver,
                "handler": respond,
                "stream_handler": respond_stream,
                **options,
            }  # type: ignore[arg-type]
        )
        async with serving(service, certificate=tls.certificate) as port:

            async def connect() -> sage.Channel:
                return await sage.connect(
                    f"wss://localhost:{port}/sage",
                    agent=ada,
                    peer=grace.did,
                    resolver=resolver,
                    tls=tls.client,
                )

            yield connect

    return run


@pytest.fixture
def plan() -> Plan:
    return Plan(
        mode=Mode.REQUEST,
        duration_s=0.3,
        connections=1,
        rate=0,
        size=100,
        in_flight=4,
        warm_up_s=0,
    )


@pytest.fixture
def outcome(plan: Plan) -> Outcome:
    """Twenty messages of a second, one of which failed."""
    tally = Tally(100.0, 101.0)
    for n in range(19):
        tally.send([100 + n / 20])
        tally.answer([100 + n / 20], 100 + n / 20 + 0.01 * (n + 1))
    tally.send([100.95])
    tally.fail(100.95, sage.errors.ConnectionLost("<gone> & away"))
    usage = Usage(cpu_s=1.0, rss_bytes=1 << 20, core="cython core, libcrypto engine")
    later = replace(usage, cpu_s=1.5, rss_bytes=3 << 20)
    return Outcome(
        plan=replace(plan, duration_s=1.0, rate=20),
        tally=tally,
        opening_s=0.25,
        unsent=0,
        lost=0,
        client=(usage, later),
        server=(usage, later),
        rss=(usage.rss_bytes, later.rss_bytes),
    )


def now_for(seconds: float) -> Tally:
    """Return a tally that counts from now on."""
    start = monotonic()
    return Tally(start, start + seconds)
