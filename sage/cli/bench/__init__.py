"""``sage bench``: what sage costs here, beside what does part of its job.

Twin and engine are chosen when `sage` is imported, so each contestant of `contestants`
runs in a process of its own: `race` starts it, `worker` is what runs there. `timing`
measures two things in turn, `figures` says what came of it; `records`, `sessions`,
`handshakes`, `threads`, `tls` and `packages` are what is measured. `promises` has the
limits that the project promises, `report` the tables and the JSON.
"""

from .command import bench

__all__ = ["bench"]
