from ._core_py import ReplayWindow as ReplayWindow
from ._core_py import SessionCore as SessionCore

__all__ = ["ReplayWindow", "SessionCore"]
