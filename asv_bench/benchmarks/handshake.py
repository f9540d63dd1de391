"""The handshake of both ends, step by step and whole, without a wire.

One call is ten: ten of one step, each of another attempt, or ten whole handshakes from
two key pairs to two sessions that have exchanged the confirming record. The signed ones
have both envelopes in them: signed, encoded, decoded and verified.
"""

from __future__ import annotations

from time import process_time

from .handshakes import NOW, UNIX, Agents
from .house import needs

version = "1"
timer = process_time
MANY = 10


class Steps:
    """Each message: made, answered, taken."""

    number = 1
    repeat = 4
    warmup_time = 0.05

    def setup(self) -> None:
        self.agents = Agents()
        self.agents.shake_hands()  # the public keys are loaded and checked
        self.fresh = [self.agents.initiator() for _ in range(MANY)]
        self.started = [self.agents.initiator() for _ in range(MANY)]
        payloads = [i.start(now=NOW, expires=UNIX + 60) for i in self.started]
        self.asked = list(zip(self.started, payloads, strict=True))
        self.responders = [self.agents.responder() for _ in range(MANY)]
        theirs = [self.agents.responder() for _ in range(MANY)]
        self.answered = [
            (initiator, self.agents.respond(responder, initiator, payload))
            for responder, (initiator, payload) in zip(theirs, self.asked, strict=True)
        ]
        self.secrets = [responder.secrets for responder in theirs]
        self.theirs = theirs

    def time_start_10(self) -> None:
        for initiator in self.fresh:
            initiator.start(now=NOW, expires=UNIX + 60)

    def time_respond_10(self) -> None:
        respond = self.agents.respond
        for responder, asked in zip(self.responders, self.asked, strict=True):
            respond(responder, *asked)

    def time_finish_10(self) -> None:
        for initiator, completion in self.answered:
            self.agents.finish(initiator, completion)

    def time_sessions_10(self) -> None:
        for found in self.secrets:
            self.agents.session(found)


class Whole:
    """Both ends in one process, one after the other."""

    number = 1
    repeat = 5
    warmup_time = 0.05

    def setup(self) -> None:
        self.agents = Agents()
        self.agents.shake_hands()

    def time_both_ends_10(self) -> None:
        for _ in range(MANY):
            self.agents.shake_hands()

    def time_both_ends_signed_10(self) -> None:
        needs("sage.envelope", "decode_envelope")
        for _ in range(MANY):
            self.agents.shake_hands_signed()
