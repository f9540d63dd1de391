"""What came of a load test: rows for a table, and the same for programs."""

from __future__ import annotations

from typing import Any

from ..text import readable_bytes
from .driver import Outcome
from .tally import Latency, Second

__all__ = ["as_json", "rate_per_s", "rows"]


def rate_per_s(outcome: Outcome) -> float:
    """Return the messages that were answered, by the second."""
    return outcome.tally.answered / outcome.tally.elapsed_s


def rows(outcome: Outcome) -> list[tuple[str, str]]:
    """Return the table: what, and how much."""
    plan, tally = outcome.plan, outcome.tally
    return [
        ("load", _load(outcome)),
        (
            "connections",
            f"{plan.connections}, opened in {outcome.opening_s:.2f} s,"
            f" {outcome.lost} lost",
        ),
        *([] if plan.idle else _message_rows(outcome)),
        *((f"  {name}", f"{count}") for name, count in sorted(tally.errors.items())),
        *_cpu_rows(outcome),
        *_memory_rows(outcome),
        ("cores", _cores(outcome)),
        ("backend here", outcome.client[1].core),
        ("backend there", outcome.server[1].core if outcome.server else "not known"),
    ]


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Return everything, for ``--json``; times in seconds."""
    plan, tally = outcome.plan, outcome.tally
    return {
        "format": "sage-loadtest-1",
        "plan": {
            "mode": plan.mode.value,
            "loop": "open" if plan.is_open_loop else "closed",
            "idle": plan.idle,
            "duration_s": plan.duration_s,
            "warm_up_s": plan.warm_up_s,
            "connections": plan.connections,
            "rate_per_s": plan.rate,
            "size": plan.size,
            "in_flight": plan.in_flight,
        },
        "opening_s": outcome.opening_s,
        "elapsed_s": outcome.tally.elapsed_s,
        "sent": tally.sent,
        "answered": tally.answered,
        "unsent": outcome.unsent,
        "lost_connections": outcome.lost,
        "errors": dict(tally.errors),
        "answered_per_s": rate_per_s(outcome),
        "latency": _latency_json(tally.latency),
        "client": {
            "cpu_s": outcome.cpu_s(outcome.client),
            "backend": outcome.client[1].core,
        },
        "server": outcome.server
        and {
            "cpu_s": outcome.cpu_s(outcome.server),
            "backend": outcome.server[1].core,
        },
        "cores": outcome.cores and list(outcome.cores),
        "server_bytes_per_connection": outcome.per_connection_bytes,
        "seconds": [_second_json(second) for second in tally.seconds()],
    }


def _load(outcome: Outcome) -> str:
    plan = outcome.plan
    if plan.idle:
        return f"idle connections for {plan.duration_s:g} s"
    loop = (
        f"open loop at {plan.rate:g} msg/s, latency from the intended departure"
        if plan.is_open_loop
        else f"closed loop, {plan.in_flight} in flight on each connection"
    )
    return f"{plan.mode} of {plan.size} bytes for {plan.duration_s:g} s, {loop}"


def _message_rows(outcome: Outcome) -> list[tuple[str, str]]:
    tally, per_s = outcome.tally, rate_per_s(outcome)
    latency = tally.latency
    names = [*(f"p{p:g}" for p in latency.percentiles_s), "max"]
    values = [*latency.percentiles_s.values(), latency.max_s]
    unsent = f", {outcome.unsent} never sent" if outcome.plan.is_open_loop else ""
    return [
        ("sent", f"{tally.sent}{unsent}"),
        ("answered", f"{tally.answered}"),
        ("errors", f"{tally.errors.total()}"),
        (
            "rate",
            f"{per_s:.0f} msg/s, {per_s * outcome.plan.size / 1e6:.2f} MB/s",
        ),
        (
            f"latency {' / '.join(names)}",
            f"{' / '.join(f'{value * 1000:.2f}' for value in values)} ms",
        ),
    ]


def _cpu_rows(outcome: Outcome) -> list[tuple[str, str]]:
    return [
        ("processor here", _cpu(outcome, outcome.cpu_s(outcome.client))),
        ("processor there", _cpu(outcome, outcome.cpu_s(outcome.server))),
    ]


def _cpu(outcome: Outcome, cpu_s: float | None) -> str:
    if cpu_s is None:
        return "not known"
    # The warm-up counts here: its messages used the processor as well.
    whole_s = outcome.tally.elapsed_s + outcome.plan.warm_up_s
    text = f"{cpu_s:.2f} s, {cpu_s / whole_s:.0%} of a core"
    if not outcome.tally.answered:
        return text
    per_message = cpu_s / whole_s / max(rate_per_s(outcome), 1e-9)
    return f"{text}, {per_message * 1e6:.0f} µs a message"


def _cores(outcome: Outcome) -> str:
    if outcome.cores is None:
        return "whichever the system chose"
    ours, theirs = outcome.cores
    return f"{ours} for the driver alone, {theirs} for the service"


def _memory_rows(outcome: Outcome) -> list[tuple[str, str]]:
    if outcome.rss is None:
        return [("memory there", "not known")]
    before, after = (readable_bytes(size) for size in outcome.rss)
    text = f"{before} before the connections, {after} after"
    each = outcome.per_connection_bytes
    if outcome.plan.idle and each is not None:
        text += f", {each / 1024:.1f} KiB a connection"
    return [("memory there", text)]


def _latency_json(latency: Latency) -> dict[str, Any]:
    return {
        "count": latency.count,
        **{f"p{p:g}_s": value for p, value in latency.percentiles_s.items()},
        "max_s": latency.max_s,
    }


def _second_json(second: Second) -> dict[str, Any]:
    return {
        "second": second.offset,
        "sent": second.sent,
        **_latency_json(second.latency),
    }
