from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sage.cli.loadtest.driver import Outcome
from sage.cli.loadtest.report import as_json, rate_per_s, rows


def test_the_table_says_everything(outcome: Outcome) -> None:
    table = dict(rows(outcome))
    assert table["load"] == (
        "request of 100 bytes for 1 s, open loop at 20 msg/s, latency from the"
        " intended departure"
    )
    assert table["connections"] == "1, opened in 0.25 s, 0 lost"
    assert table["sent"] == "20, 0 never sent"
    assert table["answered"] == "19"
    assert table["errors"] == "1"
    assert table["  ConnectionLost"] == "1"
    assert table["rate"] == f"{rate_per_s(outcome):.0f} msg/s, 0.00 MB/s"
    latencies = table["latency p50 / p90 / p99 / p99.9 / max"]
    assert latencies.startswith("100.0")
    assert latencies.endswith("190.08 ms") or latencies.endswith("190.0 ms")
    assert "0.50 s" in table["processor here"]
    assert "µs a message" in table["processor there"]
    assert table["memory there"] == "1.0 MiB before the connections, 3.0 MiB after"
    assert table["backend there"] == "cython core, libcrypto engine"


def test_a_closed_loop_says_so(outcome: Outcome) -> None:
    table = dict(rows(replace(outcome, plan=replace(outcome.plan, rate=0))))
    assert table["load"].endswith("closed loop, 4 in flight on each connection")
    assert table["sent"] == "20"


def test_idle_connections_are_weighed(outcome: Outcome) -> None:
    plan = replace(outcome.plan, idle=True, connections=64)
    table = dict(rows(replace(outcome, plan=plan)))
    assert table["load"] == "idle connections for 1 s"
    assert table["memory there"].endswith("3.0 MiB after, 32.0 KiB a connection")
    assert "sent" not in table


def test_what_a_service_does_not_say_is_not_known(outcome: Outcome) -> None:
    table = dict(rows(replace(outcome, server=None, rss=None)))
    for name in ("processor there", "memory there", "backend there"):
        assert table[name] == "not known"


def test_the_json_holds_the_same(outcome: Outcome) -> None:
    found = json.loads(json.dumps(as_json(outcome)))
    assert found["format"] == "sage-loadtest-1"
    assert found["plan"]["loop"] == "open"
    assert (found["sent"], found["answered"], found["unsent"]) == (20, 19, 0)
    assert found["errors"] == {"ConnectionLost": 1}
    assert found["latency"]["p50_s"] == pytest.approx(0.1, rel=0.01)
    assert found["client"]["cpu_s"] == found["server"]["cpu_s"] == 0.5
    assert sum(second["count"] for second in found["seconds"]) == 19
    assert sum(second["sent"] for second in found["seconds"]) == 20
    assert as_json(replace(outcome, server=None))["server"] is None
