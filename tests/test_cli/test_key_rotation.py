from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from sage.identity import parse_record
from sage.identity.files import exclusive
from sage.limits import ROTATION_OVERLAP_MAX_S
from sage.service import Agent

from .conftest import ADA, Ended, House, Run, make_house, one_line


@pytest.fixture
def own(tmp_path: Path) -> House:
    """A house that may be written in."""
    return make_house(tmp_path)


class Keys:
    def __init__(self, run: Run, house: House) -> None:
        self._run, self.house = run, house

    def __call__(self, verb: str, *words: object) -> Ended:
        more = ("--passphrase-file", self.house / "pass", "--scrypt-n", "2")
        to = ("--to", self.house / "records")
        return self._run("key", verb, self.house / "ada.sage", *words, *to, *more)

    def agent(self) -> Agent:
        return Agent.load(self.house / "ada.sage", passphrase="correct horse")

    def states(self) -> dict[str, str]:
        (path,) = (self.house / "records").rglob("ada.json")
        record = parse_record(path.read_bytes())
        return {entry.name: entry.state for entry in record.keys}


@pytest.fixture
def keys(run: Run, own: House) -> Keys:
    return Keys(run, own)


def test_four_runs_rotate(keys: Keys) -> None:
    ended = keys("rotate")
    assert (ended.code, ended.err) == (0, "")
    assert "stage    prepared" in ended.out
    assert "restart what serves" in ended.out
    assert set(keys.states()) == {"kem-1", "sign-1"}
    ended = keys("rotate")
    assert "stage    announced" in ended.out
    assert "follows  sign-0999 kem-0999" in ended.out
    assert set(keys.states().values()) == {"accepted"}
    assert len(keys.states()) == 4
    assert keys("rotate", "--early").code == 0
    assert keys.agent().signing_key.kid == f"{ADA}#sign-0999"
    ended = keys("rotate", "--overlap-s", "0")
    assert ended.code == 0
    assert "stage    settled" in ended.out
    assert keys.states() == {
        "kem-0999": "accepted",
        "sign-0999": "accepted",
        "kem-1": "revoked",
        "sign-1": "revoked",
    }


def test_a_step_waits_for_its_time_and_says_when(keys: Keys) -> None:
    for _ in range(2):
        assert keys("rotate").code == 0
    before = keys.agent().ring.moved_at
    ended = keys("rotate")
    assert (ended.code, ended.out) == (1, "")
    line = one_line(ended)
    assert line.startswith("sage: too soon, nothing was changed: ")
    assert "announced and waits until every peer can have seen the new pair" in line
    assert re.search(
        r"run this again, from [-0-9]{10} [:0-9]{8} UTC on, in \d+ s", line
    )
    assert keys.agent().ring.moved_at == before
    assert keys.agent().ring.following is not None
    assert "UTC on, in " in keys("rotate", "--status").out
    assert keys("rotate", "--early").code == 0
    ended = keys("rotate")
    assert ended.code == 1
    assert "until no session that the old pair made is left" in one_line(ended)


@pytest.mark.parametrize("seconds", [-1, ROTATION_OVERLAP_MAX_S + 1, 10**30])
def test_an_overlap_has_an_end(keys: Keys, seconds: int) -> None:
    ended = keys("rotate", "--overlap-s", seconds)
    assert ended.code == 2
    assert "'--overlap-s'" in one_line(ended)
    assert keys.agent().ring.following is None


def test_the_longest_overlap_can_be_told(keys: Keys) -> None:
    for _ in range(3):
        longest = ("--overlap-s", ROTATION_OVERLAP_MAX_S)
        assert keys("rotate", "--early", *longest).code == 0
    assert "UTC on, in " in one_line(keys("rotate", *longest))


def test_a_wrong_passphrase_names_the_file(keys: Keys) -> None:
    (keys.house / "pass").write_text("wrong\n")
    ended = keys("rotate")
    assert ended.code == 3
    assert one_line(ended).startswith(f"sage: {keys.house / 'ada.sage'}: wrong pass")


def test_an_announcement_that_did_not_come_out_is_made_good(keys: Keys) -> None:
    assert keys("rotate").code == 0
    (path,) = (keys.house / "records").rglob("ada.json")
    before = path.read_bytes()
    assert keys("rotate").code == 0
    # As after a crash: saved, and neither published nor known to be.
    agent = keys.agent()
    agent.adopt(replace(agent.ring, announced=False))
    agent.save(keys.house / "ada.sage", passphrase="correct horse", scrypt_n=2)
    path.write_bytes(before)
    ended = keys("rotate", "--status")
    assert "UTC on, in " not in ended.out
    ended = keys("rotate")
    assert ended.code == 0
    assert "stage    announced" in ended.out
    assert "UTC on, in " in ended.out
    assert len(keys.states()) == 4
    assert keys("rotate").code == 1


def test_status_changes_nothing(keys: Keys) -> None:
    before = (keys.house / "ada.sage").read_bytes()
    ended = keys("rotate", "--status")
    assert ended.code == 0
    assert "stage    settled" in ended.out
    assert (keys.house / "ada.sage").read_bytes() == before


def test_another_algorithm(keys: Keys) -> None:
    assert keys("rotate", "--algorithm", "ecdsa-p256-sha256").code == 0
    following = keys.agent().ring.following
    assert following is not None
    assert following.signing_key.algorithm == "ecdsa-p256-sha256"


def test_a_key_is_revoked_at_once(keys: Keys) -> None:
    for _ in range(2):
        assert keys("rotate").code == 0
    ended = keys("revoke", "kem-1")
    assert (ended.code, ended.err) == (0, "")
    assert "version 4, active" in ended.out
    assert keys.states()["kem-1"] == "revoked"
    # The rotation goes on from there.
    for _ in range(2):
        assert keys("rotate", "--early").code == 0
    assert keys.states()["sign-1"] == "revoked"
    assert keys.agent().ring.retired is None


def test_the_last_signing_key_is_not_revoked_by_accident(keys: Keys) -> None:
    ended = keys("revoke", "sign-1")
    assert ended.code == 2
    assert "rotate first" in one_line(ended)
    assert keys.states()["sign-1"] == "accepted"
    ended = keys("revoke", "sign-1", "--deactivate")
    assert ended.code == 0
    assert "deactivated" in ended.out
    ended = keys("rotate")
    assert ended.code == 2
    one_line(ended)


def test_a_key_that_is_none(keys: Keys) -> None:
    ended = keys("revoke", "sign-7")
    assert ended.code == 2
    assert "sign-7" in one_line(ended)


@pytest.mark.parametrize("words", [("rotate",), ("revoke", "kem-1")])
def test_two_at_once_would_lose_a_key(keys: Keys, words: tuple[str, ...]) -> None:
    before = (keys.house / "ada.sage").read_bytes()
    with exclusive(keys.house.top):
        ended = keys(*words)
    assert ended.code == 3
    assert "another process" in one_line(ended)
    assert (keys.house / "ada.sage").read_bytes() == before
    assert keys(*words).code == 0


@pytest.mark.parametrize("words", [("rotate",), ("revoke", "kem-1")])
def test_a_link_would_part_from_what_it_leads_to(
    keys: Keys, words: tuple[str, ...]
) -> None:
    file = keys.house / "ada.sage"
    (keys.house / "moved").mkdir()
    file.rename(keys.house / "moved" / "ada.sage")
    file.symlink_to(keys.house / "moved" / "ada.sage")
    ended = keys(*words)
    assert ended.code == 3
    assert "is a symbolic link" in one_line(ended)
    assert file.is_symlink()


@pytest.mark.parametrize("verb", [("rotate",), ("revoke", "sign-1")])
def test_a_folder_that_has_no_record_of_the_agent(
    run: Run, own: House, verb: tuple[str, ...]
) -> None:
    before = (own / "ada.sage").read_bytes()
    missing = own / "recrods"
    more = ("--to", missing, "--passphrase-file", own / "pass", "--scrypt-n", "2")
    ended = run("key", verb[0], own / "ada.sage", *verb[1:], *more)
    assert ended.code == 3
    assert "has no record of" in one_line(ended)
    assert not missing.exists()
    assert (own / "ada.sage").read_bytes() == before
