"""`VerifyMiddleware`: lets nothing but verified requests through to an ASGI app.

In this order, and each step only after the one before:

1. The head: its signature fields, coverage and times. No key yet, no content.
2. The key: from the sender's record, or from a table.
3. The signature. From here on it is known who speaks.
4. The content, up to a limit and within a time limit: its digest.
5. The replay guard: the nonce is used up.
6. The application, with the peer in its scope. Its answer is signed on the way out.

So a stranger can make us resolve a name and verify one signature, and nothing more.

Step 4 keeps the content until its digest held. An application that must take longer
content than one wants to keep gets it part by part, where ``stream_content=True``
asks for that: then 5 comes before 4, and what the application reads is not proven
until it was given the end.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Final

from ..envelope import ReplayGuard
from ..errors import (
    ConfigError,
    Overloaded,
    PeerError,
    ResolutionError,
    UsageError,
)
from ..identity import Resolver
from ..limits import FRESHNESS_WINDOW_S, HTTP_CONTENT_MAX_BYTES, REQUEST_TIMEOUT_S
from ..runtime.bounds import check_limit
from ..types import AsgiApp, AsgiMessage, AsgiReceive, AsgiScope, AsgiSend
from .asgi_request import (
    ClientLeft,
    ContentReader,
    base_url_of,
    once,
    request_of,
    require_room,
    vouch,
)
from .asgi_response import SigningSend
from .content_check import content_check
from .key_lookup import KeyLookup
from .keys import SignatureKey, VerificationKey
from .message import RequestMessage
from .peer import PEER, HttpPeer
from .policy import Policy
from .refusal import refuse
from .signer import Signer
from .verify import begin_request

__all__ = ["VerifyMiddleware"]

# Extensions by which a server answers without the application's bytes in between.
_BYPASSES: Final = {"http.response.pathsend", "http.response.zerocopysend"}


class VerifyMiddleware:
    """Verifies every request to an ASGI application (RFC 9421), and signs responses.

    An application finds the peer in ``scope["sage.peer"]`` and in ``scope["user"]``
    (in FastAPI and Starlette: ``request.user``), as an `HttpPeer`.

    Refusals are 401 with one generic text; 400 for a request that is none, 413 for
    one that is too long, 503 where the replay guard cannot answer. They are not
    signed. The reason is logged to ``sage.http``, by its code. WebSockets are
    refused. It has to be the outermost middleware: one around it would change what
    is verified and what was signed.
    """

    def __init__(
        self,
        app: AsgiApp,
        *,
        base_url: str,
        guard: ReplayGuard | None,
        resolver: Resolver | None = None,
        keys: Mapping[str, VerificationKey] | None = None,
        audience: str | None = None,
        policy: Policy | None = None,
        sign_with: SignatureKey | None = None,
        max_response_bytes: int = HTTP_CONTENT_MAX_BYTES,
        content_timeout_s: float = REQUEST_TIMEOUT_S,
        stream_content: bool = False,
        public_paths: Collection[str] = (),
        pass_websockets: bool = False,
    ) -> None:
        """Put it around ``app``.

        Args:
            app: what gets the verified requests.
            base_url: where clients reach it, ``https://host[:port]``, and behind that
                the prefix of the path that a proxy takes away, if one does. Target
                URI and authority are compared with this, and never with ``Host`` or
                ``Forwarded``.
            guard: lets every request pass once, and none that is older than 300 s,
                whatever the policy. ``None`` needs a policy that requires no nonce.
            resolver: where the records of ``did:sage`` agents are read.
            keys: key id → key, for senders without a DID.
            audience: whom requests are for, in the guard's entries; the base URL
                where not given. All who share a guard's memory for one service give
                the same one.
            policy: what a signature must cover and say, and how long content may be;
                strict where not given.
            sign_with: signs the responses; none is signed without.
            max_response_bytes: the longest response that is kept until it is whole,
                so that its signature covers a digest.
            content_timeout_s: how long a request's content may take to arrive; with
                ``stream_content``, each part of it.
            stream_content: give the application content that is not proven yet. The
                end of it comes only when the digest held; otherwise reading raises,
                and the client gets the refusal, whatever the application answers.
            public_paths: paths that anybody may ask for, unverified and with nobody
                in the scope; exactly these, such as ``/health``.
            pass_websockets: let WebSockets through unverified, to an application
                that authenticates them itself.

        Raises:
            UsageError: a bad ``base_url``; neither resolver nor keys, or keys that
                do not verify; no guard where the policy requires a nonce, or one
                where it takes older requests; one text for ``public_paths``; or a
                time limit that is none.
        """
        if isinstance(public_paths, str):  # its letters: with them "/" would be open
            raise UsageError("public paths are several, such as a set, not one text")
        check_limit(content_timeout_s, "content_timeout_s")
        self._app = app
        self._base_url = base_url_of(base_url)
        self._policy = Policy() if policy is None else policy
        _check_guard(guard, self._policy)
        self._guard = guard
        self._lookup = KeyLookup(resolver=resolver, keys=keys or {})
        self._audience = audience or self._base_url
        self._signer = None if sign_with is None else Signer(key=sign_with)
        self._max_response_bytes = max_response_bytes
        self._content_timeout_s = content_timeout_s
        self._stream_content = stream_content
        self._public_paths = frozenset(public_paths)
        self._pass_websockets = pass_websockets

    async def __call__(
        self, scope: AsgiScope, receive: AsgiReceive, send: AsgiSend
    ) -> None:
        """Serve one connection of the ASGI server."""
        if self._passes(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            # Before it was accepted: the server answers 403.
            await send({"type": "websocket.close", "code": 1008})

    def _passes(self, scope: AsgiScope) -> bool:
        kind = scope["type"]
        if kind == "http":
            return scope["path"] in self._public_paths
        return kind == "lifespan" or (kind == "websocket" and self._pass_websockets)

    async def _serve(
        self, scope: AsgiScope, receive: AsgiReceive, send: AsgiSend
    ) -> None:
        # A copy: uvicorn with httptools puts trailers, which nobody signs, into the
        # list of the head whenever they come.
        scope = {**scope, "headers": [*scope["headers"]]}
        try:
            request = request_of(scope, self._base_url)
            peer = await self._authenticate(request)
            vouch(scope)
            content = self._reader(request, peer, receive)
            if not self._stream_content:
                receive = once(await content.read_all(), receive)
            await self._accept(peer)
        except ClientLeft:
            return
        except (PeerError, ResolutionError, Overloaded, ConfigError) as exc:
            await refuse(send, exc)
            return
        scope = _with_peer(scope, peer)
        if self._stream_content:
            await self._serve_streaming(scope, content, send, request)
        else:
            await self._app(scope, receive, self._signing(send, request))

    async def _serve_streaming(
        self,
        scope: AsgiScope,
        content: ContentReader,
        send: AsgiSend,
        request: RequestMessage,
    ) -> None:
        """Run the application on content that may turn out to be false."""
        answer = _Answer(send, content)
        try:
            await self._app(scope, content, self._signing(answer, request))
        except Exception:
            if content.failure is None:
                raise
        if content.failure is not None:
            if answer.started:
                # Too late for another status; the server cuts the answer short.
                raise content.failure
            await refuse(send, content.failure)

    async def _authenticate(self, request: RequestMessage) -> HttpPeer:
        """Return who signed the head."""
        unix_time = int(time.time())
        pending = begin_request(request, policy=self._policy, unix_time=unix_time)
        found = await self._lookup.find(pending.keyid)
        return HttpPeer(pending.finish(found.key), found.did)

    async def _accept(self, peer: HttpPeer) -> None:
        """Use up the request's nonce, if it has one; an empty one is none."""
        if self._guard is not None and peer.signature.nonce:
            await self._guard.reserve(
                peer.signature.reservation(self._audience),
                now=time.monotonic(),
                unix_time=int(time.time()),
            )

    def _reader(
        self, request: RequestMessage, peer: HttpPeer, receive: AsgiReceive
    ) -> ContentReader:
        require_room(request, self._policy.max_content_bytes)
        check = content_check(peer.signature, self._policy)
        return ContentReader(receive, check, timeout_s=self._content_timeout_s)

    def _signing(self, send: AsgiSend, request: RequestMessage) -> AsgiSend:
        signer = self._signer
        if signer is None:
            return send
        return SigningSend(
            send,
            lambda response: signer.sign_response(response, request=request),
            method=request.method,
            max_bytes=self._max_response_bytes,
        )


def _check_guard(guard: ReplayGuard | None, policy: Policy) -> None:
    """Refuse a nonce that nobody remembers, and a memory without an end."""
    if guard is None and policy.require_nonce:
        raise UsageError("a replay guard, or a policy that requires no nonce")
    ages = policy.require_created and policy.max_age_s is not None
    if guard is not None and not (ages or policy.require_expires):
        raise UsageError("a replay guard needs signatures that go stale")
    longest = policy.max_age_s
    if guard is not None and (longest is None or longest > FRESHNESS_WINDOW_S):
        raise UsageError(
            f"a replay guard takes requests of up to {FRESHNESS_WINDOW_S} s: "
            "max_age_s cannot be more with one"
        )


class _Answer:
    """Sends what the application answers, as long as the content it read holds."""

    def __init__(self, send: AsgiSend, content: ContentReader) -> None:
        self.started = False
        self._send, self._content = send, content

    async def __call__(self, message: AsgiMessage) -> None:
        if self._content.failure is None:
            self.started = True
            await self._send(message)


def _with_peer(scope: AsgiScope, peer: HttpPeer) -> AsgiScope:
    """Return a copy of the scope for the application, with the peer in it."""
    extensions = scope.get("extensions") or {}
    kept = {name: value for name, value in extensions.items() if name not in _BYPASSES}
    return {**scope, "extensions": kept, PEER: peer, "user": peer}
