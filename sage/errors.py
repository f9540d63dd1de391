"""Every error that sage raises on purpose, and the diagnostic codes they carry.

The tree::

    SageError
    ├── UsageError              the caller passed something that cannot work
    ├── PeerError               the other side, or whoever stands between us
    │   ├── DecodeError         bytes that do not have the promised shape
    │   ├── AuthenticationError a signature, tag or proof that does not verify
    │   ├── ReplayError         authentic, but seen before
    │   ├── StaleError          authentic, but outside its time or window
    │   ├── ProtocolError       well formed, but not allowed here
    │   ├── RemoteFailure       the peer answered, authentically, with a failure
    │   └── BatchError          some records of many did not open; the others did
    ├── ResourceError           something is used up
    │   ├── SessionClosed       the session was closed and its keys wiped
    │   ├── SessionExpired      the session's age or idle limit was reached
    │   ├── LimitReached        the last permitted record was used
    │   └── Overloaded          no room now, nothing was started
    ├── ConfigError             files, passphrases, environment, missing extras
    ├── ResolutionError         a DID could not be resolved to a usable record
    └── TransportError          sockets
        ├── ConnectFailed       no connection came about
        ├── ConnectionLost      a connection ended before its work did
        └── DeadlineExceeded    a documented time limit passed (also TimeoutError)

A peer never sees any of this: whatever went wrong, it gets one generic text
(TRANSPORT-06). The code is for the local log.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "AuthenticationError",
    "BatchError",
    "Code",
    "ConfigError",
    "ConnectFailed",
    "ConnectionLost",
    "DeadlineExceeded",
    "DecodeError",
    "LimitReached",
    "Overloaded",
    "PeerError",
    "ProtocolError",
    "RemoteFailure",
    "ReplayError",
    "ResolutionError",
    "ResourceError",
    "SageError",
    "SessionClosed",
    "SessionExpired",
    "StaleError",
    "TransportError",
    "UsageError",
]


class Code(StrEnum):
    """Local diagnostic codes. Logged here, never told to a peer."""

    # The protocol's own (TABLE-07).
    SIG_MISSING = "sig.missing"
    SIG_MALFORMED = "sig.malformed"
    SIG_UNKNOWN_LABEL = "sig.unknown-label"
    SIG_BASE_MISMATCH = "sig.base-mismatch"
    SIG_BAD = "sig.bad"
    SIG_ALG_MISMATCH = "sig.alg-mismatch"
    SIG_STALE = "sig.stale"
    SIG_REPLAY = "sig.replay"
    SIG_COVERAGE = "sig.coverage"
    SIG_BINDING = "sig.binding"
    DIGEST_MISSING = "digest.missing"
    DIGEST_MISMATCH = "digest.mismatch"
    SIZE_EXCEEDED = "size.exceeded"
    ID_MALFORMED = "id.malformed"
    ID_UNKNOWN_KIND = "id.unknown-kind"
    RECORD_NOT_FOUND = "record.not-found"
    RECORD_INACTIVE = "record.inactive"
    RECORD_STALE = "record.stale"
    RECORD_INVALID = "record.invalid"
    RECORD_UNREACHABLE = "record.unreachable"
    VERSION_UNSUPPORTED = "version.unsupported"
    KEY_EXPIRED = "key.expired"
    KEY_NOT_IN_RECORD = "key.not-in-record"
    KEY_UNPROVEN = "key.unproven"
    KEY_REVOKED = "key.revoked"
    POP_BAD = "pop.bad"
    SESSION_UNKNOWN = "session.unknown"
    SESSION_REPLAY = "session.replay"
    SESSION_WINDOW = "session.window"
    SESSION_AEAD = "session.aead"

    # The reasons of the handshake's negative cases (HPKE-06).
    HANDSHAKE_INVALID_KEM = "handshake.invalid-kem"
    HANDSHAKE_INVALID_DH = "handshake.invalid-dh"
    HANDSHAKE_INVALID_COMBINER_INPUT = "handshake.invalid-combiner-input"
    HANDSHAKE_ECHO = "handshake.echo"
    HANDSHAKE_ACK = "handshake.ack"
    HANDSHAKE_SCHEMA = "handshake.schema"
    HANDSHAKE_SIGNATURE = "handshake.signature"
    HANDSHAKE_BINDING = "handshake.binding"
    HANDSHAKE_BOUNDS = "handshake.bounds"
    HANDSHAKE_EXPIRED = "handshake.expired"

    # Ours, where the protocol names none.
    REMOTE_FAILURE = "remote.failure"
    JSON_MALFORMED = "json.malformed"
    BASE64_MALFORMED = "base64.malformed"
    ENVELOPE_MALFORMED = "envelope.malformed"
    FRAME_MALFORMED = "frame.malformed"
    KEY_MALFORMED = "key.malformed"
    PAYLOAD_ENCODING = "payload.encoding"
    PAYLOAD_MALFORMED = "payload.malformed"
    SESSION_MALFORMED = "session.malformed"
    REPLAY_STATE_LOST = "replay.state-lost"
    REPLAY_STATE_FULL = "replay.state-full"


class SageError(Exception):
    """The root of everything that sage raises on purpose.

    Attributes:
        may_have_run: of an error that a request ended with: whether the peer may
            have acted on it. ``False`` means that it is safe to send it again.
    """

    may_have_run: bool = False

    def __reduce__(self) -> tuple[object, ...]:
        # Exception's own way calls the class with the message alone, which fails
        # where a code is required; workers hand errors to other processes.
        return _restore, (type(self), self.args, self.__dict__.copy())


class UsageError(SageError):
    """The caller passed a wrong type, size or value, or called out of turn."""


class PeerError(SageError):
    """Something that came from outside is not acceptable.

    Attributes:
        code: the local diagnostic code; for logs, never for the peer.
        close_code: the WebSocket close code (RFC 6455, 7.4.1) that suits it.
    """

    close_code = 1008

    def __init__(self, message: str, *, code: Code) -> None:
        super().__init__(message)
        self.code = code


class DecodeError(PeerError):
    """Bytes or text do not have the shape that the protocol gives them."""

    close_code = 1007


class AuthenticationError(PeerError):
    """A signature, tag or proof does not verify. The text carries no detail."""

    def __init__(
        self, message: str = "authentication failed", *, code: Code = Code.SIG_BAD
    ) -> None:
        super().__init__(message, code=code)


class ReplayError(PeerError):
    """An authentic message was seen before."""


class StaleError(PeerError):
    """An authentic message lies outside its time or its window."""


class ProtocolError(PeerError):
    """A well-formed message is not allowed in this place or state."""


class RemoteFailure(PeerError):
    """The peer answered, authentically, that it did not succeed.

    Attributes:
        reason: the response's ``error`` member: ``authentication_failed``,
            ``policy_denied``, ``operation_failed`` or ``unavailable``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"the peer answered: {reason}", code=Code.REMOTE_FAILURE)
        self.reason = reason


class BatchError(PeerError):
    """Some records of many did not open; the others were accepted and are here.

    Attributes:
        index: the place of the first record that did not open.
        error: what `Session.open` would have raised for it.
        errors: every place that did not open, in order, and its error.
        opened: what came of the call all the same: the list of plaintexts with
            ``None``, or the array of rows with zeros, at those places.
    """

    def __init__(self, errors: dict[int, SageError], opened: object) -> None:
        index, error = next(iter(errors.items()))
        code = getattr(error, "code", Code.SESSION_UNKNOWN)
        super().__init__(f"record {index} of a batch: {error}", code=code)
        self.index, self.error = index, error
        self.errors, self.opened = errors, opened


class ResourceError(SageError):
    """Something that there is only so much of is used up."""


class SessionClosed(ResourceError):
    """The session was closed; its keys are gone."""


class SessionExpired(ResourceError):
    """The session reached its age or idle limit."""


class LimitReached(ResourceError):
    """The last record, or the last failure, that the session permits was used."""


class Overloaded(ResourceError):
    """There is no room at the moment; nothing was started."""


class ConfigError(SageError):
    """A file, passphrase, environment variable or missing extra is at fault."""


class ResolutionError(SageError):
    """A DID could not be resolved to a usable record or key.

    Attributes:
        code: the local diagnostic code, such as ``record.not-found``.
    """

    def __init__(self, message: str, *, code: Code) -> None:
        super().__init__(message)
        self.code = code


class TransportError(SageError):
    """A connection could not be made or kept.

    Attributes:
        may_have_run: whether the peer may have acted on the request that was
            under way. ``False`` means that it is safe to send it again.
    """

    def __init__(self, message: str, *, may_have_run: bool = False) -> None:
        super().__init__(message)
        self.may_have_run = may_have_run


class ConnectFailed(TransportError):
    """No connection came about: DNS, TCP, TLS or the WebSocket upgrade."""


class ConnectionLost(TransportError):
    """The connection ended before the work on it did."""


class DeadlineExceeded(TransportError, TimeoutError):
    """A documented time limit passed."""


def _restore(
    kind: type[SageError], args: tuple[object, ...], state: dict[str, object]
) -> SageError:
    """Rebuild an error from its class, its arguments and its attributes."""
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error
