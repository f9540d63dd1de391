"""``sage loadtest``: how much a service carries, and how long each message takes.

`plan` says what to send, `pace` when, `link` over what; `requests` and `streams` send
it, `tally` counts, `latencies` how long they took, `driver` puts them together.
`responder` is the other end, `serving` runs it, `stage` starts it here, `cores` gives
both one each. `report` says what came of it, `page` as HTML with the
pictures of `plot`.
"""

from .command import loadtest
from .serving import loadtest_service

__all__ = ["loadtest", "loadtest_service"]
