"""Damages files as a disk or another program does."""

from __future__ import annotations

from pathlib import Path

__all__ = ["damage"]


def damage(path: Path, *changes: tuple[bytes, bytes]) -> None:
    """Exchange bytes that a file has once, each by others."""
    content = path.read_bytes()
    for whole, damaged in changes:
        assert content.count(whole) == 1
        content = content.replace(whole, damaged)
    path.write_bytes(content)
