"""How a stream is asked for and granted: two small JSON objects inside a V10 session.

    {"aead":"chacha20poly1305","stream":"<22 characters>","task":"sage-stream/open@1"}
    {"aead":"chacha20poly1305","stream":"<22 characters>","task":"sage-stream/ok@1"}

Both are canonical JSON. A request that continues a stream under a further session
says so in its signed metadata: ``continues`` is the id that the stream was opened
with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..encoding import b64u_decode, b64u_encode, jcs, parse_strict
from ..errors import Code, DecodeError, ProtocolError
from ..limits import NONCE_BYTES
from ..types import Buffer

__all__ = ["CONTINUES", "STREAM_AEADS", "StreamOpening", "is_reserved"]

CONTINUES: Final = "continues"
"""The metadata name of a request that continues a stream."""

STREAM_AEADS: Final = ("chacha20poly1305", "aes-256-gcm")
"""What a stream's records may be sealed with."""

_OPEN_TASK: Final = "sage-stream/open@1"
_OK_TASK: Final = "sage-stream/ok@1"
_MAX_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class StreamOpening:
    """What both messages carry.

    Attributes:
        stream_id: 16 random bytes, chosen by whoever opens.
        aead: the algorithm's name.
    """

    stream_id: bytes
    aead: str

    @property
    def id(self) -> str:
        """The stream's id as 22 characters."""
        return b64u_encode(self.stream_id)

    def encode_request(self) -> bytes:
        """Return the payload that asks for the stream."""
        return self._encode(_OPEN_TASK)

    def encode_answer(self) -> bytes:
        """Return the answer that grants it."""
        return self._encode(_OK_TASK)

    def require_answer(self, answer: bytes) -> None:
        """Check that an answer grants this very stream.

        Raises:
            ProtocolError: it does not.
        """
        if answer != self.encode_answer():
            raise ProtocolError("not the stream's answer", code=Code.FRAME_MALFORMED)

    @classmethod
    def decode_request(cls, payload: bytes) -> StreamOpening | None:
        """Read a request's payload; ``None`` if it does not ask for a stream.

        Raises:
            DecodeError: it does, but is not well formed.
        """
        if len(payload) > _MAX_BYTES or _OPEN_TASK.encode() not in payload:
            return None
        try:
            value = parse_strict(payload)
        except DecodeError:
            return None
        if not isinstance(value, dict) or value.get("task") != _OPEN_TASK:
            return None
        stream, aead = value.get("stream"), value.get("aead")
        if not isinstance(stream, str) or not isinstance(aead, str):
            raise DecodeError("not a stream's opening", code=Code.FRAME_MALFORMED)
        opening = cls(b64u_decode(stream), aead)
        if (
            len(opening.stream_id) != NONCE_BYTES
            or aead not in STREAM_AEADS
            or payload != opening.encode_request()
        ):
            raise DecodeError("not a stream's opening", code=Code.FRAME_MALFORMED)
        return opening

    def _encode(self, task: str) -> bytes:
        return jcs({"aead": self.aead, "stream": self.id, "task": task})


def is_reserved(payload: Buffer) -> bool:
    """Whether a service would take a request's payload for the opening of a stream."""
    try:
        view = memoryview(payload)
        if view.nbytes > _MAX_BYTES:
            return False
        return StreamOpening.decode_request(view.tobytes()) is not None
    except DecodeError:
        return True
    except (TypeError, ValueError, BufferError):
        return False  # no payload at all, which is refused as such
