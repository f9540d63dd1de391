"""Bytes on the wire: what each message adds to what it carries. Exact, no noise."""

from __future__ import annotations

from typing import Any, ClassVar

from .handshakes import EXPIRES, NOW, Agents
from .house import SIZES, needs
from .session import pair

version = "1"
unit = "bytes"


class Records:
    """A record beyond its plaintext."""

    params: ClassVar = [SIZES]
    param_names: ClassVar = ["bytes"]
    unit = "bytes"

    def track_overhead(self, size: int) -> int:
        ada, _ = pair()
        return len(ada.seal(bytes(size))) - size


class Handshake:
    """Both messages, bare and in their signed envelopes."""

    unit = "bytes"

    def setup(self) -> None:
        self.agents = Agents()
        self.initiator = self.agents.initiator()
        self.payload = self.initiator.start(now=NOW, expires=EXPIRES)

    def track_initiation(self) -> int:
        return len(self.payload)

    def track_completion(self) -> int:
        return len(self._completion())

    def track_signed_initiation(self) -> int:
        return len(self._request().encode())

    def track_signed_completion(self) -> int:
        sign = needs("sage.envelope", "sign")
        response = self.agents.response(self._request(), self._completion())
        return len(sign(response, self.agents.grace).encode())

    def _completion(self) -> bytes:
        responder = self.agents.responder()
        return self.agents.respond(responder, self.initiator, self.payload)

    def _request(self) -> Any:
        sign = needs("sage.envelope", "sign")
        request = self.agents.request(self.initiator, self.payload)
        return sign(request, self.agents.ada)


class Record:
    """An agent's public record."""

    unit = "bytes"

    def track_agent_record(self) -> int:
        agent = needs("sage", "Agent")
        return len(agent.generate("did:sage:web:agents.example:ada").record.encode())
