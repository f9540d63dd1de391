from __future__ import annotations

from pathlib import Path

import pytest

from sage.cli.demo.children import Child
from sage.cli.demo.impostor import impersonating
from sage.cli.demo.stage import Stage
from sage.errors import AuthenticationError, Code, RemoteFailure
from sage.identity import MemoryResolver
from sage.service import Agent, connect
from sage.transport.address import tls_context

from ..conftest import ADA, GRACE, House


async def test_only_the_keys_give_it_away(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, grace = Agent.generate(ADA), Agent.generate(GRACE)
    stage = Stage(
        ada=ada,
        grace=grace,
        registry=Child({}, Path()),
        server=Child({}, Path()),
        resolver=MemoryResolver([ada.record, grace.record]),
        tls=tls_context(str(house / "ca.pem")),
        certificate=house / "tls.pem",
    )
    impostor = Agent.generate(GRACE)
    monkeypatch.setattr(Agent, "generate", lambda did: impostor)
    ours = {"agent": ada, "peer": GRACE, "tls": stage.tls}
    async with impersonating(stage) as url:
        with pytest.raises(AuthenticationError) as caught:
            await connect(url, resolver=stage.resolver, **ours)
        assert caught.value.code is Code.SIG_BAD
        # To somebody who takes its record for Grace's, it is in proper form.
        fooled = MemoryResolver([ada.record, impostor.record])
        with pytest.raises(RemoteFailure):
            await connect(url, resolver=fooled, **ours)
