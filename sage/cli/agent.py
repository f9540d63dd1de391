"""``sage agent``: make an agent, show it, look one up."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from .. import service
from ..envelope import SqliteReplayGuard
from ..errors import ConfigError
from ..identity import ALGORITHMS, AgentRecord, Observation, key_id
from ..limits import SCRYPT_N
from .options import (
    AgentFile,
    HostMapFile,
    PassphraseFile,
    RecordsFolder,
    check_did,
    domain_of,
    load_agent,
    read_passphrase,
    resolving,
)

__all__ = ["agent", "replay_file", "save_new"]

agent = typer.Typer(no_args_is_help=True, help="Make, show and look up agents.")

Did: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="DID", help="did:sage:web:<domain>:<agent-id>", callback=check_did
    ),
]


@agent.command()
def new(
    did: Did,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="The file to write.")
    ],
    passphrase_file: PassphraseFile = None,
    algorithm: Annotated[
        str, typer.Option(help=f"Of the signing key: {', '.join(sorted(ALGORITHMS))}.")
    ] = "ed25519",
    force: Annotated[
        bool, typer.Option("--force", help="Replace FILE; its keys are lost.")
    ] = False,
    scrypt_n: Annotated[
        int,
        typer.Option(
            help="Advanced: what a guess at the passphrase costs, a power of two;"
            " memory is 1024 times as many bytes. Do not lower it for real agents."
        ),
    ] = SCRYPT_N,
) -> None:
    """Make new keys and write them to an encrypted file, mode 0600.

    Beside it, FILE.replay will remember what the agent has accepted. Keep the two
    together.
    """
    if os.path.lexists(out) and not force:
        raise ConfigError(f"{out} exists; choose another name, or add --force")
    passphrase = read_passphrase(passphrase_file, twice=True)
    made = service.Agent.generate(did, algorithm=algorithm)
    save_new(made, out, passphrase=passphrase, scrypt_n=scrypt_n)
    made.wipe()
    _print_record(made.record)
    print(f"written to {out}; publish it with: sage registry publish {out} --to DIR")


@agent.command()
def show(
    file: AgentFile,
    passphrase_file: PassphraseFile = None,
    record: Annotated[
        bool, typer.Option("--record", help="Print the record's JSON, to publish.")
    ] = False,
) -> None:
    """Show an agent's name, keys and record version."""
    loaded = load_agent(file, passphrase_file)
    loaded.wipe()
    if record:
        print(loaded.record.encode().decode("utf-8"))
    else:
        _print_record(loaded.record)


@agent.command()
def verify(
    did: Did,
    host_map: HostMapFile = None,
    records: RecordsFolder = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the record as JSON instead.")
    ] = False,
) -> None:
    """Resolve an agent, and say what was checked."""
    observation = asyncio.run(_resolve(did, host_map, records))
    # Raises where the agent cannot be talked to: inactive, expired, revoked.
    unix_time = int(time.time())
    signing = observation.record.select_signing_key(unix_time=unix_time)
    kem = observation.record.select_kem_key(unix_time=unix_time)
    if as_json:
        print(json.dumps(observation.record.to_json(), indent=2))
        return
    _print_record(observation.record)
    _print_checks(observation, [signing.kid, kem.kid])


def save_new(
    made: service.Agent, file: Path, *, passphrase: str, scrypt_n: int = SCRYPT_N
) -> None:
    """Write a new agent, and beside it the replay file that starts empty.

    Raises:
        ConfigError: one of the two cannot be written, and there is no new agent.
    """
    # The identity is new: this is the one moment to say that it has no history.
    SqliteReplayGuard(replay_file(file), assume_no_history=True).close()
    made.save(file, passphrase=passphrase, scrypt_n=scrypt_n)


def replay_file(agent_file: Path) -> Path:
    """Return the replay file that belongs to an agent file."""
    return agent_file.with_name(agent_file.name + ".replay")


async def _resolve(
    did: str, host_map: Path | None, records: Path | None
) -> Observation:
    async with resolving(host_map, records, domains=[domain_of(did)]) as resolver:
        return await resolver.resolve(did, now=time.monotonic())


def _print_record(record: AgentRecord) -> None:
    print(f"did      {record.id}")
    print(f"record   version {record.version}, {record.state}")
    for entry in record.keys:
        state = "" if entry.state == "accepted" else f"  {entry.state}"
        print(f"key      {entry.name}  {entry.alg}  {key_id(entry.key)}{state}")
    for service_entry in record.services:
        print(
            f"service  {service_entry.name}  {service_entry.type}  {service_entry.uri}"
        )


def _print_checks(observation: Observation, usable: list[str]) -> None:
    names = " and ".join(kid.partition("#")[2] for kid in usable)
    print(f"source   {observation.source}")
    if observation.source.startswith("https://"):
        print("checked  TLS: the registry has a certificate for its name")
        print("checked  the answer was made for this question, seconds ago")
    else:
        print("checked  the file is where the name says")
    print("checked  the record is complete, and of this agent")
    print("checked  every key has a valid proof of possession")
    print(f"checked  the agent is active; {names} are usable now")
