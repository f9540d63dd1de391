"""What all HTTPS clients share: their limits, and what they refuse to call."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.errors import Code, DecodeError, UsageError
from sage.limits import ENVELOPE_MAX_BYTES
from sage.transport import Http2Pool, HttpsPool, HttpsPoolConfig, open_https
from sage.transport.https_client import (
    check_head,
    require_https,
    without_password,
)


def test_the_defaults():
    config = HttpsPoolConfig()
    assert (config.max_connections, config.max_per_host) == (100, 10)
    assert (config.idle_s, config.total_timeout_s) == (90.0, 30.0)
    assert config.max_response_bytes == ENVELOPE_MAX_BYTES
    assert not config.http2


@pytest.mark.parametrize(
    "name",
    [
        "max_connections",
        "max_per_host",
        "idle_s",
        "total_timeout_s",
        "pool_timeout_s",
        "connect_timeout_s",
        "read_timeout_s",
        "max_response_bytes",
    ],
)
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_bound_is_positive(name, value):
    with pytest.raises(UsageError, match=name):
        HttpsPoolConfig(**{name: value})


def test_no_answer_may_be_longer_than_an_envelope():
    with pytest.raises(UsageError, match="max_response_bytes"):
        HttpsPoolConfig(max_response_bytes=ENVELOPE_MAX_BYTES + 1)


async def test_the_option_chooses_the_carrier():
    one = open_https()
    two = open_https(HttpsPoolConfig(http2=True))
    assert isinstance(one, HttpsPool)
    assert isinstance(two, Http2Pool)
    await one.close()
    await two.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://localhost/sage",
        "wss://localhost/sage",
        "https:///sage",
        "https://",
        "localhost/sage",
        "https://ada:secret@localhost/sage",
        "https://localhost/sage#here",
        "https://localhost:99999/sage",
        "https://localhost:x/sage",
        "https://[::1/sage",
        "https://bücher.example/",
        None,
        443,
        b"https://localhost/",
    ],
)
def test_only_https_is_called(url):
    with pytest.raises(UsageError, match="https"):
        require_https(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://ada:secret@localhost/sage", "https://localhost/sage"),
        ("ftp://ada:sec@ret@localhost", "ftp://localhost"),
        ("https://localhost/@ada?to=@grace", "https://localhost/@ada?to=@grace"),
        ("secret", "secret"),
        (443, "443"),
    ],
)
def test_a_password_is_not_shown(url, shown):
    assert without_password(url) == shown
    with pytest.raises(UsageError) as refused:
        require_https(f"{url}#here")
    assert "ret@" not in str(refused.value)


@given(st.text(max_size=80))
def test_any_text_is_a_url_or_refused(text):
    try:
        require_https("https://" + text)
    except UsageError:
        return
    assert text.isascii()


def test_a_head_keeps_its_lines():
    lines = [(b"A", b"1"), (b"a", b"2"), (b"B", b"\xe9")]
    assert check_head(lines) == (("A", "1"), ("a", "2"), ("B", "\xe9"))


def test_a_head_ends_at_32_kib():
    line = (b"a" * 100, b"b" * 920)  # 1,024 as the protocol counts
    assert len(check_head([line] * 32)) == 32
    with pytest.raises(DecodeError) as refused:
        check_head([*[line] * 32, (b"", b"")])
    assert refused.value.code is Code.SIZE_EXCEEDED
