from __future__ import annotations

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sage.errors import Code, DecodeError, UsageError
from sage.identity import parse_did, parse_key_url
from sage.identity.did import is_key_name

ADDRESS = "0x" + "ab" * 20
WEB = "did:sage:web:agents.example:ada"

SEGMENT = st.text(string.ascii_letters + string.digits + ".-_", min_size=1, max_size=64)
LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
HOST = st.builds(
    lambda labels, last: ".".join([*labels, last]),
    st.lists(LABEL, max_size=1),
    st.from_regex(r"[a-z]([a-z-]{0,10}[a-z])?", fullmatch=True),
)
AGENT = SEGMENT.filter(lambda text: text not in {".", ".."})
KEY_NAME = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=32)


@settings(deadline=None)
@given(host=HOST, agent=AGENT)
def test_every_web_identifier_of_the_grammar_is_taken_apart(
    host: str, agent: str
) -> None:
    parsed = parse_did(f"did:sage:web:{host}:{agent}")
    assert (parsed.kind, parsed.locator, parsed.agent_id) == ("web", host, agent)
    assert parsed.registry_id == f"web:{host}"
    assert parsed.did == f"did:sage:web:{host}:{agent}"


@settings(deadline=None)
@given(chain=st.integers(1, 10**32 - 1), agent=AGENT)
def test_every_chain_identifier_of_the_grammar_is_taken_apart(
    chain: int, agent: str
) -> None:
    parsed = parse_did(f"did:sage:eip155:{chain}:{ADDRESS}:{agent}")
    assert parsed.registry_id == f"eip155:{chain}:{ADDRESS}"
    assert parsed.agent_id == agent


@settings(deadline=None)
@given(host=HOST, agent=AGENT, name=KEY_NAME)
def test_key_urls_are_taken_apart(host: str, agent: str, name: str) -> None:
    url = f"did:sage:web:{host}:{agent}#{name}"
    parsed = parse_key_url(url)
    assert (parsed.url, parsed.key_name) == (url, name)
    assert parsed.did == parse_did(url.partition("#")[0])


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "xn--bcher-kva.example",
        "a" * 63,
        "a." + "b" * 62,
        "1.2.3.4.example",
        "0xa.example",
        "a--b.c",
    ],
)
def test_unusual_hosts_are_hosts(host: str) -> None:
    assert parse_did(f"did:sage:web:{host}:a").locator == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        "did:sage",
        "did:sage:",
        "did:sage:web",
        "did:sage:web:agents.example",
        "did:sage:web:agents.example:",
        "did:sage:web::ada",
        "did:sage::agents.example:ada",
        "did:web:agents.example:ada",
        "sage:web:agents.example:ada",
        "DID:sage:web:agents.example:ada",
        "did:SAGE:web:agents.example:ada",
        "did:Sage:web:agents.example:ada",
        "did:sage:Web:agents.example:ada",
        "did:sage:1web:agents.example:ada",
        "did:sage:-web:agents.example:ada",
        "did:sage:we_b:agents.example:ada",
        "x" + WEB,
        " " + WEB,
        WEB + " ",
        WEB + "\n",
        WEB + "\0",
        WEB + "/path",
        WEB + "?query",
        WEB + "#sign-1",
        WEB + ":more",
        WEB + "%41",
        "did:sage:web:agents%2eexample:ada",
        "did:sage:web:agents.example:ad\u0430",
        "did:sage:web:agents.example:\u0661",
        "did:sage:web:agents.example:" + "a" * 65,
        "did:sage:web:agents.example:.",
        "did:sage:web:agents.example:..",
        # hosts
        "did:sage:web:Agents.example:ada",
        "did:sage:web:agents.example.:ada",
        "did:sage:web:.agents.example:ada",
        "did:sage:web:agents..example:ada",
        "did:sage:web:-agents.example:ada",
        "did:sage:web:agents-.example:ada",
        "did:sage:web:agents_1.example:ada",
        "did:sage:web:agents.example:8443:ada",
        "did:sage:web:agents.example%3A8443:ada",
        "did:sage:web:" + "a" * 64 + ":ada",
        "did:sage:web:" + "a." * 32 + "b:ada",
        "did:sage:web:127.0.0.1:ada",
        "did:sage:web:127.1:ada",
        "did:sage:web:2130706433:ada",
        "did:sage:web:0x7f000001:ada",
        "did:sage:web:127.0.0.0x1:ada",
        "did:sage:web:agents.0x:ada",
        "did:sage:web:agents.123:ada",
        "did:sage:web:[::1]:ada",
        # chains
        f"did:sage:eip155:01:{ADDRESS}:ada",
        f"did:sage:eip155:0:{ADDRESS}:ada",
        f"did:sage:eip155:{'1' * 33}:{ADDRESS}:ada",
        f"did:sage:eip155:1:{ADDRESS.upper()}:ada",
        f"did:sage:eip155:1:{ADDRESS.replace('ab', 'AB', 1)}:ada",
        f"did:sage:eip155:1:{ADDRESS[:-1]}:ada",
        f"did:sage:eip155:1:{ADDRESS}0:ada",
        f"did:sage:eip155:1:{ADDRESS[2:]}:ada",
        f"did:sage:eip155:1:{ADDRESS}",
        f"did:sage:eip155:1:{ADDRESS}:..",
        f"did:sage:eip155:{ADDRESS}:ada",
        f"did:sage:eip155:1:{ADDRESS}:ada:42",
        "did:sage:eip155:\u0661:" + ADDRESS + ":ada",
    ],
)
def test_what_is_not_in_normal_form_is_refused(text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_did(text)
    assert caught.value.code is Code.ID_MALFORMED


@pytest.mark.parametrize(
    "text",
    [
        "did:sage:solana:mainnet:7Zn3QwXk9vQ2yP1sJ4cR8tL6mN5bV3xA2dF9gH1kJ8Lm:ada",
        "did:sage:ethereum:0x1111111111111111111111111111111111111111:42",
        "did:sage:eth:0xabc:1",
        "did:sage:polkadot:abc:1",
        "did:sage:webs:agents.example:ada",
    ],
)
def test_kinds_that_we_do_not_know_are_named(text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_did(text)
    assert caught.value.code is Code.ID_UNKNOWN_KIND


def test_an_identifier_has_at_most_256_bytes() -> None:
    # Within the profiles nothing is that long: the bound comes before the kind.
    fits = "did:sage:x:" + ":".join(["a" * 48] * 5)
    assert len(fits) == 255
    for text, code in [
        (fits + "a", Code.ID_UNKNOWN_KIND),
        (fits + "aa", Code.ID_MALFORMED),
    ]:
        with pytest.raises(DecodeError) as caught:
            parse_did(text)
        assert caught.value.code is code


@pytest.mark.parametrize(
    "fragment",
    ["", "#", "#" + "a" * 33, "#a#b", "#a.b", "#a b", "#a\n", "#%41", "#\u00e9", "##a"],
)
def test_a_key_url_has_exactly_one_good_fragment(fragment: str) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_key_url(WEB + fragment)
    assert caught.value.code is Code.ID_MALFORMED


def test_a_key_url_of_an_unknown_kind_is_named() -> None:
    with pytest.raises(DecodeError) as caught:
        parse_key_url("did:sage:solana:x:ada#sign-1")
    assert caught.value.code is Code.ID_UNKNOWN_KIND


@pytest.mark.parametrize("value", [None, b"did:sage:web:a:b", 7, ["did"]])
def test_identifiers_are_text(value: object) -> None:
    with pytest.raises(UsageError):
        parse_did(value)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        parse_key_url(value)  # type: ignore[arg-type]


@settings(deadline=None)
@given(text=st.text() | st.builds(lambda tail: "did:sage:" + tail, st.text()))
@example("did:sage:web:a:b\n")
def test_any_text_gives_its_own_name_back_or_a_decode_error(text: str) -> None:
    for parse in (lambda: parse_did(text).did, lambda: parse_key_url(text).url):
        try:
            name = parse()
        except DecodeError as exc:
            code = exc.code
        else:
            assert name == text
            continue
        assert code in {Code.ID_MALFORMED, Code.ID_UNKNOWN_KIND}


def test_key_names() -> None:
    assert is_key_name("a" * 32)
    assert is_key_name("-_09azAZ")
    for name in ("", "a" * 33, "a\n", "a.b", "\u0661"):
        assert not is_key_name(name)
