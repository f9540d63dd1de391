"""A service in a process of its own, so that its memory can be looked at.

Run as a script by `test_faults`: it serves until its standard input ends.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import sage
from sage.service import Message, ServiceConfig, Stream, serving

PASSPHRASE = "faults"


async def answer(message: Message) -> bytes:
    """Answer as many bytes as asked for, or the payload."""
    if message.payload.startswith(b"send "):
        return bytes(int(message.payload[5:]))
    return message.payload


async def echo(stream: Stream) -> None:
    async for data in stream:
        await stream.send(data)


async def main(folder: Path, certificate: Path, idle_timeout_s: float) -> None:
    grace = sage.Agent.load(folder / "grace.sage", passphrase=PASSPHRASE)
    service = sage.Service(
        agent=grace,
        resolver=sage.FileResolver(folder / "records"),
        handler=answer,
        stream_handler=echo,
        guard=sage.MemoryReplayGuard(assume_no_history=True),
        config=ServiceConfig(
            first_message_timeout_s=2.0,
            idle_timeout_s=idle_timeout_s,
            max_connections=300,
        ),
    )
    async with serving(service, certificate=certificate) as port:
        print(port, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))
