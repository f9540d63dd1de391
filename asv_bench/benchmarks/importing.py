"""How long Python takes to import what a program starts with."""

from __future__ import annotations

from .house import needs

version = "1"


class Import:
    """A fresh interpreter each time."""

    number = 1
    repeat = 4
    warmup_time = 0

    def timeraw_sage(self) -> str:
        return "import sage"

    def timeraw_session(self) -> str:
        return "import sage.session"

    def timeraw_service(self) -> str:
        needs("sage", "Service")
        return "from sage import Service"

    def timeraw_command_line(self) -> str:
        needs("sage.cli", "main")
        return "from sage.cli import main"
