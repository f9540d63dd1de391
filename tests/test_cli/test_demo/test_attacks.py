from __future__ import annotations

import pytest

from sage.cli.demo import attacks
from sage.cli.demo.attacks import attack
from sage.cli.demo.stage import staged
from sage.errors import Code


async def test_every_attack_is_refused_for_its_own_reason() -> None:
    async with staged() as stage:
        verdicts = [verdict async for verdict in attack(stage)]
    assert {verdict.attack: verdict.theirs for verdict in verdicts} == {
        "replay of a handshake": "sig.replay",
        "replay of a request, on a new connection": "session.unknown",
        "replay of a request, in its session": "session.replay",
        "one bit flipped": "sig.bad",
        "one bit flipped, signed anew": "session.aead",
        "impostor of Ada: her name, other keys": "sig.bad",
        "impostor of Grace: other keys in her place": None,
    }
    assert all(verdict.refused for verdict in verdicts)
    # Whatever was wrong, the attacker learns the same: nothing.
    *on_grace, on_ada = (verdict.ours for verdict in verdicts)
    assert set(on_grace) == {"the connection was closed (1008 refused)"}
    assert on_ada == "authentication failed (sig.bad)"


@pytest.mark.slow
async def test_an_attack_that_works_is_not_called_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def harmless(stage: attacks.Stage) -> None:
        async with attacks._connected(stage) as (channel, _):
            await attacks._ask(channel)

    tries = (
        ("a genuine request", harmless, Code.SIG_BAD),
        ("for another reason", attacks._tamper, Code.SIG_REPLAY),
    )
    monkeypatch.setattr(attacks, "_ATTACKS_ON_GRACE", tries)
    monkeypatch.setattr(attacks, "_meet_impostor", harmless)
    monkeypatch.setattr("sage.cli.demo.children._LOG_S", 0.2)
    async with staged() as stage:
        verdicts = [verdict async for verdict in attack(stage)]
    assert [(v.ours, v.theirs, v.refused) for v in verdicts] == [
        ("accepted", None, False),
        ("the connection was closed (1008 refused)", "sig.bad", False),
        ("accepted", None, False),
    ]
