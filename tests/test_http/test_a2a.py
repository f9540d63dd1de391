"""A2A between strangers: its SDK's client and server, signed, streams included."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
)
from typing import Any

import httpx
import pytest
from a2a.client import Client, ClientConfig, create_client
from a2a.client.errors import A2AClientError
from a2a.helpers.proto_helpers import (
    get_stream_response_text,
    new_task_from_user_message,
    new_text_message,
    new_text_part,
)
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes.agent_card_routes import create_agent_card_routes
from a2a.server.routes.jsonrpc_routes import create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types.a2a_pb2 import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    GetTaskRequest,
    Role,
    SendMessageRequest,
)
from a2a.utils.errors import TaskNotFoundError
from starlette.applications import Starlette

import sage
from sage.http import ResponseCheck, SignatureAuth

ADA = "did:sage:web:agents.example:ada"


class Speller(AgentExecutor):
    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        await event_queue.enqueue_event(new_task_from_user_message(context.message))
        task = TaskUpdater(event_queue, context.task_id, context.context_id)
        for letter in context.get_user_input():
            await task.add_artifact([new_text_part(letter)])
        name = context.call_context.user.user_name
        await task.add_artifact([new_text_part(name)])
        await task.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


def application(url: str) -> Starlette:
    card = card_of(url)
    handler = DefaultRequestHandler(
        agent_executor=Speller(), task_store=InMemoryTaskStore(), agent_card=card
    )
    routes = [*create_agent_card_routes(card), *create_jsonrpc_routes(handler, "/a2a")]
    return Starlette(routes=routes)


def card_of(url: str) -> AgentCard:
    interface = AgentInterface(
        url=f"{url}/a2a", protocol_binding="JSONRPC", protocol_version="1.0"
    )
    skill = AgentSkill(id="spell", name="Spell", description="Spells", tags=["text"])
    return AgentCard(
        name="Speller",
        description="Spells",
        version="1.0",
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        capabilities=AgentCapabilities(streaming=True),
        supported_interfaces=[interface],
        skills=[skill],
    )


@pytest.fixture
def auth_of(grace, resolver) -> Callable[..., SignatureAuth]:
    def make(agent: sage.Agent, *streams: str) -> SignatureAuth:
        responses = ResponseCheck(
            resolver=resolver, peer=grace.did, unsigned_streams=streams
        )
        return SignatureAuth(agent.signing_key, responses=responses)

    return make


Connecting = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def connecting(running, grace, tls) -> Connecting:
    """Return a context manager that yields one client for each auth."""

    @asynccontextmanager
    async def connect(*auths: Any, streaming: bool = True) -> AsyncIterator[Any]:
        async with (
            running(make=application, sign_with=grace.signing_key) as site,
            AsyncExitStack() as opened,
        ):
            clients = []
            for auth in auths:
                http = httpx.AsyncClient(auth=auth, verify=tls.client)
                await opened.enter_async_context(http)
                config = ClientConfig(httpx_client=http, streaming=streaming)
                client = await create_client(site.url, config)
                clients.append(await opened.enter_async_context(client))
            yield clients

    return connect


async def send(client: Client, text: str) -> tuple[list[str], str]:
    """Send a message; return the texts that came back, and the task's id."""
    message = new_text_message(text, role=Role.ROLE_USER)
    texts, task = [], ""
    async for event in client.send_message(SendMessageRequest(message=message)):
        task = task or event.task.id
        texts.append(get_stream_response_text(event))
    return [text for text in texts if text], task


async def test_an_agent_knows_who_sends_and_answers_in_a_stream(
    connecting, auth_of, ada
):
    async with connecting(auth_of(ada, "text/event-stream")) as (client,):
        texts, _ = await send(client, "hi")
        assert texts == ["h", "i", ADA]


async def test_answers_in_one_piece_need_no_exception(connecting, auth_of, ada):
    async with connecting(auth_of(ada), streaming=False) as (client,):
        _, task = await send(client, "hi")
        found = await client.get_task(GetTaskRequest(id=task))
        said = [part.text for made in found.artifacts for part in made.parts]
        assert said == ["h", "i", ADA]


async def test_a_task_is_its_senders_alone(connecting, auth_of, ada, resolver):
    bob = sage.Agent.generate("did:sage:web:agents.example:bob")
    resolver.publish(bob.record)
    auths = auth_of(ada), auth_of(bob)
    async with connecting(*auths, streaming=False) as (of_ada, of_bob):
        _, task = await send(of_ada, "hi")
        assert (await of_ada.get_task(GetTaskRequest(id=task))).id == task
        with pytest.raises(TaskNotFoundError):
            await of_bob.get_task(GetTaskRequest(id=task))


async def test_nobody_connects_unsigned(connecting):
    with pytest.raises(A2AClientError):
        async with connecting(None):
            raise AssertionError("connected")
