"""Every event moves its own series, once, and no label is a stranger's."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path

import prometheus_client
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

import sage
from sage.errors import Code
from sage.transport import PrometheusMetrics
from sage.transport.metrics import DIAGNOSES, Cache, Carriage, Direction, Outcome
from sage.types import Role

ROOT = Path(__file__).parents[2]
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(metrics: PrometheusMetrics) -> Samples:
    text = metrics.exposition().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def moved(before: Samples, after: Samples) -> dict[str, float]:
    """Return what moved, buckets aside; and that no series came or went."""
    assert before.keys() == after.keys()
    return {
        name + "".join(f" {k}={v}" for k, v in sorted(labels)): after[name, labels]
        - before[name, labels]
        for name, labels in before
        if after[name, labels] != before[name, labels] and not name.endswith("_bucket")
    }


EVENTS = [
    (
        lambda m: m.request(Role.RESPONDER, Carriage.HTTPS, Outcome.FAILED, 0.5),
        {
            "sage_requests_total outcome=failed role=responder transport=https": 1,
            "sage_request_seconds_count role=responder transport=https": 1,
            "sage_request_seconds_sum role=responder transport=https": 0.5,
        },
    ),
    (
        lambda m: m.payload(Role.INITIATOR, Direction.OUT, 1000),
        {
            "sage_payload_bytes_count direction=out role=initiator": 1,
            "sage_payload_bytes_sum direction=out role=initiator": 1000,
        },
    ),
    (
        lambda m: m.handshake(Role.INITIATOR, Outcome.OK, 0.25),
        {
            "sage_handshakes_total outcome=ok role=initiator": 1,
            "sage_handshake_seconds_count role=initiator": 1,
            "sage_handshake_seconds_sum role=initiator": 0.25,
        },
    ),
    (
        lambda m: m.connections(Role.RESPONDER, 1),
        {"sage_connections role=responder": 1},
    ),
    (lambda m: m.sessions(Role.INITIATOR, -2), {"sage_sessions role=initiator": -2}),
    (lambda m: m.streams(Role.RESPONDER, 1), {"sage_streams role=responder": 1}),
    (
        lambda m: m.stream_record(Role.RESPONDER, Direction.IN, 100),
        {
            "sage_stream_records_total direction=in role=responder": 1,
            "sage_stream_bytes_total direction=in role=responder": 100,
        },
    ),
    (lambda m: m.refusal("sig.bad"), {"sage_refusals_total code=sig.bad": 1}),
    (
        lambda m: m.refusal("sig.replay", replay=True),
        {"sage_refusals_total code=sig.replay": 1, "sage_replays_total": 1},
    ),
    (
        lambda m: m.resolution(Outcome.REFUSED, 0.5),
        {
            "sage_resolutions_total outcome=refused": 1,
            "sage_resolution_seconds_count": 1,
            "sage_resolution_seconds_sum": 0.5,
        },
    ),
]


@pytest.mark.parametrize(("event", "expected"), EVENTS)
def test_an_event_moves_its_own_series_and_no_other(event, expected) -> None:
    metrics = PrometheusMetrics()
    before = scrape(metrics)
    event(metrics)
    assert moved(before, scrape(metrics)) == expected


def test_every_combination_of_labels_has_its_series_from_the_start() -> None:
    metrics = PrometheusMetrics()
    before = scrape(metrics)
    for role in Role:
        for outcome in Outcome:
            metrics.handshake(role, outcome, 1)
            for carriage in Carriage:
                metrics.request(role, carriage, outcome, 1)
        for direction in Direction:
            metrics.payload(role, direction, 1)
            metrics.stream_record(role, direction, 1)
        metrics.connections(role, 1)
        metrics.sessions(role, 1)
        metrics.streams(role, 1)
    for name in DIAGNOSES:
        metrics.refusal(name)
    for outcome in Outcome:
        metrics.resolution(outcome, 1)
    after = scrape(metrics)
    assert before.keys() == after.keys()
    for (name, labels), value in after.items():
        if name.endswith("_total") and not name.startswith(("sage_cache", "sage_rep")):
            assert value == 1 + before[name, labels], (name, labels)


@given(st.text())
@settings(max_examples=50)
def test_a_code_that_is_none_of_ours_is_another(code: str) -> None:
    metrics = PrometheusMetrics()
    before = scrape(metrics)
    metrics.refusal(code)
    known = code if code in DIAGNOSES else "other"
    assert moved(before, scrape(metrics)) == {f"sage_refusals_total code={known}": 1}


def test_caches_are_read_when_somebody_asks() -> None:
    @lru_cache(maxsize=2)
    def double(number: int) -> int:
        return 2 * number

    metrics = PrometheusMetrics()
    for _ in range(2):
        metrics.watch_cache(Cache.RECORD, double.cache_info)
    before = scrape(metrics)
    double(1), double(1), double(1)
    assert moved(before, scrape(metrics)) == {
        "sage_cache_hits_total cache=record": 2,
        "sage_cache_misses_total cache=record": 1,
    }


def test_it_says_what_runs_here() -> None:
    samples = scrape(PrometheusMetrics())
    ((labels, value),) = [
        (dict(labels), value)
        for (name, labels), value in samples.items()
        if name == "sage_build_info"
    ]
    facts = sage.backend()
    assert value == 1
    assert labels == {
        "core": facts["core"],
        "engine": facts["engine"],
        "version": sage.__version__,
    }


def test_names_keep_the_conventions() -> None:
    text = PrometheusMetrics().exposition().decode()
    for family in text_string_to_metric_families(text):
        assert family.name.startswith("sage_")
        assert family.documentation.endswith((".", "1."))
        if family.type == "histogram":
            assert family.name.endswith(("_seconds", "_bytes"))
    assert {c.value for c in Code} < DIAGNOSES


def test_the_global_registry_stays_as_it_was() -> None:
    first, second = PrometheusMetrics(), PrometheusMetrics()
    first.refusal("sig.bad")
    key = ("sage_refusals_total", frozenset({("code", "sig.bad")}))
    assert (scrape(first)[key], scrape(second)[key]) == (1, 0)
    names = {family.name for family in prometheus_client.REGISTRY.collect()}
    assert not any(name.startswith("sage") for name in names)


def test_a_registry_of_ones_own() -> None:
    registry = prometheus_client.CollectorRegistry()
    metrics = PrometheusMetrics(registry)
    assert metrics.registry is registry
    with pytest.raises(ValueError, match="Duplicated"):
        PrometheusMetrics(registry)


def test_the_dashboard_names_metrics_that_exist_and_all_of_them() -> None:
    text = (ROOT / "docs/howto/sage-dashboard.json").read_text()
    board = json.loads(text)
    names = {name for name, _ in scrape(PrometheusMetrics())}
    queries = [
        target["expr"] for panel in board["panels"] for target in panel["targets"]
    ]
    used = {name for query in queries for name in re.findall(r"sage_\w+", query)}
    assert used <= names
    kinds = {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}
    assert kinds == {re.sub(r"_(bucket|sum|count)$", "", name) for name in used}
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    assert {panel["datasource"]["uid"] for panel in board["panels"]} == {
        "${datasource}"
    }


def test_the_guide_lists_every_metric() -> None:
    said = (ROOT / "docs/howto/monitor-a-service.md").read_text()
    names = {name for name, _ in scrape(PrometheusMetrics())}
    kinds = {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}
    listed = set(re.findall(r"`(sage_\w+)`", said))
    assert listed == kinds
