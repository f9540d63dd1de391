"""What we sign, `http-message-signatures` verifies, and the other way round."""

from __future__ import annotations

import datetime
from types import SimpleNamespace
from typing import Any

import http_message_signatures as oracle
import pytest
from http_message_signatures import algorithms
from http_sf.compat import Item
from hypothesis import given, settings
from hypothesis import strategies as st

from sage import _crypto
from sage.http import (
    HttpKey,
    Policy,
    RequestMessage,
    ResponseMessage,
    sign_request,
    sign_response,
    verify_request,
    verify_response,
)
from sage.http.base import MessageView, component_value
from sage.http.component import named_components

from .conftest import load

KEYS = load("rfc9421/appendix-b.json")["keys"]
SECRET = bytes(range(64))
P384: Any = _crypto.p384_generate()


def suite(name: str) -> tuple[Any, HttpKey, Any, Any]:
    """Return an algorithm of the oracle, our key, and its two halves for it."""
    pems = {
        "rsa-pss-sha512": ("RSA_PSS_SHA512", "test-key-rsa-pss"),
        "ecdsa-p256-sha256": ("ECDSA_P256_SHA256", "test-key-ecc-p256"),
        "ed25519": ("ED25519", "test-key-ed25519"),
    }
    if name == "hmac-sha256":
        key = HttpKey.from_secret("k", SECRET)
        return algorithms.HMAC_SHA256, key, SECRET, SECRET
    if name == "ecdsa-p384-sha384":
        key = HttpKey("k", name, P384)
        return algorithms.ECDSA_P384_SHA384, key, P384, P384.public_key()
    kind, entry = pems[name]
    pem = KEYS[entry]["private_pem"].encode()
    public = KEYS[entry]["public_pem"].encode()
    return getattr(algorithms, kind), HttpKey.from_pem("k", name, pem), pem, public


ALGORITHMS = [
    "ecdsa-p256-sha256",
    "ecdsa-p384-sha384",
    "ed25519",
    "hmac-sha256",
    "rsa-pss-sha512",
]


class Headers(dict[str, str]):
    """What the oracle reads and writes."""


def as_oracle(message: RequestMessage, **more: Any) -> Any:
    return SimpleNamespace(
        method=message.method,
        url=message.target_uri,
        headers=Headers(message.fields),
        body=message.content,
        **more,
    )


@pytest.mark.parametrize("name", ALGORITHMS)
def test_requests_and_responses(name: str) -> None:
    kind, key, private, public = suite(name)
    resolver = oracle.MappingKeyResolver(
        public_keys={"k": public}, private_keys={"k": private}
    )
    signer = oracle.HTTPMessageSigner(signature_algorithm=kind, key_resolver=resolver)
    verifier = oracle.HTTPMessageVerifier(
        signature_algorithm=kind, key_resolver=resolver
    )
    request = RequestMessage(
        method="POST",
        target_uri="https://Example.com:443/path?a=b%20c&d=~",
        fields=(("Content-Type", "text/plain"), ("Date", "now")),
        content=b"content",
    )
    # Ours, read by the oracle, which reads the clock itself.
    now = int(datetime.datetime.now(datetime.UTC).timestamp())
    added = sign_request(request, key, created=now, expires=now + 60, nonce="one")
    signed = request.with_fields(*added)
    (result,) = verifier.verify(as_oracle(signed), body=b"content")
    assert result.parameters["nonce"] == "one"
    response = ResponseMessage(status=200, content=b"well")
    answer = sign_response(
        response, key, request=signed, created=now, expires=now + 60, nonce="two"
    )
    theirs = SimpleNamespace(
        status_code=200, headers=Headers(answer), request=as_oracle(signed)
    )
    (result,) = verifier.verify(theirs, body=b"well")
    assert result.parameters["nonce"] == "two"

    # The oracle's, read by us.
    sent = as_oracle(request)
    when = datetime.datetime.fromtimestamp(now, datetime.UTC)
    metadata: dict[str, Any] = {
        "key_id": "k",
        "created": when,
        "expires": when + datetime.timedelta(seconds=60),
        "label": "sig1",
    }
    signer.sign(sent, nonce="three", body=b"content", **metadata)
    received = RequestMessage(
        method="POST",
        target_uri=request.target_uri,
        fields=tuple(sent.headers.items()),
        content=b"content",
    )
    proof = verify_request(received, key.verification_key(), unix_time=now)
    assert (proof.nonce, proof.algorithm) == ("three", name)
    reply = SimpleNamespace(status_code=503, headers=Headers(), request=sent)
    signer.sign(
        reply,
        nonce="four",
        body=b"ill",
        covered_component_ids=(
            "@status",
            '"@method";req',
            '"@target-uri";req',
            '"@authority";req',
            '"content-digest";req',
            '"signature";req',
        ),
        **metadata,
    )
    got = ResponseMessage(
        status=503, fields=tuple(reply.headers.items()), content=b"ill"
    )
    proof = verify_response(
        got, key.verification_key(), request=received, policy=Policy(), unix_time=now
    )
    assert proof.nonce == "four"


HOSTS = st.sampled_from(["a.example", "A.Example:443", "a.example:8443", "[::1]:80"])
PIECES = st.text(alphabet="abc~*-._%2F+&=", max_size=12).filter(
    lambda text: "%" not in text.replace("%2F", "")
)
COMPONENTS = [
    "@method",
    "@target-uri",
    "@authority",
    "@scheme",
    "@request-target",
    "@path",
    "@query",
]


@settings(max_examples=200)
@given(
    st.sampled_from(["http", "https"]),
    HOSTS,
    st.one_of(st.just(""), PIECES.map("/{}".format)),
    st.one_of(st.just(""), PIECES.map("?{}".format)),
)
def test_derived_components(scheme: str, host: str, path: str, query: str) -> None:
    uri = f"{scheme}://{host}{path}{query}"
    message = RequestMessage(method="GET", target_uri=uri)
    resolver = oracle.HTTPSignatureComponentResolver(as_oracle(message))
    view = MessageView(message)
    for component in named_components(tuple(COMPONENTS)):
        wanted = resolver.resolve(Item(component.name))
        assert component_value(view, component) == wanted, component.name
