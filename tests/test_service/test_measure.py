"""Traffic on a real socket moves the metrics of both ends: each event once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

import sage
from sage.envelope import sign
from sage.errors import Code, ConnectionLost, ResolutionError, StaleError
from sage.service import Clock
from sage.service.measure import MeasuredResolver, Timer, count_refusal, observed
from sage.transport import CachingResolver, Metrics, PrometheusMetrics, WebSocket
from sage.transport.metrics import NO_METRICS, Outcome

from .conftest import ADA, GRACE, header, sealed


class Listener(Metrics):
    """Writes every event down, as somebody's own metrics would."""

    def __init__(self) -> None:
        self.events: Counter[tuple[object, ...]] = Counter()
        self.levels: Counter[tuple[object, ...]] = Counter()

    def request(self, role, carriage, outcome, seconds):
        assert 0 <= seconds < 30
        self.events["request", role.value, str(carriage), str(outcome)] += 1

    def payload(self, role, direction, size):
        self.events["payload", role.value, str(direction), size] += 1

    def handshake(self, role, outcome, seconds):
        assert 0 <= seconds < 30
        self.events["handshake", role.value, str(outcome)] += 1

    def connections(self, role, change):
        self.levels["connections", role.value] += change

    def sessions(self, role, change):
        self.levels["sessions", role.value] += change

    def streams(self, role, change):
        self.levels["streams", role.value] += change

    def stream_record(self, role, direction, size):
        self.events["record", role.value, str(direction)] += 1

    def refusal(self, code, *, replay=False):
        self.events["refusal", code, replay] += 1

    def resolution(self, outcome, seconds):
        self.events["resolution", str(outcome)] += 1

    def counted(self, *kinds: str) -> dict[tuple[object, ...], int]:
        return {e: n for e, n in self.events.items() if e[0] in kinds}


@pytest.fixture
def here() -> Listener:
    return Listener()


@pytest.fixture
def there() -> Listener:
    return Listener()


async def until(holds) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.01)


async def test_requests_and_handshakes_at_both_ends(
    running, connecting, here, there
) -> None:
    async with (
        running(metrics=there) as url,
        connecting(url, metrics=here) as channel,
    ):
        for size in (1, 10, 100):
            await channel.request(bytes(size))
        assert here.levels == {
            ("connections", "initiator"): 1,
            ("sessions", "initiator"): 1,
        }
        assert there.levels == {
            ("connections", "responder"): 1,
            ("sessions", "responder"): 1,
        }
    await until(lambda: not any(there.levels.values()))
    assert not any(here.levels.values())
    for listener, role, opposite in (
        (here, "initiator", ("out", "in")),
        (there, "responder", ("in", "out")),
    ):
        assert listener.counted("request", "handshake", "refusal") == {
            ("handshake", role, "ok"): 1,
            ("request", role, "websocket", "ok"): 3,
        }
        asked, answered = opposite
        assert listener.counted("payload") == {
            ("payload", role, way, size + extra): 1
            for size in (1, 10, 100)
            for way, extra in ((asked, 0), (answered, len("echo:")))
        }
        assert set(listener.counted("resolution")) == {("resolution", "ok")}
    # Both records for the handshake, and for each request.
    assert here.events["resolution", "ok"] == 8


async def test_renewals_replace_sessions(running, connecting, here, there) -> None:
    async with (
        running(metrics=there) as url,
        connecting(url, metrics=here) as channel,
    ):
        for _ in range(12):
            await channel.handshake()
            await channel.request(b"x")
        assert here.levels["sessions", "initiator"] == 1
        assert there.levels["sessions", "responder"] == 8
    await until(lambda: not any(there.levels.values()))
    assert not any(here.levels.values())
    assert here.events["handshake", "initiator", "ok"] == 13
    assert there.events["handshake", "responder", "ok"] == 13


async def test_records_of_streams(running, connecting, here, there) -> None:
    async def mirror(stream: sage.service.Stream) -> None:
        async for data in stream:
            await stream.send(data)

    async with (
        running(metrics=there, stream_handler=mirror) as url,
        connecting(url, metrics=here) as channel,
    ):
        for _ in range(2):
            async with channel.stream() as stream:
                for _ in range(5):
                    await stream.send(b"x")
                    await stream.receive()
                assert here.levels["streams", "initiator"] == 1
                assert there.levels["streams", "responder"] == 1
            assert here.levels["streams", "initiator"] == 0
        await until(lambda: not there.levels["streams", "responder"])
    # Five records and the end, each way, twice.
    assert here.counted("record") == {
        ("record", "initiator", "out"): 12,
        ("record", "initiator", "in"): 12,
    }
    assert there.counted("record") == {
        ("record", "responder", "in"): 12,
        ("record", "responder", "out"): 12,
    }


async def test_how_requests_fail(running, connecting, here, there) -> None:
    async def handler(message: sage.Message) -> bytes:
        if message.payload == b"slow":
            await asyncio.sleep(10)
        if message.payload == b"denied":
            raise sage.RemoteFailure("policy_denied")
        raise ValueError("a defect")

    config = sage.ServiceConfig(handler_timeout_s=0.05)
    async with (
        running(handler, metrics=there, config=config) as url,
        connecting(url, metrics=here) as channel,
    ):
        for payload in (b"slow", b"denied", b"defect"):
            with pytest.raises(sage.RemoteFailure):
                await channel.request(payload)
        with pytest.raises(TimeoutError):
            await channel.request(b"slow", timeout_s=0.001)
    assert here.counted("request") == {
        ("request", "initiator", "websocket", "failed"): 3,
        ("request", "initiator", "websocket", "timeout"): 1,
    }
    counted = there.counted("request")
    counted.pop(("request", "responder", "websocket", "lost"), None)
    assert counted["request", "responder", "websocket", "refused"] == 1
    assert counted["request", "responder", "websocket", "failed"] == 1
    assert counted["request", "responder", "websocket", "timeout"] >= 1


async def refused(url: str, tls, text: bytes) -> None:
    socket = await WebSocket.open(url, tls=tls.client)
    try:
        await socket.send(text)
        with pytest.raises(ConnectionLost):
            await socket.receive_any()
    finally:
        await socket.close()


async def test_a_stranger_moves_refusals_and_nothing_else(
    running, tls, ada, there
) -> None:
    impostor = sage.Agent.generate(ADA)
    request = header(impostor, payload=b"x")

    forged = sign(request, impostor.signing_key).encode()
    async with running(metrics=there) as url:
        await refused(url, tls, b"{")
        await refused(url, tls, forged)
        socket = await WebSocket.open(url, tls=tls.client)
        await until(lambda: there.levels["connections", "responder"] == 1)
        await socket.close()
    await until(lambda: not any(there.levels.values()))
    assert there.counted("refusal") == {
        ("refusal", "json.malformed", False): 1,
        ("refusal", "sig.bad", False): 1,
    }
    assert not there.counted("request", "payload", "handshake", "record")
    assert there.levels["sessions", "responder"] == 0


async def test_a_client_counts_what_it_refuses(
    running, connecting, resolver, here
) -> None:
    # Whom we ask for is not who answers.
    other = sage.Agent.generate("did:sage:web:agents.example:other")
    resolver.publish(other.record)
    async with running(agent=other) as url:
        with pytest.raises(sage.SageError):
            await connecting(url, metrics=here)
        lost = sage.MemoryResolver([other.record])
        with pytest.raises(ResolutionError):
            await connecting(url, metrics=here, resolver=lost)
    assert here.counted("handshake") == {
        ("handshake", "initiator", "lost"): 1,
        ("handshake", "initiator", "refused"): 1,
    }
    assert here.counted("refusal") == {("refusal", "record.not-found", False): 1}
    assert not any(here.levels.values())


async def test_a_replay_is_counted_once(shake_hands, host, ada, there) -> None:

    established, _, acceptance = await shake_hands()
    request = sealed(ada, established)
    await acceptance.answer(request)
    with pytest.raises(sage.errors.ReplayError) as caught:
        await acceptance.answer(request)
    assert count_refusal(there, caught.value) in ("sig.replay", "session.replay")
    ((event, number),) = there.counted("refusal").items()
    assert (event[2], number) == (True, 1)


async def test_no_label_holds_a_name_or_an_id(running, connecting) -> None:
    metrics, ids = PrometheusMetrics(), set()

    async def handler(message: sage.Message) -> bytes:
        ids.update({message.id, message.session_id, message.peer})
        return b"x"

    async with (
        running(handler, metrics=metrics) as url,
        connecting(url, metrics=metrics) as channel,
    ):
        await channel.request(b"x", metadata={"word": "a-word-of-hers"})
        text = metrics.exposition().decode()
    families = list(text_string_to_metric_families(text))
    labels = {v for f in families for s in f.samples for v in s.labels.values()}
    assert labels
    assert len(ids) == 3
    for word in (*ids, ADA, GRACE, "did:", "agents.example", "a-word-of-hers"):
        assert not any(word in label for label in labels), word


class Raising(Metrics):
    """Fails whatever it is told."""

    def __getattribute__(self, name: str) -> object:
        if name.startswith("_") or name == "exposition":
            return super().__getattribute__(name)

        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("no metrics today")

        return fail


async def test_metrics_that_fail_do_not_break_traffic(running, connecting) -> None:
    async with (
        running(metrics=Raising()) as url,
        connecting(url, metrics=Raising()) as channel,
    ):
        assert await channel.request(b"x") == b"echo:x"


async def test_a_timer_says_how_its_block_ended() -> None:
    seen = []
    with Timer(Clock(), lambda *ended: seen.append(ended)):
        time.sleep(0.01)
    with (
        pytest.raises(StaleError),
        Timer(Clock(), lambda *ended: seen.append(ended)),
    ):
        raise StaleError("x", code=Code.SIG_STALE)
    assert [outcome for outcome, _ in seen] == [Outcome.OK, Outcome.REFUSED]
    assert 0.01 <= seen[0][1] < 1


async def test_a_measured_resolver_says_what_the_resolver_says(resolver) -> None:
    listener = Listener()
    measured = MeasuredResolver(resolver, listener, Clock())
    seen = await measured.resolve(GRACE, now=1.0)
    assert seen == await resolver.resolve(GRACE, now=1.0)
    with pytest.raises(ResolutionError):
        await measured.resolve(GRACE + "2", now=1.0)
    assert measured.reuse_s == 0
    assert listener.events == {("resolution", "ok"): 1, ("resolution", "refused"): 1}
    resolver.reuse_s = 3.0
    assert measured.reuse_s == 3
    resolver.reuse_s = 60.0
    assert measured.reuse_s == 5


def test_without_metrics_there_is_nothing_in_between(resolver) -> None:
    assert observed(resolver, None, Clock()) == (resolver, NO_METRICS)
    assert observed(resolver, NO_METRICS, Clock()) == (resolver, NO_METRICS)


async def test_a_caching_resolver_shows_its_statistics(resolver) -> None:
    caching, metrics, clock = CachingResolver(resolver), PrometheusMetrics(), Clock()
    for _ in range(2):
        measured, _ = observed(caching, metrics, clock)
    for _ in range(5):
        await measured.resolve(GRACE, now=clock.now())
    text = metrics.exposition().decode()
    assert 'sage_cache_hits_total{cache="record"} 4.0' in text
    assert 'sage_cache_misses_total{cache="record"} 1.0' in text
    assert 'sage_resolutions_total{outcome="ok"} 5.0' in text
    for cache in ("name", "public_key", "proof"):
        assert f'sage_cache_hits_total{{cache="{cache}"}} ' in text


async def test_a_service_reuses_readings_all_the_same(
    running, connecting, resolver
) -> None:
    caching, metrics = CachingResolver(resolver), PrometheusMetrics()
    options = {"metrics": metrics, "resolver": caching}
    async with running(**options) as url, connecting(url) as channel:
        for _ in range(3):
            await channel.request(b"x")
    assert caching.statistics.hits >= 6
