"""Files as records: every receipt checked, trouble with one file its own."""

from __future__ import annotations

import os
import ssl

import pytest
import trustme

import sage
from sage.cli.files import find_files
from sage.cli.receipts import Part
from sage.cli.receiver import Receiver
from sage.cli.streaming import stream_files
from sage.errors import ConnectionLost
from sage.service import Stream, serving

ADA, GRACE = (f"did:sage:web:agents.example:{name}" for name in ("ada", "grace"))


class Quiet:
    def __init__(self) -> None:
        self.bytes, self.paths = 0, []

    def advance(self, size: int) -> None:
        self.bytes += size

    def finish(self, path: str) -> None:
        self.paths.append(path)


async def no_request(message: sage.Message) -> bytes:
    raise AssertionError("files go over a stream")


async def transfer(tmp_path, files, stream_handler):
    """Stream files from Ada to Grace; return the result and the progress."""
    ada, grace = sage.Agent.generate(ADA), sage.Agent.generate(GRACE)
    resolver = sage.MemoryResolver([ada.record, grace.record])
    authority = trustme.CA()
    certificate = tmp_path / "server.pem"
    leaf = authority.issue_cert("localhost")
    leaf.private_key_and_cert_chain_pem.write_to_path(str(certificate))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    service = sage.Service(
        agent=grace,
        resolver=resolver,
        handler=no_request,
        stream_handler=stream_handler,
    )
    progress = Quiet()
    async with (
        serving(service, certificate=certificate) as port,
        sage.connect(
            f"wss://localhost:{port}/sage",
            agent=ada,
            peer=GRACE,
            resolver=resolver,
            tls=context,
        ) as channel,
        channel.stream() as stream,
    ):
        return await stream_files(stream, files, progress=progress), progress


@pytest.fixture
def folder(tmp_path):
    top = tmp_path / "files"
    top.mkdir()
    for name, size in (("a", 0), ("b", 1), ("c", 64 * 1024), ("d", 3_000_000)):
        (top / name).write_bytes(os.urandom(size))
    (top / "link").symlink_to("a")
    return top


async def test_every_file_gets_its_receipt(tmp_path, folder):
    streamed, progress = await transfer(
        tmp_path, find_files(folder), Receiver().serve_stream
    )
    assert streamed.files == 4
    assert not streamed.failures
    assert streamed.total_bytes == progress.bytes == 1 + 64 * 1024 + 3_000_000
    assert streamed.records == 1 + 1 + 1 + 46
    assert progress.paths == ["a", "b", "c", "d"]


async def test_a_file_that_cannot_be_read_is_its_own_failure(tmp_path, folder):
    files = list(find_files(folder))
    (folder / "b").unlink()
    streamed, progress = await transfer(tmp_path, files, Receiver().serve_stream)
    assert streamed.files == 3
    assert streamed.failures == {"b": "No such file or directory"}
    assert sorted(progress.paths) == ["a", "b", "c", "d"]


async def test_a_false_receipt_is_noticed(tmp_path, folder):
    async def lie(stream: Stream) -> None:
        async for record in stream:
            if Part.decode(record).is_last:
                await stream.send(b'{"no":"receipt"}')

    streamed, _ = await transfer(tmp_path, find_files(folder), lie)
    assert streamed.files == 0
    assert list(streamed.failures) == ["a", "b", "c", "d"]


async def test_a_stranger_is_refused(tmp_path, folder):
    handler = Receiver(allowed=[GRACE]).serve_stream
    with pytest.raises(ConnectionLost):
        await transfer(tmp_path, find_files(folder), handler)
