"""CARRY: records that cannot be forged, replayed or read.

A `Session` is one end: ``seal`` makes a record, ``open`` takes one, ``authenticate``
and ``accept`` are ``open`` in two steps for those who must reserve more than a
sequence number in between. A `Profile` says which labels and limits hold. A
`SessionManager` holds a million of them and ends each in time.
"""

from .manager import CapacityPolicy, ManagerStatistics, SessionManager
from .profile import DRAFT1, STREAM, STREAM_AES, V0_10, Profile
from .schedule import draft1_seed, draft1_session_id, session_id
from .session import Session

__all__ = [
    "DRAFT1",
    "STREAM",
    "STREAM_AES",
    "V0_10",
    "CapacityPolicy",
    "ManagerStatistics",
    "Profile",
    "Session",
    "SessionManager",
    "draft1_seed",
    "draft1_session_id",
    "session_id",
]
