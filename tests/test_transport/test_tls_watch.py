"""The watch over TLS, against peers that keep OpenSSL reading.

Without it, each of the floods holds the loop for as long as it lasts: tens of thousands
of records, at 6 to 70 µs each.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time
import weakref

import pytest

from sage.transport import tls_watch
from sage.transport.tls import TlsTransport
from sage.transport.tls_watch import TlsKeptBusy, TlsWatch, watch_here

from .tls_by_hand import (
    ALERT,
    DATA,
    HANDSHAKE,
    ByHand,
    Keys12,
    Keys13,
    Noting,
    in_single_bytes,
    log_keys,
    message,
    tcp_pair,
    ticket,
)

SIDES = ("server", "client")


class Heart:
    """Beats in the running loop, and notes how much it computed between two beats.

    Not how long it took: that says more about what else the machine does.
    """

    def __init__(self) -> None:
        self.longest_s, self.beats = 0.0, 0
        self._task = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        before = time.thread_time()
        while True:
            await asyncio.sleep(0.001)
            now = time.thread_time()
            self.longest_s = max(self.longest_s, now - before)
            self.beats, before = self.beats + 1, now

    def stop(self) -> None:
        self._task.cancel()


@contextlib.asynccontextmanager
async def facing(tls, folder, side, *, tls12=False, client=None):
    """A transport of ours that is the server or the client, and what faces it."""
    client = client or ssl.create_default_context(cafile=str(tls.authority))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tls.certificate)
    if tls12:
        server.maximum_version = ssl.TLSVersion.TLSv1_2
        server.set_ciphers("ECDHE+AES256+AESGCM")
    ours, theirs = (server, client) if side == "server" else (client, server)
    name = "localhost" if side == "server" else None
    key_log = log_keys(theirs, folder)
    peer = ByHand(theirs, Noting(), ours, name=name, pair=tcp_pair())
    async with asyncio.timeout(60):
        await peer.shake_hands()
        log, end = key_log.read_text(), "CLIENT" if side == "server" else "SERVER"
        if tls12:
            peer.keys = Keys12(log, end, peer.hello)
        else:
            peer.keys = Keys13(log, end, seq=0 if side == "server" else 2)
        yield peer
        peer.ours.abort()
        await peer.protocol.lost.wait()
    peer.sock.close()


def send(sock, data):
    """Send as fast as is possible, for as long as anybody takes it."""
    sock.setblocking(True)
    with contextlib.suppress(OSError):
        sock.sendall(data)


def read_all(sock):
    sock.setblocking(True)
    with contextlib.suppress(OSError):
        while sock.recv(1_000_000):
            pass


async def send_until_lost(peer, data):
    """Send, and return how the connection ended."""
    sending = asyncio.create_task(asyncio.to_thread(send, peer.sock, data))
    await peer.protocol.lost.wait()
    await sending
    return peer.protocol.error


@pytest.mark.every_loop
@pytest.mark.parametrize("side", SIDES)
async def test_a_flood_of_new_keys_holds_up_nobody_else(tls, tmp_path, side, caplog):
    async with facing(tls, tmp_path, side) as peer:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        other = Noting(echo=True)
        TlsTransport(ours, other, tls.server, timeout_s=5)
        reader, writer = await asyncio.open_connection(
            sock=theirs, ssl=tls.client, server_hostname="localhost"
        )
        # More than a second of work.
        flood = b"".join(peer.keys.new_keys() for _ in range(100_000))
        heart = Heart()
        flooding = asyncio.create_task(send_until_lost(peer, flood))
        while not flooding.done():
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
        heart.stop()
        assert isinstance(await flooding, TlsKeptBusy)
        assert str(peer.protocol.error) == "the peer kept TLS busy"
        assert heart.beats
        assert heart.longest_s < 0.3
        assert "127.0.0.1:" in caplog.text
        assert "kept TLS busy and is cut off" in caplog.text
        writer.transport.abort()
        await other.lost.wait()


def new_keys(keys):
    return b"".join(keys.new_keys() for _ in range(20_000))


def new_keys_for_new_keys(keys):
    return b"".join(keys.new_keys(ask=True) for _ in range(20_000))


def new_keys_and_warnings(keys):
    warning = b"\x01\x5a"  # that the user cancels; five in a row are too many
    return b"".join(
        keys.new_keys() + b"".join(keys.seal(ALERT, warning) for _ in range(4))
        for _ in range(10_000)
    )


def tickets(keys):
    return b"".join(keys.seal(HANDSHAKE, ticket(32)) for _ in range(20_000))


def long_tickets(keys):
    return b"".join(keys.seal(HANDSHAKE, ticket(16_000)) for _ in range(3_000))


def tickets_in_bunches(keys):
    bunch = b"".join(ticket(32) for _ in range(200))
    return b"".join(keys.seal(HANDSHAKE, bunch) for _ in range(200))


def ticket_in_pieces(keys):
    return in_single_bytes(lambda byte: keys.seal(HANDSHAKE, byte), ticket(60_000))


def hellos(keys):
    hello = message(1, b"\x03\x03" + bytes(33) + b"\0\x02\xc0\x30" + b"\x01\0")
    return b"".join(keys.seal(HANDSHAKE, hello) for _ in range(40_000))


def requests_for_a_hello(keys):
    return b"".join(keys.seal(HANDSHAKE, message(0, b"")) for _ in range(40_000))


@pytest.mark.parametrize(
    ("side", "flood", "options"),
    [
        ("server", new_keys_for_new_keys, {}),
        ("server", new_keys_and_warnings, {}),
        ("client", new_keys_for_new_keys, {}),
        ("client", tickets, {}),
        ("client", long_tickets, {}),
        ("client", tickets_in_bunches, {}),
        ("client", ticket_in_pieces, {}),
        ("server", hellos, {"tls12": True}),
        ("client", requests_for_a_hello, {"tls12": True}),
    ],
)
@pytest.mark.parametrize("reads", [True, False])
async def test_who_sends_what_openssl_swallows_is_cut(
    tls, tmp_path, side, flood, options, reads
):
    async with facing(tls, tmp_path, side, **options) as peer:
        if reads:  # what OpenSSL answers
            threading.Thread(target=read_all, args=[peer.sock], daemon=True).start()
        error = await send_until_lost(peer, flood(peer.keys))
        assert isinstance(error, TlsKeptBusy)
        assert not peer.protocol.got


@pytest.mark.parametrize(
    ("kind", "content", "options"),
    [
        (DATA, b"", {}),
        (HANDSHAKE, b"", {}),
        (ALERT, b"\x01\x5a", {}),
        (DATA, b"", {"tls12": True}),
        (ALERT, b"\x01\x5a", {"tls12": True}),
    ],
)
async def test_what_openssl_bounds_itself(tls, tmp_path, kind, content, options):
    async with facing(tls, tmp_path, "server", **options) as peer:
        flood = b"".join(peer.keys.seal(kind, content) for _ in range(10_000))
        assert isinstance(await send_until_lost(peer, flood), ssl.SSLError)


async def test_a_late_change_of_cipher_is_refused(tls, tmp_path):
    async with facing(tls, tmp_path, "server") as peer:
        error = await send_until_lost(peer, b"\x14\x03\x03\0\x01\x01" * 100_000)
        assert isinstance(error, ssl.SSLError)


@pytest.mark.parametrize("measured", [True, False])
async def test_a_hello_in_single_bytes_is_cut(tls, monkeypatch, measured):
    """It may be 128 KiB long, and takes 0.2 s of OpenSSL."""
    monkeypatch.setattr(tls_watch, "TLS_LONG_CALL_S", 0.02)
    if not measured:
        monkeypatch.setattr(tls_watch, "TLS_UNMEASURED_CALL_S", 0.02)
        unmeasured(monkeypatch)
    ours, theirs = tcp_pair()
    ours.setblocking(False)
    failed = asyncio.get_running_loop().create_future()
    TlsTransport(ours, Noting(), tls.server, timeout_s=9, on_opened=failed.set_result)
    hello = message(1, bytes(130_000))
    flood = in_single_bytes(lambda byte: b"\x16\x03\x01\0\x01" + byte, hello)
    sending = asyncio.to_thread(send, theirs, flood)
    async with asyncio.timeout(20):
        _, error = await asyncio.gather(sending, failed)
    assert isinstance(error, TlsKeptBusy)
    theirs.close()


async def test_who_lets_a_write_read_is_cut(tls, tmp_path, monkeypatch):
    """What TLS has read the head of, it reads to the end before it writes."""
    monkeypatch.setattr(tls_watch, "TLS_LONG_CALL_S", 0.02)
    async with facing(tls, tmp_path, "client") as peer:
        flood, transport = ticket_in_pieces(peer.keys), peer.protocol.transport
        head = 10 * (5 + 1 + 1 + 16)  # of ten records
        await peer.loop.sock_sendall(peer.sock, flood[:head])
        await asyncio.sleep(0.05)
        transport.pause_reading()
        sending = asyncio.create_task(send_until_lost(peer, flood[head:]))
        await asyncio.sleep(0.05)
        transport.write(b"x")
        assert isinstance(await sending, TlsKeptBusy)


@pytest.mark.every_loop
async def test_who_lets_a_goodbye_read_is_cut(tls, tmp_path):
    async with facing(tls, tmp_path, "server") as peer:
        flood, transport = new_keys(peer.keys), peer.protocol.transport
        transport.pause_reading()
        sending = asyncio.create_task(send_until_lost(peer, flood))
        await asyncio.sleep(0.05)
        transport.close()
        assert isinstance(await sending, TlsKeptBusy)


@pytest.mark.every_loop
@pytest.mark.parametrize("side", SIDES)
async def test_an_honest_peer_changes_its_keys(tls, tmp_path, side):
    async with facing(tls, tmp_path, side) as peer:
        several = b"".join(peer.keys.new_keys() for _ in range(100))
        for number in range(100):
            said = peer.keys.seal(DATA, bytes([number]))
            more = peer.keys.new_keys(ask=True)
            await peer.loop.sock_sendall(peer.sock, several + said + more)
            several = b""
            while len(peer.protocol.got) <= number:
                await asyncio.sleep(0.001)
            await peer.drain() if number % 10 == 0 else None
        assert peer.protocol.got == bytes(range(100))
        assert peer.protocol.error is None


async def test_a_client_that_signs_while_it_reads_has_more_time(tls, tmp_path):
    """A server may ask a client that allows it who it is, after the handshake."""
    client = ssl.create_default_context(cafile=str(tls.authority))
    client.post_handshake_auth = True
    async with facing(tls, tmp_path, "client", client=client) as peer:
        few = b"".join(peer.keys.new_keys() for _ in range(2_000))  # 0.02 s
        send(peer.sock, few + peer.keys.seal(DATA, b"still there"))
        while peer.protocol.got != b"still there":
            await asyncio.sleep(0.01)
        assert isinstance(await send_until_lost(peer, new_keys(peer.keys)), TlsKeptBusy)


# --- the clocks -------------------------------------------------------------------


def unmeasured(monkeypatch):
    """Let this thread have a watch as on a system that measures no thread."""
    monkeypatch.delattr(time, "pthread_getcpuclockid")
    monkeypatch.setattr(tls_watch._here, "watch", TlsWatch())


@pytest.mark.every_loop
async def test_it_does_without_a_clock_of_the_thread(tls, tmp_path, monkeypatch):
    monkeypatch.setattr(tls_watch, "TLS_UNMEASURED_CALL_S", 0.05)
    unmeasured(monkeypatch)
    async with facing(tls, tmp_path, "server") as peer:
        assert isinstance(await send_until_lost(peer, new_keys(peer.keys)), TlsKeptBusy)


@pytest.fixture
def blocking(tls):
    """Two ends that wait for each other, with nothing to do meanwhile."""
    ours, theirs = tcp_pair()
    ends = {}

    def shake_hands() -> None:
        ends["theirs"] = tls.client.wrap_socket(theirs, server_hostname="localhost")

    other = threading.Thread(target=shake_hands)
    other.start()
    ends["ours"] = tls.server.wrap_socket(
        ours, server_side=True, suppress_ragged_eofs=False
    )
    other.join()
    with ends["ours"], ends["theirs"]:
        yield ends["ours"], ends["theirs"]


def test_time_that_passes_is_no_work(blocking):
    """As in a call of a process that is stopped, or that gets no processor."""
    ours, theirs = blocking
    later = threading.Timer(0.3, theirs.sendall, [b"at last"])
    later.start()
    assert TlsWatch().recv(ours, 100) == b"at last"
    later.join()


@pytest.mark.parametrize("measured", [True, False])
def test_a_clock_that_jumps_cuts_nobody(blocking, monkeypatch, measured):
    """As that of a thread may, when its machine stood still."""
    looks = itertools.count()

    def clock() -> float:
        return 0.0 if next(looks) < 5 else 1000.0

    monkeypatch.setattr(tls_watch, "_clock_of_this_thread", lambda: (clock, measured))
    ours, theirs = blocking
    later = threading.Timer(0.2, theirs.sendall, [b"at last"])
    later.start()
    assert TlsWatch().recv(ours, 100) == b"at last"
    later.join()
    assert next(looks) > 10


SERVE = """
    import asyncio, os, signal, ssl, socket, sys, time
    if sys.argv[3] == "unmeasured":
        del time.pthread_getcpuclockid
    from sage.transport.tls_listener import TlsListener

    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
        def data_received(self, data):
            self.transport.write(data)
        def connection_lost(self, error):
            print(error, flush=True)
        def eof_received(self): pass
        def pause_writing(self): self.transport.pause_reading()
        def resume_writing(self): self.transport.resume_reading()

    async def main():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1])
        listening = socket.socket(fileno=int(sys.argv[2]))
        TlsListener(listening, Echo, context, handshake_timeout_s=9)
        await asyncio.Event().wait()

    asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="nothing stops a process")
@pytest.mark.parametrize("clock", ["measured", "unmeasured"])
def test_a_process_that_is_stopped_cuts_nobody(tls, clock):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        descriptor = listening.fileno()
        command = [sys.executable, "-c", textwrap.dedent(SERVE), str(tls.certificate)]
        with subprocess.Popen(
            [*command, str(descriptor), clock],
            stdout=subprocess.PIPE,
            pass_fds=[descriptor],
        ) as server:
            _echo_through(server, listening.getsockname(), tls)
            assert server.stdout.read() == b""


def _echo_through(server, address, tls):
    """Send megabytes through a process that stands still now and then, and end it."""
    ended = threading.Event()

    def disturb() -> None:
        while not ended.wait(0.003):
            server.send_signal(signal.SIGSTOP)
            time.sleep(0.03)
            server.send_signal(signal.SIGCONT)

    disturbing = threading.Thread(target=disturb)
    with (
        socket.create_connection(address, timeout=20) as sock,
        tls.client.wrap_socket(sock, server_hostname="localhost") as client,
    ):
        disturbing.start()
        try:
            data, until = os.urandom(100_000), time.monotonic() + 2
            while time.monotonic() < until:
                client.sendall(data)
                got = b""
                while len(got) < len(data):
                    got += client.recv(100_000)
                assert got == data
        finally:
            ended.set()
            disturbing.join()
            server.kill()


# --- whom it cuts -----------------------------------------------------------------


@pytest.mark.usefixtures("brief")  # no other watch opens a file, or lingers as long
def test_nothing_outside_of_a_call_is_ever_touched(tls, monkeypatch):
    """With a watch that cuts every call it sees, in threads that do nothing else.

    What a descriptor is used for after its connection stays what it is, and so does
    what is open beside it.
    """
    watch, ended = TlsWatch(), threading.Event()
    monkeypatch.setattr(tls_watch.logger, "warning", lambda *_, **__: None)
    # The watch's own thread makes what it needs to cut, and does not end meanwhile.
    monkeypatch.setattr(tls_watch, "_LINGER_S", 60.0)

    def cut_everybody() -> None:
        while not ended.is_set():
            watch._end(watch._calls)

    hunters = [threading.Thread(target=cut_everybody) for _ in range(2)]
    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    for hunter in hunters:
        hunter.start()
    cut = served = 0
    reused: list[int] = []
    until = time.monotonic() + 60
    try:
        while cut < 30 or served < 30 or len(reused) < 3:
            assert time.monotonic() < until
            for outcome in _one_life(watch, tls, reused):
                cut, served = cut + outcome, served + (not outcome)
    finally:
        sys.setswitchinterval(switching)
        ended.set()
        for hunter in hunters:
            hunter.join()
        monkeypatch.setattr(tls_watch, "_LINGER_S", 0.0)
        watch._wanted.set()


def _one_life(watch, tls, reused):
    """Shake hands, read, close; yield for each call whether it was cut.

    ``reused`` learns the number of a descriptor that was somebody else's afterwards.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    identity, descriptor = os.fstat(ours.fileno()), ours.fileno()
    end = tls.server.wrap_socket(
        ours,
        server_side=True,
        do_handshake_on_connect=False,
        suppress_ragged_eofs=False,
    )
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = tls.client.wrap_bio(into, out, server_hostname="localhost")
    for step in range(8):
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake() if step < 3 else client.write(b"x" * 9000)
        theirs.sendall(out.read())
        try:
            watch.do_handshake(end) if step < 2 else watch.recv(end, 20_000)
            yield False
        except ssl.SSLWantReadError:
            yield False
        except TlsKeptBusy:
            yield True
            # What was taken from it was given back.
            assert os.path.samestat(os.fstat(end.fileno()), identity)
            break
        assert os.path.samestat(os.fstat(end.fileno()), identity)
        with contextlib.suppress(BlockingIOError):
            into.write(theirs.recv(65_536))
    end.close()
    theirs.close()
    # Somebody else's from here on.
    reading, writing = os.pipe()
    if descriptor in (reading, writing):  # other threads open files as well
        reused.append(descriptor)
        identity = os.fstat(descriptor)
        for _ in range(50):
            assert os.path.samestat(os.fstat(descriptor), identity)
    os.close(reading)
    os.close(writing)


def test_a_call_is_not_cut_for_the_one_before(blocking):
    ours, theirs = blocking
    watch = TlsWatch()

    def end_late() -> None:
        wait_for(lambda: watch._calls == 1 and not watch._outside.locked())
        watch._end(0)
        theirs.sendall(b"mine")

    other = threading.Thread(target=end_late)
    other.start()
    assert watch.recv(ours, 100) == b"mine"
    other.join()


async def test_without_descriptors_it_shuts_the_socket(tls, tmp_path, monkeypatch):
    monkeypatch.setattr(tls_watch.DeadEnd, "open", lambda: None)
    monkeypatch.setattr(tls_watch._here, "watch", TlsWatch())
    async with facing(tls, tmp_path, "server") as peer:
        assert isinstance(await send_until_lost(peer, new_keys(peer.keys)), TlsKeptBusy)


def test_a_call_that_an_interrupt_left_behind_is_forgotten(blocking, caplog):
    """What was cut is not what is called now: that one is not ended for it."""
    ours, theirs = blocking
    watch = TlsWatch()
    theirs.sendall(b"hello")
    watch._cut = theirs
    assert watch.recv(ours, 100) == b"hello"
    assert watch._cut is None
    assert not caplog.text


# --- its thread -------------------------------------------------------------------


def watching() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "sage-tls-watch"]


def wait_for(condition) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def brief(monkeypatch):
    """A watch ends at once, where it has nothing to do."""
    monkeypatch.setattr(tls_watch, "_LINGER_S", 0.01)
    wait_for(lambda: not watching())


def test_each_thread_has_its_own():
    here, there = watch_here(), []
    assert watch_here() is here
    other = threading.Thread(target=lambda: there.append(watch_here()))
    other.start()
    other.join()
    assert there[0] is not here


@pytest.mark.usefixtures("brief")
def test_its_thread_ends_where_nobody_calls(blocking):
    ours, theirs = blocking
    watch, descriptors = TlsWatch(), len(os.listdir("/dev/fd"))
    for _ in range(3):
        theirs.sendall(b"x")
        watch.recv(ours, 100)
        assert len(watching()) == 1
        wait_for(lambda: not watching())
        wait_for(lambda: len(os.listdir("/dev/fd")) == descriptors)


def test_who_calls_again_finds_it_awake(blocking, monkeypatch):
    monkeypatch.setattr(tls_watch, "_LINGER_S", 5.0)
    ours, theirs = blocking
    watch = TlsWatch()
    for pause_s in (0, 0.001, 0.03, 0.05):
        time.sleep(pause_s)
        theirs.sendall(b"x")
        watch.recv(ours, 100)
        assert watch._looking
    (thread,) = (t for t in watching() if t is watch._thread)
    wait_for(lambda: not watch._looking)
    assert thread.is_alive()
    monkeypatch.setattr(tls_watch, "_LINGER_S", 0.01)
    watch._wanted.set()
    thread.join(5)
    assert not thread.is_alive()


def test_who_calls_while_it_falls_asleep_wakes_it(blocking):
    ours, theirs = blocking

    class Drowsy(TlsWatch):
        """Somebody calls just before it says that nobody looks any more."""

        calls_then = 1
        looks = False

        @property
        def _looking(self) -> bool:
            return self.looks

        @_looking.setter
        def _looking(self, looks: bool) -> None:
            if self.looks and not looks and self.calls_then:
                self.calls_then -= 1
                self._calls += 1
            self.looks = looks

    watch = Drowsy()
    theirs.sendall(b"x")
    watch.recv(ours, 100)
    wait_for(lambda: not watch.calls_then)
    wait_for(lambda: watch._wanted.is_set() or watch.looks)
    wait_for(lambda: not watch.looks)


@pytest.mark.usefixtures("brief")
def test_many_loops_leave_nothing_behind(tls):
    left = []

    async def talk() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        protocol = Noting(echo=True)
        transport = TlsTransport(ours, protocol, tls.server, timeout_s=5)
        reader, writer = await asyncio.open_connection(
            sock=theirs, ssl=tls.client, server_hostname="localhost"
        )
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        writer.transport.abort()
        await protocol.lost.wait()
        left.append(weakref.ref(transport._loop))
        left.append(weakref.ref(watch_here()))

    for _ in range(10):
        thread = threading.Thread(target=lambda: asyncio.run(talk()))
        thread.start()
        thread.join()
    wait_for(lambda: not watching())
    gc.collect()
    assert len(left) == 20
    assert not [ref for ref in left if ref() is not None]


def test_without_threads_it_says_so_once_and_serves(blocking, monkeypatch, caplog):
    def refuse(_thread) -> None:
        raise RuntimeError("can't start new thread")

    ours, theirs = blocking
    watch = TlsWatch()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    for _ in range(2):
        theirs.sendall(b"x")
        assert watch.recv(ours, 100) == b"x"
    monkeypatch.undo()
    assert caplog.text.count("nobody watches over TLS") == 1
    theirs.sendall(b"x")
    watch.recv(ours, 100)
    assert watch._looking


FORK = """
    import os, socket, sys, threading, time
    from sage.transport import tls_watch
    from sage.transport.tls_watch import watch_here
    import ssl

    tls_watch._LINGER_S = 60.0

    def serve():
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(sys.argv[1])
        client = ssl.create_default_context(cafile=sys.argv[2])
        ours, theirs = socket.socketpair()
        other = threading.Thread(target=lambda: client.wrap_socket(
            theirs, server_hostname="localhost").sendall(b"x"))
        other.start()
        end = server.wrap_socket(ours, server_side=True)
        assert watch_here().recv(end, 10) == b"x"
        other.join()
        names = [t.name for t in threading.enumerate()]
        assert names.count("sage-tls-watch") == 1, names
        while watch_here()._dead_end is None:
            time.sleep(0.001)
        return len(os.listdir("/dev/fd"))

    before, watch = serve(), watch_here()
    child = os.fork()
    if child == 0:
        assert watch_here() is not watch
        assert serve() == before
        os._exit(7)
    assert watch_here() is watch
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_has_a_watch_of_its_own(tls):
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(FORK)]
    command += [str(tls.certificate), str(tls.authority)]
    assert subprocess.run(command, timeout=60, check=False).returncode == 7
