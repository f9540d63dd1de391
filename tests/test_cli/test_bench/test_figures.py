from __future__ import annotations

import json

from sage.cli.bench.figures import AGAINST, ENCRYPT, ROWS, SIZES, Figure


def test_a_figure_survives_json() -> None:
    figure = Figure(row="stream", bytes=64, against=ENCRYPT, ns=1.5, ratio=2.0)
    assert Figure(**json.loads(json.dumps(figure.as_json()))) == figure


def test_names_are_what_a_command_line_can_take() -> None:
    assert SIZES == (64, 1024, 16384)
    for name in [*ROWS, *AGAINST]:
        assert name == name.lower()
        assert " " not in name
