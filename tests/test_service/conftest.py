"""Two agents, and a service on a real socket."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

import sage
from sage.encoding import b64u_encode
from sage.envelope import Request, seal_request
from sage.service import Clock, Handler, Message, ServiceConfig, serving
from sage.service.acceptance import Acceptance
from sage.service.accepted import ConnectionSessions
from sage.service.host import Host
from sage.service.initiation import initiate
from sage.service.operation import Operation
from sage.types import Role

ADA = "did:sage:web:agents.example:ada"
GRACE = "did:sage:web:agents.example:grace"
CLOCK = Clock()


@pytest.fixture
def ada() -> sage.Agent:
    return sage.Agent.generate(ADA)


@pytest.fixture
def grace() -> sage.Agent:
    return sage.Agent.generate(GRACE)


@pytest.fixture
def resolver(ada: sage.Agent, grace: sage.Agent) -> sage.MemoryResolver:
    return sage.MemoryResolver([ada.record, grace.record])


async def echo(message: Message) -> bytes:
    return b"echo:" + message.payload


Running = Callable[..., AbstractAsyncContextManager[str]]


@pytest.fixture
def running(grace: sage.Agent, resolver: sage.MemoryResolver, tls) -> Running:
    """Return a context manager that runs Grace and yields her URL."""

    @asynccontextmanager
    async def run(handler: Handler = echo, **options: object) -> AsyncIterator[str]:
        service = sage.Service(
            **{
                "agent": grace,
                "resolver": resolver,
                "handler": handler,
                **options,
            }  # type: ignore[arg-type]
        )
        # Handlers that hang are a test's, and not to be waited for.
        short = {"stop_timeout_s": 0.5}
        async with serving(service, certificate=tls.certificate, **short) as port:
            yield f"wss://localhost:{port}/sage"

    return run


@pytest.fixture
def connecting(
    ada: sage.Agent, resolver: sage.MemoryResolver, tls
) -> Callable[..., sage.connect]:
    """Return `sage.connect` with Ada's side filled in."""

    def connect(url: str, **options: object) -> sage.connect:
        return sage.connect(
            url,
            **{
                "agent": ada,
                "peer": GRACE,
                "resolver": resolver,
                "tls": tls.client,
                **options,
            },  # type: ignore[arg-type]
        )

    return connect


def header(agent: sage.Agent, established=None, **changes) -> Request:
    """Return what Ada asks Grace, with any member changed; not yet signed."""
    now = CLOCK.unix_time()
    members = {
        "id": str(uuid.uuid4()),
        "did": agent.did,
        "recipient": GRACE,
        "kid": agent.signing_key.kid,
        "created": now,
        "expires": now + 60,
        "nonce": b64u_encode(os.urandom(16)),
        "encoding": "plain",
        "context_id": str(uuid.uuid4()),
        "role": Role.INITIATOR,
    }
    if established is not None:
        members |= {
            "encoding": "session",
            "context_id": established.binding.ctx,
            "session_id": established.binding.session_id,
        }
    return Request(**members | changes)


def sealed(agent: sage.Agent, established, plaintext=b"x", **changes) -> Request:
    """Return a signed request in a session."""
    return seal_request(
        header(agent, established, **changes),
        plaintext,
        session=established.session,
        key=agent.signing_key,
        now=CLOCK.now(),
    )


@pytest.fixture
def host(grace: sage.Agent, resolver: sage.MemoryResolver) -> Host:
    return Host(
        agent=grace,
        resolver=resolver,
        handler=echo,
        guard=sage.MemoryReplayGuard(assume_no_history=True),
        config=ServiceConfig(),
        clock=CLOCK,
    )


@pytest.fixture
def shake_hands(ada: sage.Agent, resolver: sage.MemoryResolver, host: Host):
    """Shake hands without a carrier: Ada's end, Grace's end, and what accepts."""

    async def shake(ask=None, sessions=None):
        sessions = ConnectionSessions(8) if sessions is None else sessions
        acceptance = Acceptance(host, sessions)

        async def ask_directly(request):
            return (await acceptance.answer(request))[0]

        established = await initiate(
            ask or ask_directly,
            agent=ada,
            peer=GRACE,
            operation=Operation(resolver, CLOCK, init_did=ada.did, resp_did=GRACE),
            clock=CLOCK,
            ttl_s=60,
        )
        accepted = sessions.get(established.binding.session_id)
        return established, accepted, acceptance

    return shake
