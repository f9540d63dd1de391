"""``Content-Digest``: RFC 9530."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.errors import (
    AuthenticationError,
    Code,
    DecodeError,
    ProtocolError,
    UsageError,
)
from sage.http import ContentDigester, encode_digest
from sage.http.digest import (
    DIGEST_ALGORITHMS,
    check_digest,
    digest_text,
    parse_digest,
)

from .conftest import outcome

# RFC 9530, appendix B.1 and D: {"hello": "world"} and a line end.
HELLO = b'{"hello": "world"}\n'
SHA256 = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
SHA512 = (
    "sha-512=:YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCs"
    "yRZOtw8MjkM7iw7yZ/WkppmM44T3qg==:"
)


def test_the_rfcs_examples() -> None:
    assert encode_digest(HELLO) == SHA256
    assert encode_digest(HELLO, "sha-512") == SHA512
    for text in (SHA256, SHA512, f"{SHA256}, {SHA512}"):
        check_digest(HELLO, parse_digest(text))


def test_all_that_we_know_must_hold() -> None:
    digests = parse_digest(f"{SHA256}, {encode_digest(b'other', 'sha-512')}")
    assert set(digests) == {"sha-256", "sha-512"}
    with pytest.raises(AuthenticationError) as caught:
        check_digest(HELLO, digests)
    assert caught.value.code is Code.DIGEST_MISMATCH


def test_what_we_do_not_know_is_left_alone() -> None:
    digests = parse_digest(f"md5=:YQ==:, unixsum=30637, {SHA256}, x=(a b)")
    assert list(digests) == ["sha-256"]


@pytest.mark.parametrize("text", ["md5=:YQ==:", "", "unixsum=1"])
def test_broken_algorithms_are_none(text: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_digest(text)
    assert caught.value.code is Code.DIGEST_MISSING


@pytest.mark.parametrize(
    "text",
    [
        "sha-256=:YQ==:",
        "sha-256=1",
        "sha-256",
        f"{SHA256}, {SHA256}",
        f"{SHA256},",
        SHA256.replace("sha-256", "sha-512"),
        SHA256[:-1],
        f"{SHA256}\n",
        "\xe4",
    ],
)
def test_what_is_no_digest(text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_digest(text)
    assert caught.value.code is Code.DIGEST_MISMATCH


def test_we_write_only_what_is_active() -> None:
    assert dict(DIGEST_ALGORITHMS) == {"sha-256": 32, "sha-512": 64}
    with pytest.raises(UsageError, match="md5"):
        encode_digest(b"", "md5")
    assert digest_text("sha-256", b"a") == "sha-256=:YQ==:"


@given(st.text(), st.text(alphabet="sha-256512=:, YQ;"))
def test_any_text_is_a_digest_or_a_documented_error(text: str, other: str) -> None:
    for value in (text, other, f"{SHA256}{other}"):
        found = outcome(lambda value=value: parse_digest(value))  # type: ignore[misc]
        assert found in (Code.DIGEST_MISMATCH, Code.DIGEST_MISSING) or found


@given(st.lists(st.binary(max_size=50)), st.sampled_from(sorted(DIGEST_ALGORITHMS)))
def test_a_stream_is_its_chunks_together(chunks: list[bytes], algorithm: str) -> None:
    whole = b"".join(chunks)
    digests = parse_digest(encode_digest(whole, algorithm))
    assert digests == {
        algorithm: hashlib.new(algorithm.replace("-", ""), whole).digest()
    }
    digester = ContentDigester(digests)
    for chunk in chunks:
        digester.update(memoryview(chunk))
    digester.finish()
    digester.update(b"more")
    with pytest.raises(AuthenticationError) as caught:
        digester.finish()
    assert caught.value.code is Code.DIGEST_MISMATCH


def test_a_stream_has_a_limit() -> None:
    digester = ContentDigester(parse_digest(encode_digest(b"1234")), max_bytes=4)
    digester.update(b"123")
    digester.update(b"4")
    digester.finish()
    with pytest.raises(DecodeError) as caught:
        digester.update(b"5")
    assert caught.value.code is Code.SIZE_EXCEEDED
    too_much: Any = ContentDigester(parse_digest(encode_digest(b"")))
    with pytest.raises(DecodeError):
        too_much.update(bytes(16 * 1024 * 1024 + 1))


def test_nothing_to_compare_with_is_a_mistake() -> None:
    with pytest.raises(UsageError):
        ContentDigester({})
