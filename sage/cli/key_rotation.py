"""``sage key rotate`` and ``sage key revoke``: the keys of an agent's record."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from .. import service
from ..errors import ConfigError, UsageError
from ..identity import ALGORITHMS, revoke_key, write_record_file
from ..identity.files import exclusive, reason
from ..identity.resolver import record_file
from ..limits import ROTATION_OVERLAP_MAX_S, ROTATION_OVERLAP_S, SCRYPT_N
from .exits import Exit
from .options import AgentFile, PassphraseFile, decrypt_agent, read_passphrase

__all__ = ["revoke", "rotate"]

Registry: TypeAlias = Annotated[
    Path, typer.Option("--to", metavar="DIR", help="The registry's folder.")
]
Cost: TypeAlias = Annotated[
    int, typer.Option(help="Advanced: see `sage agent new`.", hidden=True)
]

_DONE = {
    service.Stage.PREPARED: "a new pair of keys is in the file; nobody knows of it yet",
    service.Stage.ANNOUNCED: "the record has both pairs; new sessions use the new one",
    service.Stage.SWITCHED: "the agent signs with the new key; both pairs are good",
    service.Stage.SETTLED: "there is one pair of keys",
}
_NEXT = {
    service.Stage.PREPARED: "restart what serves with this file, then run this again",
    service.Stage.ANNOUNCED: "run this again",
    service.Stage.SWITCHED: "run this again",
    service.Stage.SETTLED: "running this begins a rotation",
}
# What a step that has a time of its own waits for.
_AWAITED = {
    service.Stage.ANNOUNCED: "until every peer can have seen the new pair",
    service.Stage.SWITCHED: "until no session that the old pair made is left",
}


def rotate(
    file: AgentFile,
    to: Registry,
    passphrase_file: PassphraseFile = None,
    overlap_s: Annotated[
        int,
        typer.Option(
            min=0,
            max=ROTATION_OVERLAP_MAX_S,
            metavar="SECONDS",
            help="How long both pairs are good at the end.",
        ),
    ] = ROTATION_OVERLAP_S,
    algorithm: Annotated[
        str | None,
        typer.Option(help=f"Of the new signing key: {', '.join(sorted(ALGORITHMS))}."),
    ] = None,
    early: Annotated[
        bool,
        typer.Option(
            "--early",
            help="Do not wait, at the price of sessions that fail: for a key that"
            " somebody else may have.",
        ),
    ] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Say how far it came; change nothing.")
    ] = False,
    scrypt_n: Cost = SCRYPT_N,
) -> Exit:
    """Take the next step of changing an agent's keys; four make a rotation.

    A new pair is made, announced, used, and the old one revoked. Run it again after
    each step, when the last one says so, and after one that was cut off. Too soon, it
    says until when it waits and for what, changes nothing, and exits with 1.
    """
    passphrase = read_passphrase(passphrase_file)
    with _alone(file):
        agent = decrypt_agent(file, passphrase)
        _require_published(agent, to)
        rotation = service.Rotation(
            agent,
            save=lambda one: one.save(file, passphrase=passphrase, scrypt_n=scrypt_n),
            publish=lambda record: write_record_file(to, record),
            overlap_s=overlap_s,
        )
        now = int(time.time())
        waiting = now < rotation.not_before and not early
        if not status and not waiting:
            rotation.step(unix_time=now, early=early, algorithm=algorithm)
    if waiting and not status:
        print(f"sage: {_too_soon(rotation, now)}", file=sys.stderr)
    else:
        _print_stage(agent, rotation, now=now)
    agent.wipe()
    return Exit.FAILED if waiting and not status else Exit.OK


def revoke(
    file: AgentFile,
    name: Annotated[
        str, typer.Argument(metavar="KEY", help="The key's name, such as sign-1.")
    ],
    to: Registry,
    passphrase_file: PassphraseFile = None,
    deactivate: Annotated[
        bool,
        typer.Option(
            "--deactivate",
            help="Revoke even the last signing key, which ends the agent for good.",
        ),
    ] = False,
    scrypt_n: Cost = SCRYPT_N,
) -> None:
    """Revoke one key of an agent for good, at once, and publish that.

    Sessions that were made with it end at their next message.
    """
    passphrase = read_passphrase(passphrase_file)
    with _alone(file):
        agent = decrypt_agent(file, passphrase)
        _require_published(agent, to)
        # What is saved may not be published yet, where a step was cut off.
        write_record_file(to, agent.record)
        record = revoke_key(agent.record, name, unix_time=int(time.time()))
        if record.state == "deactivated" and not deactivate:
            raise UsageError(
                f"{name} is the last signing key; rotate first, or add --deactivate"
            )
        revoked = agent.with_record(record)
        revoked.save(file, passphrase=passphrase, scrypt_n=scrypt_n)
        write_record_file(to, record)
    agent.wipe()
    print(f"revoked {name}: {record.id} version {record.version}, {record.state}")


def _require_published(agent: service.Agent, folder: Path) -> None:
    """Refuse a folder in which nobody has ever found the agent.

    What changes a key must reach those who look for it: in a folder that was mistyped,
    a revoked key would stay in use where the agent is known.
    """
    if not record_file(folder, agent.did).exists():
        raise ConfigError(
            f"{folder} has no record of {agent.did}: publish it there first, with"
            " `sage registry publish`"
        )


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Load, save and publish as one: two rotations at once would lose a key (POSIX)."""
    if file.is_symlink():
        # Saving replaces the link; what it leads to would keep the old keys.
        raise ConfigError(f"{file} is a symbolic link; name the file that it leads to")
    try:
        with exclusive(file.parent):
            yield
    except OSError as exc:
        raise ConfigError(f"cannot change {file}: {reason(exc)}") from exc


def _print_stage(agent: service.Agent, rotation: service.Rotation, *, now: int) -> None:
    ring, stage = agent.ring, rotation.stage
    print(f"did      {agent.did}")
    print(f"record   version {ring.record.version}")
    for what, pair in (
        ("in use", ring.current),
        ("follows", ring.following),
        ("retires", ring.retired),
    ):
        if pair is not None:
            names = (key.kid.partition("#")[2] for key in pair)
            print(f"{what:<7}  {' '.join(names)}")
    print(f"stage    {stage.value}: {_DONE[stage]}")
    print(f"next     {_NEXT[stage]}{_when(rotation.not_before, now)}")


def _too_soon(rotation: service.Rotation, now: int) -> str:
    stage = rotation.stage
    return (
        f"too soon, nothing was changed: the rotation is {stage.value} and waits"
        f" {_AWAITED[stage]}; {_NEXT[stage]}{_when(rotation.not_before, now)}"
    )


def _when(not_before: int, now: int) -> str:
    if not_before <= now:
        return ""
    moment = datetime.fromtimestamp(not_before, tz=UTC)
    return f", from {moment:%Y-%m-%d %H:%M:%S} UTC on, in {not_before - now} s"
