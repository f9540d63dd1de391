"""Agreeing on keys: two messages in, one seed out (HPKE-01..06).

    initiator = Initiator(signing_key, init_key=…, resp_key=…, kem_key=…, entropy=…)
    payload = initiator.start(now=…, expires=…)                    # → the responder
    data = responder.respond(payload, envelope_context=…, …)       # → the initiator
    secrets = initiator.finish(data, …)                            # ESTABLISHED
    responder.confirm(now=…, unix_time=…)                          # first record

Bytes and times go in, bytes and `SessionSecrets` come out; there are no sockets, no
clocks and no randomness here but OpenSSL's key generation. The envelopes around
both messages are the envelope room's work and must be verified first.

The one name that every program needs beside the two ends is `SessionSecrets`;
`hpke` stands alone for whoever wants RFC 9180's exporter.
"""

from .binding import Binding, PinnedKeys, SessionSecrets
from .initiator import Initiator
from .messages import COMBINER, SUITE, VERSION, Completion, Initiation
from .responder import EnvelopeContext, Responder
from .state import TRANSITIONS, Event, State

__all__ = [
    "COMBINER",
    "SUITE",
    "TRANSITIONS",
    "VERSION",
    "Binding",
    "Completion",
    "EnvelopeContext",
    "Event",
    "Initiation",
    "Initiator",
    "PinnedKeys",
    "Responder",
    "SessionSecrets",
    "State",
]
