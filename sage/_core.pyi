from ._core_py import ReplayWindow as ReplayWindow
from ._core_py import SessionCore as SessionCore
from ._core_py import untrack as untrack

__all__ = ["ReplayWindow", "SessionCore", "untrack"]
