from __future__ import annotations

import os
from pathlib import Path

import sage
from sage.cli.exits import Exit
from sage.cli.loadtest.usage import USAGE_QUESTION, Usage
from sage.identity import FileResolver
from sage.transport.address import tls_context

from ..conftest import GRACE, House, Run, needs_pipes, one_line, running


def words(house: House) -> tuple[object, ...]:
    return (
        *("loadtest-service", house / "grace.sage"),
        *("--certificate", house / "tls.pem", "--port", "0"),
        *("--passphrase-file", house / "pass"),
    )


async def test_it_echoes_acknowledges_and_says_what_it_used(
    house: House, ada: sage.Agent, tmp_path: Path
) -> None:
    records = ("--records", house / "records", "--connections", 3)
    with running(*words(house), *records, log=tmp_path / "log") as ready:
        assert ready["did"] == GRACE
        async with sage.connect(
            ready["url"],
            agent=ada,
            peer=GRACE,
            resolver=FileResolver(house / "records"),
            tls=tls_context(str(house / "ca.pem")),
        ) as channel:
            assert await channel.request(b"x") == b"x"
            assert Usage.decode(await channel.request(USAGE_QUESTION)) is not None
            async with channel.stream() as stream:
                await stream.send(b"record")
                assert int.from_bytes(await stream.receive(), "big") == 1


def test_records_that_cannot_be_read_are_named(house: House, run: Run) -> None:
    bad = house / "bad" / "agents.example"
    (bad / "ada.json").mkdir(parents=True, exist_ok=True)
    ended = run(*words(house), "--records", bad.parent)
    assert ended.code == Exit.CONFIG
    assert "ada.json is not a regular file" in one_line(ended)
    ended = run(*words(house), "--records", house / "none")
    assert ended.code == Exit.CONFIG
    assert "none is not a folder" in one_line(ended)


@needs_pipes
def test_a_pipe_is_refused_and_not_waited_for(
    house: House, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "agents.example").mkdir()
    pipe = tmp_path / "agents.example" / "ada.json"
    os.mkfifo(pipe)
    for more in (("--records", tmp_path), ("--records", "x", "--certificate", pipe)):
        ended = run(*words(house), *more)
        assert ended.code == Exit.CONFIG
        assert "ada.json is not a regular file" in one_line(ended)
