from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage.errors import Code, ConfigError, DecodeError, ResolutionError, UsageError
from sage.identity import (
    AgentRecord,
    FileResolver,
    MemoryResolver,
    Observation,
    Resolver,
    SigningKey,
    VersionFloor,
    activate,
    create_record,
    deactivate,
    parse_did,
    set_services,
    write_record_file,
)
from sage.identity.files import exclusive
from sage.identity.resolver import _path, observe, parse_web_did

DID = "did:sage:web:agents.example:ada"
EVE = "did:sage:web:agents.example:eve"
CHAIN = f"did:sage:eip155:1:0x{'ab' * 20}:ada"
posix = pytest.mark.skipif(os.name != "posix", reason="links and modes are POSIX's")


async def refusal(resolver: Resolver, did: str) -> Code:
    with pytest.raises(ResolutionError) as caught:
        await resolver.resolve(did, now=1.0)
    return caught.value.code


def resolvers(tmp_path: Path, *records: AgentRecord) -> list[Resolver]:
    for record in records:
        write_record_file(tmp_path, record)
    return [MemoryResolver(records), FileResolver(tmp_path)]


async def test_memory_is_looked_up_without_waiting(ada: SimpleNamespace) -> None:
    memory = MemoryResolver([ada.record])
    assert memory.look_up(DID, now=7.0) == await memory.resolve(DID, now=7.0)
    for did in (EVE, CHAIN, "did:sage:web:"):
        with pytest.raises(ResolutionError) as caught:
            memory.look_up(did, now=7.0)
        assert caught.value.code is await refusal(memory, did)


# --- observations ----------------------------------------------------------


def test_an_observation_is_good_for_five_seconds(ada: SimpleNamespace) -> None:
    seen = Observation(ada.record, ada.record.version, "test", 100.0)
    for now in (100.0, 102.5, 105.0):
        seen.require_fresh(now)
    for now in (105.0001, 99.9999, 1e9, -1.0, float("nan"), float("inf")):
        with pytest.raises(ResolutionError) as caught:
            seen.require_fresh(now)
        assert caught.value.code is Code.RECORD_STALE
    unclear = replace(seen, observed_at=float("nan"))
    with pytest.raises(ResolutionError):
        unclear.require_fresh(100.0)


def test_an_observation_is_of_the_agent_that_was_asked_for(
    ada: SimpleNamespace,
) -> None:
    with pytest.raises(ResolutionError) as caught:
        observe(ada.record, parse_did(EVE), source="test", now=1.0)
    assert caught.value.code is Code.RECORD_INVALID
    seen = observe(
        ada.record, parse_did(DID), source="test", now=1.0, observed_time=1_700_000_000
    )
    assert seen == Observation(
        ada.record, ada.record.version, "test", 1.0, 1_700_000_000
    )


def test_an_observation_raises_the_floor(ada: SimpleNamespace) -> None:
    floor, asked = VersionFloor(), parse_did(DID)
    observe(ada.record, asked, source="test", now=1.0, floor=floor)
    other = set_services(ada.created and ada.record, [])
    two_stories = replace(other, version=ada.record.version)
    for stale in (ada.created, two_stories):
        with pytest.raises(ResolutionError) as caught:
            observe(stale, asked, source="test", now=1.0, floor=floor)
        assert caught.value.code is Code.RECORD_STALE
    observe(other, asked, source="test", now=1.0, floor=floor)
    floor.close()


# --- both resolvers ----------------------------------------------------------


async def test_records_are_found(tmp_path: Path, ada: SimpleNamespace) -> None:
    for resolver in resolvers(tmp_path, ada.record):
        seen = await resolver.resolve(DID, now=7.5)
        assert seen.record == ada.record
        assert seen.record.proven
        assert (seen.version, seen.observed_at) == (ada.record.version, 7.5)
        assert seen.source


@pytest.mark.parametrize(
    ("did", "code"),
    [
        (EVE, Code.RECORD_NOT_FOUND),
        ("did:sage:web:other.example:ada", Code.RECORD_NOT_FOUND),
        (DID + "#sign-1", Code.ID_MALFORMED),
        ("did:sage:web:agents.example:..", Code.ID_MALFORMED),
        ("did:sage:web:..:ada", Code.ID_MALFORMED),
        ("did:sage:web:agents.example:../ada", Code.ID_MALFORMED),
        ("did:sage:web:agents.example:ada\0", Code.ID_MALFORMED),
        ("", Code.ID_MALFORMED),
        (CHAIN, Code.ID_UNKNOWN_KIND),
        ("did:sage:solana:x:ada", Code.ID_UNKNOWN_KIND),
    ],
)
async def test_names_without_a_record(
    tmp_path: Path, ada: SimpleNamespace, did: str, code: Code
) -> None:
    for resolver in resolvers(tmp_path, ada.record):
        assert await refusal(resolver, did) is code


async def test_names_are_text(tmp_path: Path) -> None:
    for resolver in resolvers(tmp_path):
        with pytest.raises(UsageError):
            await resolver.resolve(None, now=1.0)  # type: ignore[arg-type]


async def test_publication_takes_effect_at_once(
    tmp_path: Path, ada: SimpleNamespace
) -> None:
    ended = deactivate(ada.record)
    memory = MemoryResolver([ada.record])
    files = FileResolver(tmp_path)
    write_record_file(tmp_path, ada.record)
    memory.publish(ended)
    write_record_file(tmp_path, ended)
    for resolver in (memory, files):
        assert (await resolver.resolve(DID, now=1.0)).record.state == "deactivated"


def publishers(tmp_path: Path) -> list[Callable[[AgentRecord], Any]]:
    memory = MemoryResolver()
    return [memory.publish, lambda record: write_record_file(tmp_path, record)]


def test_only_the_next_version_replaces(tmp_path: Path, ada: SimpleNamespace) -> None:
    later = set_services(set_services(ada.record, []), [])
    for publish in publishers(tmp_path):
        publish(ada.record)
        publish(ada.record)
        for bad, code in [
            (ada.created, Code.RECORD_STALE),
            (later, Code.RECORD_INVALID),
        ]:
            with pytest.raises(ResolutionError) as caught:
                publish(bad)
            assert caught.value.code is code
        publish(set_services(ada.record, []))
        publish(later)


async def test_what_nobody_checked_is_checked_before_it_is_published(
    tmp_path: Path, ada: SimpleNamespace, unproven: AgentRecord
) -> None:
    memory = MemoryResolver([unproven])
    assert (await memory.resolve(DID, now=1.0)).record.proven
    write_record_file(tmp_path, unproven)
    bad = replace(unproven, keys=unproven.keys[:1])
    for publish in publishers(tmp_path / "other"):
        with pytest.raises(ResolutionError) as caught:
            publish(bad)
        assert caught.value.code is Code.RECORD_INVALID


# --- files ----------------------------------------------------------


def put(tmp_path: Path, data: bytes, name: str = "ada") -> FileResolver:
    path = tmp_path / "agents.example" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return FileResolver(tmp_path)


async def test_a_file_that_is_no_record(tmp_path: Path, ada: SimpleNamespace) -> None:
    data = ada.record.encode()
    for content, code in [
        (b"", Code.RECORD_INVALID),
        (b"{}", Code.RECORD_INVALID),
        (data[:-1], Code.RECORD_INVALID),
        (data.replace(b"agents.example:ada", b"agents.example:eve"), Code.POP_BAD),
        (data + b" " * 65_536, Code.SIZE_EXCEEDED),
    ]:
        assert await refusal(put(tmp_path, content), DID) is code


async def test_a_file_of_another_agent(tmp_path: Path, ada: SimpleNamespace) -> None:
    resolver = put(tmp_path, ada.record.encode(), "eve")
    assert await refusal(resolver, EVE) is Code.RECORD_INVALID


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "absent", tmp_path / "file"):
        assert await refusal(FileResolver(folder), DID) is Code.RECORD_UNREACHABLE


@posix
async def test_things_that_are_no_files(tmp_path: Path, ada: SimpleNamespace) -> None:
    folder = tmp_path / "agents.example"
    folder.mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "ada.json").write_bytes(ada.record.encode())
    (folder / "ada.json").symlink_to(outside / "ada.json")
    os.mkfifo(folder / "pipe.json")
    (folder / "dir.json").mkdir()
    (tmp_path / "linked.example").symlink_to(outside)
    resolver = FileResolver(tmp_path)
    for did in (
        DID,
        "did:sage:web:agents.example:pipe",
        "did:sage:web:agents.example:dir",
        "did:sage:web:linked.example:ada",
    ):
        assert await refusal(resolver, did) is Code.RECORD_UNREACHABLE


async def test_a_floor_sees_a_folder_go_back(
    tmp_path: Path, ada: SimpleNamespace
) -> None:
    floor = VersionFloor()
    resolver = FileResolver(tmp_path, floor=floor)
    put(tmp_path, ada.record.encode())
    await resolver.resolve(DID, now=1.0)
    put(tmp_path, ada.created.encode())
    assert await refusal(resolver, DID) is Code.RECORD_STALE
    # The same record in other words is the same record.
    put(tmp_path, ada.record.encode().replace(b",", b", "))
    await resolver.resolve(DID, now=1.0)
    floor.close()


def test_files_are_published_for_everyone(tmp_path: Path, ada: SimpleNamespace) -> None:
    path = write_record_file(str(tmp_path / "new"), ada.record)
    assert path == tmp_path / "new" / "agents.example" / "ada.json"
    assert path.read_bytes() == ada.record.encode()
    assert os.listdir(path.parent) == ["ada.json"]
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_publication_that_cannot_be(
    tmp_path: Path, ada: SimpleNamespace, signing_key: Callable[..., SigningKey]
) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError):
        write_record_file(tmp_path / "file", ada.record)
    chain = activate(create_record(CHAIN, "ops", [signing_key("k", did=CHAIN)], []))
    with pytest.raises(UsageError):
        write_record_file(tmp_path, chain)


@posix
def test_two_publishers_do_not_meet(tmp_path: Path, ada: SimpleNamespace) -> None:
    path = write_record_file(tmp_path, ada.record)
    with exclusive(path.parent), pytest.raises(ConfigError, match="another process"):
        write_record_file(tmp_path, deactivate(ada.record))
    assert path.read_bytes() == ada.record.encode()


def test_a_broken_file_is_not_replaced(tmp_path: Path, ada: SimpleNamespace) -> None:
    put(tmp_path, b"{}")
    with pytest.raises(ResolutionError) as caught:
        write_record_file(tmp_path, ada.record)
    assert caught.value.code is Code.RECORD_INVALID


@settings(deadline=None)
@given(text=st.text() | st.text("./\\:~a%", max_size=20))
def test_no_name_leaves_the_folder(text: str) -> None:
    folder = Path("/srv/records")
    for did in (f"did:sage:web:{text}:ada", f"did:sage:web:agents.example:{text}"):
        try:
            parsed = parse_web_did(did)
        except ResolutionError as exc:
            assert exc.code is Code.ID_MALFORMED  # noqa: PT017
            continue
        path = Path(os.path.normpath(_path(folder, parsed)))
        assert path.parent.parent == folder


def test_even_a_name_that_the_grammar_let_through_does_not(tmp_path: Path) -> None:
    ada = parse_did(DID)
    for changes in (
        {"agent_id": "../ada"},
        {"agent_id": "/etc/ada"},
        {"locator": "../agents.example"},
        {"locator": "/etc"},
        {"locator": "a/b"},
    ):
        with pytest.raises(ResolutionError) as caught:
            _path(tmp_path, replace(ada, **changes))
        assert caught.value.code is Code.ID_MALFORMED


def test_resolution_errors_keep_the_code_of_the_name() -> None:
    with pytest.raises(ResolutionError) as caught:
        parse_web_did("did:sage:web")
    assert isinstance(caught.value.__cause__, DecodeError)
