"""Both ends of a handshake on one table, and the worked examples."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path

import pytest

from sage._crypto import x25519_load_private
from sage.encoding import jcs
from sage.handshake import Completion, Initiator, Responder
from sage.identity.keys import KemKey, PublicKey, SigningKey

NOW = 1000.0
UNIX = 1_790_000_000
EXPIRES = UNIX + 60
ADA = "did:sage:web:agents.example:ada"
GRACE = "did:sage:web:agents.example:grace"
ADA_KEY = SigningKey.generate(f"{ADA}#sign-1")
GRACE_KEY = SigningKey.generate(f"{GRACE}#sign-1")
GRACE_KEM = KemKey.generate(f"{GRACE}#kem-1")


def public(key):
    return PublicKey(key.kid, key.algorithm, key.public_key)


@dataclass(frozen=True)
class Envelope:
    context_id: str | None
    nonce: str
    kid: str
    did: str
    recipient: str


class Pair:
    """An initiator (Ada) and a responder (Grace), joined without a wire."""

    NOW, UNIX, EXPIRES, ADA, GRACE = NOW, UNIX, EXPIRES, ADA, GRACE

    def __init__(
        self,
        *,
        init=ADA_KEY,
        resp=GRACE_KEY,
        kem=GRACE_KEM,
        entropy=secrets.token_bytes,
        resp_entropy=secrets.token_bytes,
    ):
        self.init, self.resp, self.kem = init, resp, kem
        self.keys = {
            "init_key": public(init),
            "resp_key": public(resp),
            "kem_key": public(kem),
        }
        self.initiator = Initiator(init, **self.keys, entropy=entropy)
        self.responder = Responder(
            resp,
            kem,
            init_key=public(init),
            resp_key=public(resp),
            kem_public=public(kem),
            entropy=resp_entropy,
        )

    @property
    def envelope(self):
        return Envelope(
            self.initiator.ctx, self.initiator.nonce, self.init.kid, ADA, GRACE
        )

    def start(self, *, now=NOW, expires=EXPIRES, **more):
        return self.initiator.start(now=now, expires=expires, **more)

    def respond(self, payload, *, envelope=None, response_expires=EXPIRES, **more):
        return self.responder.respond(
            payload,
            envelope_context=envelope or self.envelope,
            now=more.pop("now", NOW),
            expires=more.pop("expires", EXPIRES),
            response_expires=response_expires,
            **more,
        )

    def finish(self, data, *, now=NOW, unix_time=UNIX, **keys):
        return self.initiator.finish(
            data, **self.keys | keys, now=now, unix_time=unix_time
        )

    def confirm(self, *, now=NOW, unix_time=UNIX):
        self.responder.confirm(now=now, unix_time=unix_time)

    def answered(self):
        """Go as far as the completion, and return it."""
        return self.respond(self.start())

    def run(self):
        """Go all the way, and return both ends' secrets."""
        secrets_of_initiator = self.finish(self.answered())
        self.confirm()
        return secrets_of_initiator, self.responder.secrets

    def signed(self, message):
        """Sign a completion, given as a JSON object, whatever it says."""
        body = {name: message[name] for name in message if name != "sigB64"}
        signature = self.resp.sign(b"sage-hpke-complete|0.10.0\n" + jcs(body))
        completion = Completion(
            echo={}, eph_s=b"", kid="", ack_tag=b"", signature=signature
        )
        text = json.loads(completion.encode())["sigB64"]
        return jcs(body | {"sigB64": text})


@pytest.fixture(scope="session")
def make_pair():
    return Pair


@pytest.fixture
def pair():
    return Pair()


_WORKED = Path(__file__).parents[1] / "vectors" / "worked-example-0.10.0.json"
_EXAMPLES = json.loads(_WORKED.read_text())["examples"]


@pytest.fixture(params=_EXAMPLES, ids=["worked-1", "worked-2"])
def worked(request):
    return request.param


@pytest.fixture
def worked_keys(worked):
    """The example's X25519 keys, loaded: the SHA-256 of their labels."""
    from hashlib import sha256

    labels = worked["private_key_labels"]
    assert set(labels) == {"kem", "enc", "ephC", "ephS"}
    return {
        name: x25519_load_private(sha256(label.encode()).digest())
        for name, label in labels.items()
    }


@pytest.fixture
def worked_pair(worked, worked_keys, monkeypatch):
    """Both ends, about to draw exactly what the example drew."""
    from sage._crypto import private_bytes
    from sage.encoding import b64u_decode
    from sage.handshake import hpke, initiator, responder

    for module, name in ((hpke, "enc"), (initiator, "ephC"), (responder, "ephS")):
        monkeypatch.setattr(module, "x25519_generate", lambda n=name: worked_keys[n])
    uuids = [
        bytes.fromhex(text.replace("-", ""))
        for text in (worked["binding"]["ctx"], worked["transcript"]["kid"])
    ]
    drawn = [uuids[0], b64u_decode(worked["binding"]["nonce"])]
    kem = KemKey.from_private_bytes(
        worked["binding"]["kemKid"], private_bytes(worked_keys["kem"])
    )
    return Pair(
        kem=kem, entropy=lambda _: drawn.pop(0), resp_entropy=lambda _: uuids[1]
    )
