from collections.abc import Callable

class Exporter:
    exports: int
    def __init__(
        self,
        data: bytes,
        behave: Callable[[], object] | None = None,
        kind: bytes = b"B",
        writable: bool = True,
        rows: int = 0,
    ) -> None: ...
    def contents(self) -> bytes: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
