"""Measure what a stream and an idle connection cost: two processes, TLS, loopback.

    python asv_bench/scripts/stream_speed.py rate  [--seconds 5] [--size 1024]
    python asv_bench/scripts/stream_speed.py paced [--seconds 5] [--rate 15000]
    python asv_bench/scripts/stream_speed.py idle  [--connections 1000]

`rate` streams as fast as the two ends go. `paced` sends on a schedule, whatever comes
back (open loop). The service tells how many records it has opened, and a latency runs
from the moment at which a record was due until that was told. Both print the processor
time of each end for one message, kernel and TLS included. `idle` opens connections,
each with a handshake and one request, as an agent has that waits for more to do, and
prints what one of them costs the server in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import multiprocessing
import resource
import ssl
import statistics
import tempfile
import time
from collections import deque
from contextlib import AsyncExitStack
from multiprocessing.connection import Connection
from pathlib import Path

import trustme

import sage
from sage.envelope import MemoryReplayGuard
from sage.service import Message, ServiceConfig, Stream, serving

ADA = "did:sage:web:agents.example:ada"
GRACE = "did:sage:web:agents.example:grace"
_FILES = 20_000


def main() -> None:
    """Start a service in a second process and measure it."""
    options = parse()
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, _FILES))
    ada, grace = sage.Agent.generate(ADA), sage.Agent.generate(GRACE)
    resolver = sage.MemoryResolver([ada.record, grace.record])
    with tempfile.TemporaryDirectory() as folder:
        certificate, tls = make_tls(Path(folder))
        parent, child = multiprocessing.Pipe()
        service = multiprocessing.get_context("fork").Process(
            target=lambda: run(serve(grace, resolver, certificate, child), options)
        )
        service.start()
        try:
            url = f"wss://localhost:{parent.recv()}/sage"
            connect = Connecting(url, ada, resolver, tls)
            measure = {"rate": rate, "paced": paced, "idle": idle}[options.what]
            run(measure(connect, options), options)
        finally:
            parent.close()
            service.join(20)
            service.kill()


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("rate", "paced", "idle"))
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--rate", type=int, default=15_000)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--uvloop", action="store_true")
    return parser.parse_args()


def run(main_task, options: argparse.Namespace) -> None:
    """Run a coroutine on the chosen loop."""
    factory = None
    if options.uvloop:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main_task)


def make_tls(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Return a server's certificate file and a client context that trusts it."""
    authority, certificate = trustme.CA(), folder / "server.pem"
    leaf = authority.issue_cert("localhost")
    leaf.private_key_and_cert_chain_pem.write_to_path(str(certificate))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return certificate, context


class Connecting:
    """Opens channels to the service."""

    def __init__(self, url, agent, resolver, tls) -> None:
        self._url, self._tls = url, tls
        self._agent, self._resolver = agent, resolver

    def __call__(self) -> sage.connect:
        """Return one that is not connected yet."""
        return sage.connect(
            self._url,
            agent=self._agent,
            peer=GRACE,
            resolver=self._resolver,
            tls=self._tls,
        )


# --- the service ----------------------------------------------------------------------


async def serve(grace, resolver, certificate: Path, parent: Connection) -> None:
    """Serve until the parent goes."""
    service = sage.Service(
        agent=grace,
        resolver=resolver,
        handler=tell_usage,
        stream_handler=count_records,
        guard=MemoryReplayGuard(assume_no_history=True),
        config=ServiceConfig(max_connections=_FILES),
    )
    logging.getLogger("sage").setLevel(logging.ERROR)
    async with serving(service, certificate=certificate) as port:
        parent.send(port)
        gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(parent.fileno(), gone.set)
        await gone.wait()


async def tell_usage(_: Message) -> bytes:
    """Answer with what this process has used."""
    return json.dumps(usage()).encode()


def usage() -> dict[str, float]:
    """Return this process's processor time (s) and memory (KiB)."""
    gc.collect()
    used = resource.getrusage(resource.RUSAGE_SELF)
    text = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    fields = [line.split() for line in text.splitlines()[1:]]
    memory = {field[0]: float(field[1]) for field in fields}
    return {
        "user": used.ru_utime,
        "system": used.ru_stime,
        "rss": memory["Rss:"],
        "pss": memory["Pss:"],
    }


async def count_records(stream: Stream) -> None:
    """Count records, and tell the count whenever there is nothing more to count."""
    counted, more = 0, asyncio.Event()

    async def tell() -> None:
        told = 0
        while True:
            await more.wait()
            more.clear()
            if told < counted:
                told = counted
                await stream.send(counted.to_bytes(8, "big"))

    telling = asyncio.create_task(tell())
    try:
        async for _ in stream:
            counted += 1
            more.set()
        await asyncio.sleep(0.1)
    finally:
        telling.cancel()


# --- what is measured -----------------------------------------------------------------


async def rate(connect: Connecting, options: argparse.Namespace) -> None:
    """Stream as fast as both ends go, 64 records ahead of what was told at most."""
    await stream_for(connect, options, interval_s=0.0)


async def paced(connect: Connecting, options: argparse.Namespace) -> None:
    """Stream on a schedule."""
    await stream_for(connect, options, interval_s=1 / options.rate)


async def stream_for(
    connect: Connecting, options: argparse.Namespace, *, interval_s: float
) -> None:
    """Stream for a while and print what it took."""
    payload, waiting = bytes(options.size), deque()
    latencies: list[float] = []
    room = asyncio.Event()

    async def count(stream: Stream) -> None:
        before = 0
        async for data in stream:
            now, told = time.monotonic(), int.from_bytes(data, "big")
            for _ in range(told - before):
                latencies.append(now - waiting.popleft())
            before = told
            room.set()

    async with connect() as channel:
        before = usage(), json.loads(await channel.request(b"usage"))
        async with channel.stream() as stream:
            counting = asyncio.create_task(count(stream))
            began = time.monotonic()
            end, due = began + options.seconds, began
            while (now := time.monotonic()) < end:
                if not interval_s:
                    while len(waiting) >= 256:
                        room.clear()
                        await room.wait()
                    due = now
                elif due > now:
                    await asyncio.sleep(due - now)
                waiting.append(due)
                await stream.send(payload)
                due += interval_s
            await stream.end()
            await counting
            took = time.monotonic() - began
        after = usage(), json.loads(await channel.request(b"usage"))
    report(latencies, took, before, after)


def report(latencies: list[float], took: float, before, after) -> None:
    """Print rate, latencies, and each end's processor time for one message."""
    count = len(latencies)
    cuts = statistics.quantiles(latencies, n=1000)
    print(
        f"{count / took:,.0f} messages/s; latency p50 {1e3 * cuts[499]:.2f} ms, "
        f"p99 {1e3 * cuts[989]:.2f} ms, p99.9 {1e3 * cuts[998]:.2f} ms"
    )
    for name, old, new in zip(("client", "server"), before, after, strict=True):
        user, system = (1e6 * (new[k] - old[k]) / count for k in ("user", "system"))
        print(f"{name}: {user + system:.1f} us/message ({user:.1f} + {system:.1f})")


async def idle(connect: Connecting, options: argparse.Namespace) -> None:
    """Open connections that do nothing, and print what one more costs the server."""
    gate = asyncio.Semaphore(16)

    async def open_one(stack: AsyncExitStack) -> None:
        async with gate:
            channel = await stack.enter_async_context(connect())
            await channel.request(b"hello")

    async with connect() as watching, AsyncExitStack() as stack:
        # What exists once, however many connections there are, is there already.
        for _ in range(20):
            await open_one(stack)
        before = json.loads(await watching.request(b"usage"))
        opening = [open_one(stack) for _ in range(options.connections)]
        began = time.monotonic()
        await asyncio.gather(*opening)
        print(f"{options.connections} opened in {time.monotonic() - began:.1f} s")
        await asyncio.sleep(1)
        after = json.loads(await watching.request(b"usage"))
        for name in ("rss", "pss"):
            each = (after[name] - before[name]) / options.connections
            print(f"{name}: {each:.1f} KiB for each idle connection")
        gc.freeze()  # closing them all is not what is measured


if __name__ == "__main__":
    main()
