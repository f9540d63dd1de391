"""`/metrics` over real sockets: who may read it, and that nobody waits for it."""

from __future__ import annotations

import asyncio
import time

import pytest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

import sage
from sage.service import MetricsApp, serving
from sage.service.metrics_app import Scraper, is_own_machine
from sage.transport import Metrics, PrometheusMetrics

from .conftest import echo


async def get(tls, url: str, path: str, *headers: str) -> tuple[int, str, str]:
    """Ask over TLS; return the status, the media type and the body."""
    port = int(url.split(":")[2].partition("/")[0])
    reader, writer = await asyncio.open_connection("localhost", port, ssl=tls.client)
    lines = (f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers)
    writer.write("".join(f"{line}\r\n" for line in (*lines, "")).encode())
    answer = (await reader.read()).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:])
    return int(head.split()[1]), fields["content-type"], body


async def test_a_scrape_is_what_happened(running, connecting, tls) -> None:
    metrics = PrometheusMetrics()
    async with (
        running(metrics=metrics) as url,
        connecting(url) as channel,
    ):
        await channel.request(b"x")
        status, kind, body = await get(tls, url, "/metrics")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    families = {f.name: f for f in text_string_to_metric_families(body)}
    served = [
        (sample.labels["role"], sample.labels["transport"], sample.value)
        for sample in families["sage_requests"].samples
        if sample.name == "sage_requests_total" and sample.value
    ]
    assert served == [("responder", "websocket", 1)]
    assert len(body) < 64 * 1024


async def test_it_is_off_unless_asked_for(running, tls) -> None:
    async with running() as url:
        assert (await get(tls, url, "/metrics"))[0] == 404


async def test_what_is_read_elsewhere_is_counted_and_not_shown(
    running, connecting, tls
) -> None:
    metrics = PrometheusMetrics()
    async with (
        running(metrics=metrics, show_metrics=False) as url,
        connecting(url) as channel,
    ):
        await channel.request(b"x")
        assert (await get(tls, url, "/metrics"))[0] == 404
    served = {"role": "responder", "transport": "websocket", "outcome": "ok"}
    assert metrics.registry.get_sample_value("sage_requests_total", served) == 1


@pytest.mark.parametrize(
    "field",
    ["X-Forwarded-For: 1.2.3.4", "Forwarded: for=1.2.3.4", "Via: 1.1 x", "X-Real-IP: "],
)
async def test_nobody_reads_it_through_a_proxy(running, tls, field) -> None:
    async with running(metrics=PrometheusMetrics()) as url:
        assert (await get(tls, url, "/metrics", field))[0] == 404
        assert (await get(tls, url, "/metrics"))[0] == 200


async def test_without_tls_of_its_own_a_service_shows_none(running, tls) -> None:
    options = {"metrics": PrometheusMetrics(), "require_tls": False}
    async with running(**options) as url:
        assert (await get(tls, url, "/metrics"))[0] == 404


@pytest.mark.parametrize(
    ("client", "own"),
    [
        (("127.0.0.1", 5), True),
        (("127.8.8.8", 5), True),
        (("::1", 5), True),
        (("192.0.2.1", 5), False),
        (("10.0.0.1", 5), False),
        (("::ffff:192.0.2.1", 5), False),
        (("localhost", 5), False),
        (("", 0), False),
        (None, False),
    ],
)
def test_whose_machine_it_is(client, own) -> None:
    assert is_own_machine({"client": client, "headers": []}) is own


async def test_an_application_of_its_own(grace, resolver, tls) -> None:
    service = sage.Service(agent=grace, resolver=resolver, handler=echo)
    app = MetricsApp(PrometheusMetrics(), probes=service)
    async with serving(app, certificate=tls.certificate) as port:
        url = f"https://localhost:{port}"
        assert (await get(tls, url, "/metrics", "X-Forwarded-For: 1.2.3.4"))[0] == 200
        assert (await get(tls, url, "/health/live"))[2] == '{"status": "ok"}'
        assert (await get(tls, url, "/health/ready"))[0] == 200
        assert (await get(tls, url, "/"))[0] == 404
    alone = MetricsApp(PrometheusMetrics())
    async with serving(alone, certificate=tls.certificate) as port:
        url = f"https://localhost:{port}"
        assert (await get(tls, url, "/health"))[0] == 404
        with pytest.raises(sage.errors.ConnectFailed):
            await sage.transport.WebSocket.open(
                f"wss://localhost:{port}/sage", tls=tls.client
            )


class Slow(Collector):
    """Takes its time, or fails."""

    def __init__(self, seconds: float, error: Exception | None = None) -> None:
        self.seconds, self.error, self.calls = seconds, error, 0

    def describe(self):
        return []

    def collect(self):
        self.calls += 1
        time.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        yield GaugeMetricFamily("slow", "Slow.", value=1)


async def test_a_slow_collector_holds_nobody_up(running, connecting, tls) -> None:
    metrics, slow = PrometheusMetrics(), Slow(0.5)
    metrics.registry.register(slow)
    async with running(metrics=metrics) as url, connecting(url) as channel:
        scrapes = [asyncio.create_task(get(tls, url, "/metrics")) for _ in range(5)]
        while not slow.calls:
            await asyncio.sleep(0.001)
        served = 0
        while not scrapes[0].done():
            await channel.request(b"x")
            served += 1
        assert {(await one)[0] for one in scrapes} == {200}
    assert served >= 10
    assert slow.calls <= 2


async def test_a_collector_that_fails_is_a_503(running, connecting, tls, caplog):
    metrics = PrometheusMetrics()
    metrics.registry.register(Slow(0, ValueError("somebody's own")))
    async with running(metrics=metrics) as url, connecting(url) as channel:
        status, _, body = await get(tls, url, "/metrics")
        assert (status, body) == (503, "not available")
        assert await channel.request(b"x") == b"echo:x"
    assert "collecting metrics failed" in caplog.text


async def test_a_collector_without_an_end_is_a_503(monkeypatch) -> None:
    monkeypatch.setattr("sage.service.metrics_app.SCRAPE_TIMEOUT_S", 0.05)
    metrics, slow = PrometheusMetrics(), Slow(0.3)
    metrics.registry.register(slow)
    scraper = Scraper(metrics)
    statuses = [await scrape(scraper), await scrape(scraper)]
    assert statuses == [503, 503]
    assert slow.calls == 1
    await asyncio.sleep(0.4)
    monkeypatch.setattr("sage.service.metrics_app.SCRAPE_TIMEOUT_S", 5)
    assert await scrape(scraper) == 200


async def scrape(scraper: Scraper) -> int:
    sent = []

    async def send(message):
        sent.append(message)

    await scraper.respond(send)
    return sent[0]["status"]


async def test_metrics_without_a_text_have_none() -> None:
    assert await scrape(Scraper(Metrics())) == 404
