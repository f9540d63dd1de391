"""What a client holds the responses to its signed requests to."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from ..errors import Code, DecodeError, ProtocolError, SageError, UsageError
from ..identity import Resolver
from .component import texts
from .content_check import ContentCheck, NoContent, content_check
from .key_lookup import KeyLookup
from .keys import VerificationKey
from .message import FieldLines, RequestMessage, ResponseMessage
from .policy import Policy
from .verify import begin_response

__all__ = ["ResponseCheck", "after_sending", "received_head"]

_WITHOUT_CONTENT: Final = frozenset({204, 304})


class ResponseCheck:
    """Verifies responses: whose they are, which request they answer, their content."""

    def __init__(
        self,
        *,
        resolver: Resolver | None = None,
        peer: str | None = None,
        keys: Mapping[str, VerificationKey] | None = None,
        policy: Policy | None = None,
        unsigned_streams: Collection[str] = (),
    ) -> None:
        """Say who may answer.

        Args:
            resolver: where the record of ``peer`` is read.
            peer: the agent whose answers these must be.
            keys: key id → key, for servers without a DID.
            policy: what a signature must cover and say; strict where not given.
            unsigned_streams: media types, such as ``text/event-stream``, of responses
                that are believed without a digest of their content. Status, request
                and type are proven then, and the content by TLS alone.

        Raises:
            UsageError: neither a peer with a resolver nor keys; keys that do not
                verify; or one text for ``unsigned_streams``.
            DecodeError: ``peer`` is not a DID (``id.malformed``).
        """
        if resolver is not None and peer is None:
            raise UsageError("whose answers? A resolver knows everybody: name a peer")
        self._lookup = KeyLookup(resolver=resolver, peer=peer, keys=keys or {})
        self._policy = Policy() if policy is None else policy
        types = texts(unsigned_streams, "unsigned_streams")
        self._unsigned_streams = frozenset(map(str.lower, types))

    async def check(
        self, response: ResponseMessage, *, request: RequestMessage
    ) -> ContentCheck | None:
        """Verify the head of a response.

        Args:
            response: as it arrived, its content not yet read.
            request: what was sent, with its signature.

        Returns:
            What the content must pass; ``None`` where it is believed unchecked.

        Raises:
            PeerError: not signed, not by the peer, not for this request, not now.
            ResolutionError: the peer's key cannot be found or is not usable.
            Of all of them, and of those of the content, ``may_have_run`` is true:
            whoever answered may have acted.
        """
        with after_sending():
            checked = await self._check(response, request)
        return None if checked is None else _AfterSending(checked)

    async def _check(
        self, response: ResponseMessage, request: RequestMessage
    ) -> ContentCheck | None:
        if not _value(response, "signature"):
            # As a refused request's answer is: its status tells more than its lack.
            text = f"the answer ({response.status}) is not signed"
            raise ProtocolError(text, code=Code.SIG_MISSING)
        bodiless = request.method == "HEAD" or response.status in _WITHOUT_CONTENT
        stream = not bodiless and self._is_unsigned_stream(response)
        policy = self._policy
        if (bodiless or stream) and not policy.profile.exact:
            # An exact profile has a digest in every message, of no content as well.
            policy = replace(policy, require_digest=False)
        elif _value(response, "content-length") == "0":
            response = replace(response, content=b"")
        pending = begin_response(
            response, request=request, policy=policy, unix_time=int(time.time())
        )
        found = await self._lookup.find(pending.keyid)
        proof = pending.finish(found.key)
        if bodiless:
            # Its digest, if any, is of what `GET` would get. HTTP/2 would let content
            # through all the same, from whoever is in between.
            return NoContent()
        if not stream:
            return content_check(proof, policy)
        if '"content-type"' not in proof.covered:
            # What makes us believe the content must at least be proven itself.
            raise ProtocolError("a stream of no type", code=Code.SIG_COVERAGE)
        return None

    def _is_unsigned_stream(self, response: ResponseMessage) -> bool:
        media_type = _value(response, "content-type").partition(";")[0].strip().lower()
        has_digest = _value(response, "content-digest") != ""
        return media_type in self._unsigned_streams and not has_digest


def received_head(status: int, fields: FieldLines) -> ResponseMessage:
    """Return a response as it arrived, its content not yet read.

    Raises:
        DecodeError: a status that HTTP has not, which libraries let through
            (``frame.malformed``).
    """
    with after_sending():
        if not 100 <= status <= 999:
            raise DecodeError(f"{status} is not a status", code=Code.FRAME_MALFORMED)
        return ResponseMessage(status=status, fields=fields, content=None)


@contextmanager
def after_sending() -> Iterator[None]:
    """Say of every error that the request may have been acted on."""
    try:
        yield
    except SageError as exc:
        exc.may_have_run = True
        raise


class _AfterSending:
    """A check whose errors say that the request may have been acted on."""

    def __init__(self, check: ContentCheck) -> None:
        self._check = check

    def update(self, chunk: bytes) -> None:
        with after_sending():
            self._check.update(chunk)

    def finish(self) -> None:
        with after_sending():
            self._check.finish()


def _value(response: ResponseMessage, wanted: str) -> str:
    """Return the first line of a field, or an empty text."""
    lines = (value for name, value in response.fields if name.lower() == wanted)
    return next(lines, "")
