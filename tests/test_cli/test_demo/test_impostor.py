from __future__ import annotations

import pytest

from sage.cli.demo.impostor import impersonating
from sage.cli.demo.stage import staged
from sage.errors import AuthenticationError, Code, RemoteFailure
from sage.identity import MemoryResolver
from sage.service import Agent, connect


async def test_only_the_keys_give_it_away(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Agent] = []
    generate = Agent.generate

    def noted(did: str) -> Agent:
        made.append(generate(did))
        return made[-1]

    async with staged() as stage:
        monkeypatch.setattr(Agent, "generate", noted)
        async with impersonating(stage) as url:
            (impostor,) = made
            assert impostor.did == stage.grace.did
            ours = {"agent": stage.ada, "peer": stage.grace.did, "tls": stage.tls}
            with pytest.raises(AuthenticationError) as caught:
                await connect(url, resolver=stage.resolver, **ours)
            assert caught.value.code is Code.SIG_BAD
            # To somebody who takes its record for Grace's, it is in proper form.
            fooled = MemoryResolver([stage.ada.record, impostor.record])
            with pytest.raises(RemoteFailure):
                await connect(url, resolver=fooled, **ours)
