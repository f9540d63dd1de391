"""CARRY: records that cannot be forged, replayed or read.

A `Session` is one end: ``seal`` makes a record, ``open`` takes one, ``authenticate``
and ``accept`` are ``open`` in two steps for those who must reserve more than a
sequence number in between. A `Profile` says which labels and limits hold.
"""

from .profile import V0_10, Profile
from .schedule import session_id
from .session import Session

__all__ = ["V0_10", "Profile", "Session", "session_id"]
