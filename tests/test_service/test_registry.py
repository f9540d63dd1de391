"""The small registry: what it serves, and what it never does."""

from __future__ import annotations

import json

import pytest

import sage
from sage.errors import UsageError
from sage.identity import parse_web_response, revoke_key, write_record_file
from sage.service import Clock, Registry

ADA = "did:sage:web:agents.example:ada"
CLOCK = Clock(monotonic=lambda: 1.0, wall=lambda: 1000.0)


@pytest.fixture
def folder(tmp_path, ada):
    write_record_file(tmp_path, ada.record)
    return tmp_path


async def ask(
    folder,
    path="/.well-known/sage/agents/ada",
    *,
    host=b"agents.example",
    method="GET",
    raw_path=None,
):
    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode() if raw_path is None else raw_path,
        "headers": [(b"host", host)],
    }
    await Registry(folder, clock=CLOCK)(scope, None, send)
    start, body = sent
    return start["status"], dict(start["headers"]), body["body"]


async def test_a_record_as_the_protocol_wants_it(folder, ada):
    status, headers, body = await ask(folder)
    assert status == 200
    assert headers[b"content-type"] == b"application/json"
    assert json.loads(body).keys() == {"record", "issued", "expires"}
    assert parse_web_response(body, ADA, unix_time=1000) == ada.record


async def test_the_record_is_read_for_each_answer(folder, ada):
    write_record_file(folder, revoke_key(ada.record, "sign-1", unix_time=1))
    _, _, body = await ask(folder)
    assert json.loads(body)["record"]["state"] == "deactivated"


async def test_the_port_is_not_part_of_the_name(folder):
    assert (await ask(folder, host=b"agents.example:8444"))[0] == 200


@pytest.mark.parametrize(
    ("path", "host"),
    [
        ("/", b"agents.example"),
        ("/.well-known/sage/agents/", b"agents.example"),
        ("/.well-known/sage/agents/grace", b"agents.example"),
        ("/.well-known/sage/agents/ada", b"other.example"),
        ("/.well-known/sage/agents/ada", b""),
        ("/.well-known/sage/agents/ada", b"127.0.0.1"),
        ("/.well-known/sage/agents/../../ada", b"agents.example"),
        ("/.well-known/sage/agents/..", b"agents.example"),
        ("/.well-known/sage/agents/ada/", b"agents.example"),
        ("/.well-known/sage/agents/ada\x00", b"agents.example"),
        ("/.well-known/sage/agents/ada", b"../../etc"),
    ],
)
async def test_what_is_not_there(folder, path, host):
    status, _, body = await ask(folder, path, host=host)
    assert (status, body) == (404, b"not available")


async def test_an_encoded_path_is_an_alias(folder):
    raw = b"/.well-known/sage/agents/%61da"
    assert (await ask(folder, raw_path=raw))[0] == 404


async def test_only_get(folder):
    for method in ("POST", "PUT", "DELETE", "HEAD"):
        assert (await ask(folder, method=method))[0] == 405


async def test_a_broken_file_is_not_served(folder):
    (folder / "agents.example" / "ada.json").write_bytes(b"{}")
    assert (await ask(folder))[0] == 500


async def test_a_websocket_is_turned_away(folder):
    sent = []

    async def send(message):
        sent.append(message)

    await Registry(folder)({"type": "websocket"}, None, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_the_fixture_is_what_it_says(ada: sage.Agent):
    assert ada.did == ADA


@pytest.mark.parametrize("lifetime_s", [0, 6, 2.5, True, "5", None])
def test_a_lifetime_that_no_answer_may_have(folder, lifetime_s):
    with pytest.raises(UsageError, match="1 to 5 s"):
        Registry(folder, lifetime_s=lifetime_s)
